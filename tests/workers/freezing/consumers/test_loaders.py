"""What loads files: datasets, pandas, polars, duckdb, and OpenAI's types, on every shape of real pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import duckdb
import pandas
import polars
import pytest
from openai.types.chat import ChatCompletionAssistantMessageParam, ChatCompletionUserMessageParam
from pydantic import ConfigDict, TypeAdapter
from typing_extensions import TypedDict

from errata.answers import extract_answer
from errata.shapes import SHAPES
from tests.workers.freezing.consumers.conftest import rows_of

Frozen = tuple[Path, dict[str, Any]]
WHOLE = [name for name, shape in SHAPES.items() if shape.ends == "answer"]


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def texts(value: Any) -> list[str]:
    """The texts of a cell: itself, or the contents of its turns."""
    return [value] if isinstance(value, str) else [turn["content"] for turn in value]


def test_the_default_configuration_is_whole_and_holds_the_question(frozen_shapes: Frozen, tmp_path: Path) -> None:
    folder, manifest = frozen_shapes
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path))
    assert manifest["default_shape"] == "whole_conversational", "solutions that were brought along"
    assert loaded["train"].column_names == ["prompt", "chosen", "rejected"]
    assert loaded["train"].to_list() == rows_of(folder, "whole_conversational")
    questions = {row["question"] for row in rows_of(folder, "steps_and_full")}
    for row in loaded["train"]:
        assert [turn["role"] for turn in (*row["prompt"], *row["chosen"])] == ["user", "assistant"]
        assert any(question.strip() in row["prompt"][0]["content"] for question in questions)


@pytest.mark.parametrize("shape", WHOLE)
def test_every_completion_ends_at_an_answer(frozen_shapes: Frozen, shape: str) -> None:
    folder, manifest = frozen_shapes
    sides = [name for name in SHAPES[shape].fields if name in ("chosen", "rejected", "completion")] or [
        "preferred_output",
        "non_preferred_output",
    ]
    found = rows_of(folder, shape)
    assert len(found) == manifest["rows"][shape]["train"] >= 15
    for row in found:
        for side in sides:
            [text] = texts(row[side])
            assert extract_answer(text.rstrip().split("\n")[-1]) is not None, text


def test_a_rejected_side_comes_to_another_answer(frozen_shapes: Frozen) -> None:
    for row in rows_of(frozen_shapes[0], "whole"):
        assert extract_answer(row["chosen"]) != extract_answer(row["rejected"])


def test_every_pair_is_whole_or_counted_with_its_reason(frozen_shapes: Frozen) -> None:
    folder, manifest = frozen_shapes
    told, rows = manifest["whole"], manifest["rows"]["whole"]
    assert sum(told["pairs"].values()) == sum(rows.values())
    assert sum(told["pairs"].values()) + sum(told["left_out"].values()) == manifest["counts"]["pairs"]
    assert told["pairs"]["program"] >= 15
    assert told["pairs"]["own"] == manifest["counts"]["type"]["full"]
    assert set(told["left_out"]) == {"answer_stays", "no_rest"}
    [program] = told["rests"]
    assert (program["kind"], program["pairs"]) == ("program", told["pairs"]["program"])
    assert program["chosen_characters"] == pytest.approx(program["rejected_characters"], rel=0.1)
    card = (folder / "README.md").read_text("utf-8")
    assert f"| program: the solution, recomputed by program with the changed value | {program['pairs']} |" in card


@pytest.mark.parametrize("shape", list(SHAPES))
def test_every_loader_reads_the_same_rows(frozen_shapes: Frozen, shape: str, tmp_path: Path) -> None:
    folder, expected = frozen_shapes[0], rows_of(frozen_shapes[0], shape)
    path = str(folder / shape / "train")
    loaded = datasets.load_dataset(str(folder), shape, split="train", cache_dir=str(tmp_path))
    assert loaded.to_list() == expected
    assert polars.read_parquet(f"{path}.parquet").to_dicts() == expected
    assert polars.read_ndjson(f"{path}.jsonl", infer_schema_length=None).to_dicts() == expected
    frame = pandas.read_parquet(f"{path}.parquet")
    assert (list(frame.columns), len(frame)) == (list(SHAPES[shape].fields), len(expected))
    assert len(pandas.read_json(f"{path}.jsonl", lines=True)) == len(expected)
    columns = list(SHAPES[shape].fields)
    with duckdb.connect() as connection:
        assert connection.execute(f"SELECT * FROM '{path}.parquet'").fetchall() == [
            tuple(row.values()) for row in expected
        ]
        read = connection.execute(f"SELECT * FROM read_json('{path}.jsonl')")
        assert [column[0] for column in read.description or ()] == columns
        assert len(read.fetchall()) == len(expected)


class Asked(TypedDict):
    """The input of a preference row."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]
    messages: list[ChatCompletionUserMessageParam]


class PreferenceRow(TypedDict):
    """A row of OpenAI's preference fine-tuning, of the message types of its client."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]
    input: Asked
    preferred_output: list[ChatCompletionAssistantMessageParam]
    non_preferred_output: list[ChatCompletionAssistantMessageParam]


@pytest.mark.parametrize("shape", ["openai", "whole_openai"])
def test_openai_rows_are_of_the_clients_types(frozen_shapes: Frozen, shape: str) -> None:
    adapter = TypeAdapter(list[PreferenceRow])
    for split in frozen_shapes[1]["rows"][shape]:
        found = rows_of(frozen_shapes[0], shape, split)
        assert len(adapter.validate_python(found)) == len(found)
        assert all(len(row["preferred_output"]) == len(row["non_preferred_output"]) == 1 for row in found)
