"""The parts of docs/datasets.md that are printed and not typed: ``python -m errata.recipes.documents``."""

from __future__ import annotations

import json
import sys

from errata.recipes.collection import recipe_table, recipes_for
from errata.shapes import SHAPES, example_row


def recipes_text() -> str:
    """The table of recipes of a dataset that has every configuration."""
    tables: dict[str, dict[str, int]] = {name: {"train": 1} for name in SHAPES}
    recipes = recipes_for(tables)
    without = recipes_for({name: rows for name, rows in tables.items() if name != "whole_openai"})
    return recipe_table(recipes.texts, without.rows)


def examples_text() -> str:
    """One row of each configuration, as its JSON lines hold it."""
    rows = [(name, json.dumps(example_row(shape), ensure_ascii=False)) for name, shape in SHAPES.items()]
    return "\n\n".join(f"`{name}`\n\n```json\n{row}\n```" for name, row in rows)


if __name__ == "__main__":
    sys.stdout.write(f"{recipes_text()}\n\n{examples_text()}\n")
