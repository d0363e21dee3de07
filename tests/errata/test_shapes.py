"""The registry of shapes: what each claims, the row it makes of the example, and which one loads by default."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errata.output_config import DatasetConfig, ShapeName
from errata.rests import LeftOut, Rest, RestKind
from errata.shapes import EXAMPLE_PAIR, SHAPES, default_shape, example_row, shapes_of, shapes_table

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "datasets.md"
NAMES = st.lists(st.sampled_from(list(SHAPES)), unique=True)


def test_every_name_of_the_configuration_has_its_shape() -> None:
    assert set(get_args(ShapeName)) == set(SHAPES)
    assert all(name == shape.name for name, shape in SHAPES.items())


def fits(kind: Any, value: Any) -> bool:
    """Whether a cell is of its column's type."""
    if isinstance(kind, dict):
        return list(value) == list(kind) and all(fits(kind[name], value[name]) for name in kind)
    if isinstance(kind, list):
        return all(fits(kind[0], item) for item in value)
    return value is None or type(value) is {"string": str, "int64": int, "float64": float, "bool": bool}[kind]


@pytest.mark.parametrize("name", list(SHAPES))
def test_the_example_has_the_columns_that_the_shape_states(name: ShapeName) -> None:
    assert fits(dict(SHAPES[name].fields), example_row(SHAPES[name]))


def test_what_a_trainer_of_trl_takes_has_a_prompt_and_ends_at_an_answer() -> None:
    for shape in SHAPES.values():
        if {"chosen", "rejected"} <= set(shape.fields):
            assert "prompt" in shape.fields, "without it the sides' common beginning would be the prompt"
        if shape.trl:
            assert shape.ends == "answer"
            assert all(name in shape.loader for name in (shape.name, "load_dataset"))


@pytest.mark.parametrize("name", [name for name in SHAPES if name.startswith("whole")])
def test_a_whole_row_holds_both_solutions_and_none_is_made_without_a_rest(name: ShapeName) -> None:
    rows = SHAPES[name].rows(EXAMPLE_PAIR)
    text = str(rows)
    for side in ("The answer is \\\\boxed{18}.", "The answer is \\\\boxed{27}.", "Step 1: Janet sells"):
        assert side in text
    assert EXAMPLE_PAIR.question in text
    for rest in (None, Rest(None, "x", why=LeftOut.NO_REST)):
        assert SHAPES[name].rows(replace(EXAMPLE_PAIR, rest=rest)) == []


@given(*(st.text() for _ in range(5)))
def test_whole_sides_are_the_stored_texts_from_the_first_character(
    prefix: str, chosen: str, rejected: str, right: str, wrong: str
) -> None:
    pair = replace(
        EXAMPLE_PAIR, prefix=prefix, chosen=chosen, rejected=rejected, rest=Rest(RestKind.PROGRAM, right, wrong)
    )
    sides = (prefix + chosen + right, prefix + rejected + wrong)
    rows = SHAPES["whole"].rows(pair)
    assert len(rows) == (sides[0].lstrip() != sides[1].lstrip())
    for row in rows:
        assert row["prompt"].endswith("\n\n")
        assert (row["chosen"], row["rejected"]) == (sides[0].lstrip(), sides[1].lstrip())


@given(NAMES, st.booleans())
def test_the_default_is_safe_in_trl_or_there_is_none(written: list[ShapeName], chat_template: bool) -> None:
    found = default_shape(written, chat_template=chat_template)
    safe = [name for name in written if SHAPES[name].trl]
    assert (found is None) == (not safe)
    if found is not None:
        assert found in safe
        for suited in ("whole_conversational" if chat_template else "whole",):
            assert found == suited or suited not in written


@given(st.one_of(st.none(), NAMES), st.booleans())
def test_what_errata_trains_on_is_always_written(asked: list[ShapeName] | None, chat_template: bool) -> None:
    written = shapes_of(asked, chat_template=chat_template)
    assert "steps_and_full" in written
    assert len(set(written)) == len(written)
    if asked is not None:
        assert set(written) == {"steps_and_full", *asked}
    else:
        assert ("whole_conversational" in written) is chat_template
        assert default_shape(written, chat_template=chat_template) in ("whole", "whole_conversational")


def test_nobody_has_to_name_shapes() -> None:
    assert DatasetConfig(jobs=["inj"]).shapes is None


def test_the_document_prints_the_registry() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    table = text.partition("<!-- shapes -->\n")[2].partition("<!-- end -->")[0]
    assert table.strip() == shapes_table().strip(), "print it: python -m errata.shapes"
