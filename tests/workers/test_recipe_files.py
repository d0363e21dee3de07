"""Recipes are written beside a dataset's tables: row for row, the same each time, not once a freeze is cancelled."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from errata.shapes import SHAPES, example_row
from workers.engines.base import Cancelled
from workers.stages.recipe_files import write_recipes

TABLES = {"whole_conversational": {"train": 3, "test": 1}, "sft_conversational": {"train": 2}}


def tables(folder: Path) -> Path:
    """The JSON lines of these tables; contents hold what breaks lines for some readers."""
    for name, splits in TABLES.items():
        (folder / name).mkdir(parents=True)
        for split, count in splits.items():
            row = json.dumps(example_row(SHAPES[name]), ensure_ascii=False)  # type: ignore[index]
            lines = [row.replace("Janet", f"Ja\u2028n\u0085e{at}t") + "\n" for at in range(count)]
            (folder / name / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8", newline="\n")
    return folder


def written(folder: Path) -> dict[str, bytes]:
    """Every file of the recipes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("recipes/**/*") if path.is_file()}


def test_every_row_is_converted_and_counted(tmp_path: Path) -> None:
    counts = write_recipes(tables(tmp_path), TABLES, lambda: False)
    found = written(tmp_path)
    assert counts == {
        **{f"recipes/{name}/train.jsonl": 3 for name in ("tinker", "openai", "llamafactory/preference")},
        **{f"recipes/{name}/test.jsonl": 1 for name in ("tinker", "openai", "llamafactory/preference")},
        "recipes/messages/train.jsonl": 2,
    }
    for path, count in counts.items():
        rows = [json.loads(line) for line in found[path].split(b"\n")[:-1]]
        assert len(rows) == count
        assert all(f"Ja\u2028n\u0085e{at}t" in json.dumps(row, ensure_ascii=False) for at, row in enumerate(rows))
    assert {"recipes/README.md", "recipes/trl/dpo.sh", "recipes/axolotl/sft.yaml"} <= set(found)


def test_the_same_tables_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "other"):
        write_recipes(tables(tmp_path / name), TABLES, lambda: False)
    assert written(tmp_path / "one") == written(tmp_path / "other")


def test_a_cancelled_freeze_stops(tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        write_recipes(tables(tmp_path), TABLES, lambda: True)
