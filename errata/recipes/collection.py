"""All recipes of a dataset, and the guide that lists them."""

from __future__ import annotations

from dataclasses import dataclass

from errata.recipes.axolotl import axolotl
from errata.recipes.base import FOLDER, RowRecipe, Tables, TextRecipe
from errata.recipes.llama_factory import llama_factory
from errata.recipes.oumi import oumi
from errata.recipes.rows import message_rows, preference_rows, process_reward_rows
from errata.recipes.trl import trl

GUIDE = f"{FOLDER}/README.md"
_INTRODUCTION = """# Recipes

Each file here is for one trainer or service. Run commands from the dataset's folder, which holds `manifest.json`. Where
a model is named MODEL, set yours. Learning rates and batch sizes are ordinary starting points, not measured for your
model.

Every recipe reads rows whose completions end at an answer, so that the end of sequence that trainers append stands at
the end of a solution. The table of configurations is in the dataset's `README.md`.
"""
_AS_THEY_ARE = (
    "`whole_openai/*.jsonl` are right as they are for OpenAI, Together AI and Fireworks AI (input.messages,"
    " preferred_output, non_preferred_output); they are not written a second time."
)


@dataclass(frozen=True, slots=True)
class Recipes:
    """``texts`` are written as they are; ``rows`` are converted row by row from the table of their source."""

    texts: tuple[TextRecipe, ...]
    rows: tuple[RowRecipe, ...]
    guide: str


def recipes_for(tables: Tables) -> Recipes:
    """The recipes that a dataset with these tables can have. The same tables give the same recipes."""
    rows = (*preference_rows(tables), *message_rows(tables), *process_reward_rows(tables))
    texts = (*trl(tables), *axolotl(tables), *llama_factory(tables), *oumi(tables))
    return Recipes(texts, rows, _guide(tables, texts, rows))


def _guide(tables: Tables, texts: tuple[TextRecipe, ...], rows: tuple[RowRecipe, ...]) -> str:
    notes = [_AS_THEY_ARE] if tables.get("whole_openai", {}).get("train") else []
    none = "No configuration of this dataset has completions that end at an answer."
    body = recipe_table(texts, rows) if texts or rows else none
    return "\n\n".join([_INTRODUCTION.strip(), body, *notes]) + "\n"


def recipe_table(texts: tuple[TextRecipe, ...], rows: tuple[RowRecipe, ...]) -> str:
    """Recipes as a Markdown table: for whom, which file, how it is used, and which column goes to which field."""
    cells = [(each.consumer, f"`{each.path}`", f"`{each.use}`", each.mapping) for each in texts]
    cells += [
        (each.consumer, ", ".join(f"`{each.path(split)}`" for split in each.splits), each.use, _mapped(each))
        for each in rows
    ]
    head = ("for", "file", "use", "fields")
    lines = [f"| {' | '.join(row)} |" for row in (head, *sorted(cells))]
    return "\n".join([lines[0], "|---|---|---|---|", *lines[1:]])


def _mapped(recipe: RowRecipe) -> str:
    return f"from `{recipe.source}`: {recipe.mapping}"
