"""Writes a dataset's recipes (errata.recipes) into its folder, while the freeze still fills it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import orjson

from errata.recipes import RowRecipe, Tables, recipes_for
from errata.recipes.collection import GUIDE
from workers.engines.base import Cancelled

_PAGE = 500  # rows between two looks at whether the freeze was cancelled


def write_recipes(folder: Path, tables: Tables, cancelled: Callable[[], bool]) -> dict[str, int]:
    """Write them beside the tables, which are complete. The answer: how many rows each file of rows has, by its path.

    Rows are read from the tables' JSON lines one at a time, each table once, so memory does not grow with the dataset.
    Raises Cancelled.
    """
    recipes = recipes_for(tables)
    for text in recipes.texts:
        _write(folder / text.path, text.text)
    _write(folder / GUIDE, recipes.guide)
    written: dict[str, int] = {}
    for source, split in sorted({(recipe.source, split) for recipe in recipes.rows for split in recipe.splits}):
        readers = [recipe for recipe in recipes.rows if recipe.source == source]
        count = _convert(folder, source, split, readers, cancelled)
        written |= {recipe.path(split): count for recipe in readers}
    return written


def _convert(folder: Path, source: str, split: str, recipes: list[RowRecipe], cancelled: Callable[[], bool]) -> int:
    count = 0
    with ExitStack() as stack:
        lines = stack.enter_context((folder / source / f"{split}.jsonl").open("rb"))
        files = [(recipe.convert, stack.enter_context(_rows(folder / recipe.path(split)))) for recipe in recipes]
        for line in lines:
            if count % _PAGE == 0 and cancelled():
                raise Cancelled
            row = orjson.loads(line)
            for convert, file in files:
                # Written as the tables' lines are: without spaces between keys and values.
                file.write(orjson.dumps(convert(row), option=orjson.OPT_APPEND_NEWLINE))
            count += 1
    return count


def _rows(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("wb")


def _open(path: Path) -> IO[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("w", encoding="utf-8", newline="\n")


def _write(path: Path, text: str) -> None:
    with _open(path) as file:
        file.write(text)
