"""The same as decontaminate_duckdb.py on a Ray cluster, by Ray Data's own readers and writers.

    pip install 'ray[data]'
    python decontaminate_ray.py 's3://bucket/steps_and_full' benchmark.jsonl s3://bucket/clean

PAIRS: a folder of Parquet files that every node reaches. The benchmark is read here and sent to the workers once: its
13-word sequences must fit into a worker's memory. RAY_ADDRESS names a cluster; without it Ray runs on this machine.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
import ray.data

WORDS = 13
_NO_WORD = re.compile(r"[\W_]+")


def grams(question: str) -> Iterator[str]:
    """Every 13 words in a row, or the whole question where it is shorter."""
    words = _NO_WORD.sub(" ", question.lower()).split()
    for at in range(max(1, len(words) - WORDS + 1)):
        yield " ".join(words[at : at + WORDS])


def decontaminate(pairs: str, benchmark: str, out: str) -> tuple[int, int]:
    """Write the pairs that stay; how many there were, and how many stayed."""
    with Path(benchmark).open(encoding="utf-8") as lines:
        known = ray.put({gram for line in lines if line.strip() for gram in grams(json.loads(line)["question"])})

    def clean(batch: Any) -> Any:
        seen = ray.get(known)
        return batch[[not any(gram in seen for gram in grams(question)) for question in batch["question"]]]

    table = ray.data.read_parquet(pairs)
    kept = table.map_batches(clean, batch_format="pandas").materialize()  # counted and written, but computed once
    kept.write_parquet(out)
    return table.count(), kept.count()


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    ray.init(log_to_driver=False)
    had, stayed = decontaminate(*sys.argv[1:])
    print(f"{stayed} of {had} pairs stay; {had - stayed} share {WORDS} words with {sys.argv[2]}", file=sys.stderr)
