"""The examples for large tables, on a small one."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "at-scale"
LONG = "one two three four five six seven eight nine ten eleven twelve thirteen"


def decontaminated(tmp_path: Path, questions: list[str], benchmark: list[str]) -> tuple[tuple[int, int], list[str]]:
    folder = tmp_path / "it's here"
    folder.mkdir()
    for at, part in enumerate((questions[::2], questions[1::2])):
        rows = [{"question": question, "chosen": f"step {at}"} for question in part]
        pq.write_table(
            pa.Table.from_pylist(rows, schema=pa.schema({"question": pa.string(), "chosen": pa.string()})),
            folder / f"{at}.parquet",
        )
    file = tmp_path / "benchmark.jsonl"
    file.write_text(
        "".join(json.dumps({"question": each, "answer": "1"}) + "\n" for each in benchmark), encoding="utf-8"
    )
    decontaminate: Any = runpy.run_path(str(FOLDER / "decontaminate_duckdb.py"))["decontaminate"]
    counts = decontaminate(f"{folder}/*.parquet", str(file), str(tmp_path / "clean.parquet"))
    return counts, sorted(pq.read_table(tmp_path / "clean.parquet")["question"].to_pylist())


def test_questions_that_share_thirteen_words_go(tmp_path: Path) -> None:
    twelve = LONG.rpartition(" ")[0]
    stays = [f"A {twelve} other words that go on for a while.", "Short?", "Wie viele Äpfel bleiben übrig?"]
    goes = [f"So: {LONG.upper()}, and more.", "How many, then?", "Combien d'œufs ?"]
    counts, found = decontaminated(tmp_path, [*stays, *goes], [f"Well {LONG}!", "how MANY then", "combien d œufs"])
    assert (counts, found) == ((6, 3), sorted(stays))


def test_nothing_goes_where_nothing_is_shared(tmp_path: Path) -> None:
    counts, found = decontaminated(tmp_path, ["a b", "a b", "c"], ["d"])
    assert (counts, found) == ((3, 3), ["a b", "a b", "c"])
