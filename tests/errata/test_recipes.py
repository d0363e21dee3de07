"""Recipes as pure functions of a dataset's tables: which exist, what they name, and the rows they convert."""

from __future__ import annotations

import json
import re
import subprocess
from itertools import chain
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from errata.recipes import Recipes, recipes_for
from errata.recipes.documents import examples_text, recipes_text
from errata.recipes.rows import llama_factory_row, messages_row, openai_row, stepwise_row, tinker_row
from errata.shapes import SHAPES, example_row
from tests.consumers.environments import CONSUMERS

TABLES = st.dictionaries(
    st.sampled_from(sorted(SHAPES)),
    st.fixed_dictionaries({}, optional={"train": st.integers(1, 9), "test": st.just(2)}),
)
EVERYTHING = {name: {"train": 3, "test": 1} for name in SHAPES}
BY_STEP = {name: {"train": 3} for name, shape in SHAPES.items() if shape.ends == "step"}


def named_files(recipes: Recipes) -> set[str]:
    """Every data file that a YAML, a JSON or a script names, relative to the dataset's folder."""
    found = set()
    for each in recipes.texts:
        if each.path.endswith(".yaml"):
            told = yaml.safe_load(each.text)
            data = told.get("data", {})
            entries = chain(
                told.get("datasets", []), told.get("test_datasets", []), *(s["datasets"] for s in data.values())
            )
            found |= {entry.get("path") or entry["dataset_path"] for entry in entries}
        elif each.path.endswith(".json"):
            for entry in json.loads(each.text).values():
                parts = f"recipes/llamafactory/{entry['file_name']}".split("/")
                while ".." in parts:
                    at = parts.index("..")
                    del parts[at - 1 : at + 1]
                found.add("/".join(parts))
    return found


@given(TABLES)
def test_recipes_name_only_files_that_the_dataset_has(tables: dict[str, dict[str, int]]) -> None:
    recipes = recipes_for(tables)
    there = {
        f"{name}/{split}.{end}" for name, splits in tables.items() for split in splits for end in ("jsonl", "parquet")
    }
    there |= {each.path(split) for each in recipes.rows for split in each.splits}
    assert named_files(recipes) <= there
    for each in recipes.rows:
        assert set(each.splits) <= set(tables[each.source])
        assert "train" in each.splits
    assert recipes_for(dict(reversed(tables.items()))) == recipes


@given(TABLES)
def test_no_recipe_reads_completions_that_end_at_a_step(tables: dict[str, dict[str, int]]) -> None:
    recipes = recipes_for(tables)
    sources = {each.source for each in recipes.rows} | {path.split("/")[0] for path in named_files(recipes)} - {
        "recipes"
    }
    assert all(SHAPES[name].ends != "step" for name in sources)


def test_a_dataset_of_steps_alone_has_none() -> None:
    recipes = recipes_for(BY_STEP)
    assert (recipes.texts, recipes.rows) == ((), ())
    assert "No configuration" in recipes.guide


def test_the_guide_lists_every_file() -> None:
    recipes = recipes_for(EVERYTHING)
    for path in (*(each.path for each in recipes.texts), *(each.path("train") for each in recipes.rows)):
        assert f"`{path}`" in recipes.guide


def test_rows_in_openais_fields_are_not_written_twice() -> None:
    folders = {each.folder for each in recipes_for(EVERYTHING).rows}
    assert "recipes/openai" not in folders
    assert "recipes/openai" in {each.folder for each in recipes_for({"whole": {"train": 1}}).rows}
    assert "whole_openai/*.jsonl" in recipes_for(EVERYTHING).guide


@pytest.mark.parametrize("source", ["whole", "whole_conversational", "whole_openai"])
def test_rows_are_the_same_from_every_source(source: str) -> None:
    row = example_row(SHAPES[source])  # type: ignore[index]
    turns = example_row(SHAPES["whole_conversational"])
    prompt, [chosen], [rejected] = turns["prompt"], turns["chosen"], turns["rejected"]
    assert openai_row(row) == example_row(SHAPES["whole_openai"])
    assert llama_factory_row(row) == {"messages": prompt, "chosen": chosen, "rejected": rejected}
    assert tinker_row(row) == {
        "comparison": {"prompt_conversation": prompt, "completion_A": [chosen], "completion_B": [rejected]},
        "label": "A",
    }


def test_samples_become_messages() -> None:
    expected = example_row(SHAPES["sft_conversational"])
    for name in ("sft", "sft_conversational"):
        row = messages_row(example_row(SHAPES[name]))  # type: ignore[index]
        assert row == {"messages": [*expected["prompt"], *expected["completion"]]}


def test_steps_lose_the_line_break_that_axolotl_writes_itself() -> None:
    row = stepwise_row(
        {"prompt": "Q", "completions": ["Step 1: a.\n", "Step 2: b.\n\n", "c"], "labels": [True, True, False]}
    )
    assert row == {"prompt": "Q\n\n", "completions": ["Step 1: a.", "Step 2: b.", "c"], "labels": [True, True, False]}


def test_scripts_are_valid_shell() -> None:
    scripts = [each for each in recipes_for(EVERYTHING).texts if each.path.endswith(".sh")]
    assert [each.path for each in scripts] == [f"recipes/trl/{name}.sh" for name in ("dpo", "kto", "sft")]
    for each in scripts:
        subprocess.run(["sh", "-n"], input=each.text, text=True, check=True)
        assert "{" not in each.text.replace("${MODEL", "")


def block(name: str) -> str:
    """What stands in docs/datasets.md between two marks."""
    text = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")
    return text.partition(f"<!-- {name} -->\n")[2].partition("\n<!-- end -->")[0]


def test_the_document_shows_the_recipes_and_rows_that_there_are() -> None:
    assert block("recipes") == recipes_text(), "print it: python -m errata.recipes.documents"
    assert block("examples") == examples_text(), "print it: python -m errata.recipes.documents"


def test_the_document_names_the_versions_that_are_tested() -> None:
    told = dict(re.findall(r"^\| ([\w -]+?) \| ([\d.]+) \|", block("consumers"), re.MULTILINE))
    names = {
        "axolotl": "Axolotl",
        "llamafactory": "LLaMA-Factory",
        "tinker_cookbook": "Tinker Cookbook",
        "oumi": "Oumi",
    }
    names |= {"lm_eval": "lm-eval"}
    assert {names[name]: each.version for name, each in CONSUMERS.items()} == {
        k: v for k, v in told.items() if k != "TRL"
    }
