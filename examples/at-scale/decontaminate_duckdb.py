"""Leave out pairs whose question shares 13 words in a row with a benchmark: with duckdb, in one process.

    python decontaminate_duckdb.py 'dataset/steps_and_full/*.parquet' benchmark.jsonl clean.parquet

PAIRS: Parquet files of the shape `steps_and_full`, one path or a glob. BENCHMARK: JSON lines with `question`. The
result has the rows that stay, in no particular order; what went is counted on standard error. duckdb works in pieces
and spills to disk beyond MEMORY (an environment variable, 4GB), so the pairs need not fit into memory.
"""

from __future__ import annotations

import os
import sys

import duckdb

WORDS = 13
# Lower case, letters and digits alone: another comma or a capital hides no copy.
_TOKENS = "string_split_regex(trim(regexp_replace(lower(question), '[^\\p{L}\\p{N}]+', ' ', 'g')), ' +')"
_GRAMS = f"""
SELECT DISTINCT question, unnest(CASE
    WHEN len(words) <= {WORDS} THEN [hash(words)]
    ELSE list_transform(range(1, len(words) - {WORDS} + 2), lambda n: hash(words[n : n + {WORDS - 1}]))
END) AS gram FROM (SELECT question, {_TOKENS} AS words FROM %s)
"""


def decontaminate(pairs: str, benchmark: str, out: str, memory: str = "4GB") -> tuple[int, int]:
    """Write the pairs that stay; how many there were, and how many stayed. Raises duckdb.Error."""
    with duckdb.connect() as base:
        base.execute("SET memory_limit = ?", [memory])
        base.execute("SET preserve_insertion_order = false")
        base.execute("CREATE VIEW pairs AS SELECT * FROM read_parquet($pairs)".replace("$pairs", _quoted(pairs)))
        base.execute(
            "CREATE VIEW bench AS SELECT question FROM read_json_auto($file)".replace("$file", _quoted(benchmark))
        )
        base.execute("CREATE TEMP TABLE asked AS SELECT DISTINCT question FROM pairs")
        base.execute(f"CREATE TEMP TABLE known AS SELECT DISTINCT gram FROM ({_GRAMS % 'bench'})")
        base.execute(
            f"CREATE TEMP TABLE seen AS SELECT DISTINCT question FROM ({_GRAMS % 'asked'}) SEMI JOIN known USING (gram)"
        )
        base.execute(f"COPY (SELECT * FROM pairs ANTI JOIN seen USING (question)) TO {_quoted(out)} (FORMAT parquet)")
        counted = f"SELECT (SELECT count(*) FROM pairs), (SELECT count(*) FROM read_parquet({_quoted(out)}))"
        [(total, stayed)] = base.execute(counted).fetchall()
    return int(total), int(stayed)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    had, stayed = decontaminate(*sys.argv[1:], memory=os.environ.get("MEMORY", "4GB"))
    print(f"{stayed} of {had} pairs stay; {had - stayed} share {WORDS} words with {sys.argv[2]}", file=sys.stderr)
