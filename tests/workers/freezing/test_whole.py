"""Whole pairs in frozen datasets: those of before rests were stored, cut solutions, right answers, and the default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import select, update

from demo.build_model import build_tokenizer
from errata.config import resolve
from models.files import FileStore
from models.jobs import InjectionJob, PairRow, SolutionRow
from models.outputs import Dataset
from models.session import Database
from models.settings import StoreSettings
from models.workspaces import LanguageModel
from tests.workers.freezing.conftest import PROBLEMS, Freeze, both


def whole_of(dataset: Dataset) -> dict[str, Any]:
    return dict((dataset.manifest or {})["whole"])


def default_of(store: StoreSettings, dataset: Dataset) -> list[str]:
    """What the card makes the default."""
    card = FileStore(store.files).read_bytes(f"{dataset.folder}/README.md").decode()
    return [c["config_name"] for c in yaml.safe_load(card.split("---\n")[1])["configs"] if c.get("default")]


def test_pairs_without_a_stored_rest_get_theirs_when_they_are_frozen(frozen: Freeze, database: Database) -> None:
    """The fixture's errors contradict themselves and are followed by nothing: only the full pairs are whole."""
    with database.read() as session:
        assert set(session.scalars(select(PairRow.rest))) == {None}
    told = whole_of(frozen())
    assert told["pairs"] == {"own": PROBLEMS}
    assert sum(told["left_out"].values()) == 2 * PROBLEMS


def test_a_stored_rest_is_written_as_it_is(frozen: Freeze, database: Database, store: StoreSettings) -> None:
    with database.begin() as session:
        rest = {"kind": "program", "chosen": " right \\boxed{1}", "rejected": " wrong \\boxed{2}"}
        session.execute(update(PairRow).where(PairRow.type == "step").values(rest=rest))
    dataset = frozen(shapes=["whole"], types=["step"])
    assert whole_of(dataset)["pairs"] == {"program": 2 * PROBLEMS}
    [told] = whole_of(dataset)["rests"]
    assert (told["chosen_characters"], told["rejected_characters"], told["rejected_longer"]) == (16.0, 16.0, 0.0)
    for row in both(store, dataset, "whole"):
        assert row["chosen"].endswith(" right \\boxed{1}")
        assert row["rejected"].endswith(" wrong \\boxed{2}")
        assert row["chosen"].startswith("Let's think step by step.\nStep 1: ")


def test_what_was_cut_at_its_limit_ends_no_completion(frozen: Freeze, database: Database, store: StoreSettings) -> None:
    with database.begin() as session:
        cut = select(SolutionRow.id).where(SolutionRow.sample_index == 0).order_by(SolutionRow.id).limit(10)
        session.execute(
            update(SolutionRow).where(SolutionRow.id.in_(list(session.scalars(cut)))).values(finish_reason="length")
        )
    dataset = frozen(shapes=["whole", "sft"])
    told = whole_of(dataset)
    assert told["pairs"] == {"own": PROBLEMS - 10}
    assert told["left_out"]["cut_at_limit"] == 3 * 10
    assert told["left_out_samples"] == {"cut_at_limit": 10}
    assert len(both(store, dataset, "sft")) == 2 * PROBLEMS - 10
    card = FileStore(store.files).read_bytes(f"{dataset.folder}/README.md").decode()
    assert "| A solution was cut at its limit of tokens: it does not end at an answer. | samples | 10 |" in card


def test_right_answers_behind_a_wrong_step_are_taken_where_they_are_asked_for(
    frozen: Freeze, store: StoreSettings
) -> None:
    dataset = frozen(shapes=["whole"], types=["step"], whole_right_answers=True, split={"test": 0.1})
    told = whole_of(dataset)
    assert told["pairs"]["stands"] > 20
    found = both(store, dataset, "whole")
    assert len(found) == told["pairs"]["stands"]
    for row in found:
        assert row["chosen"].rpartition("\\boxed")[2] == row["rejected"].rpartition("\\boxed")[2]


@pytest.mark.parametrize(
    ("config", "default"),
    [
        ({"shapes": ["whole", "whole_conversational", "trl"]}, ["whole_conversational"]),
        ({"shapes": ["trl", "kto", "openai", "critique"]}, []),
        ({"types": ["step"]}, ["sft_conversational"]),
    ],
    ids=str,
)
def test_the_default_is_what_may_be_trained_on(
    frozen: Freeze, store: StoreSettings, config: dict[str, Any], default: list[str]
) -> None:
    dataset = frozen(**config)
    assert default_of(store, dataset) == default
    assert (dataset.manifest or {})["default_shape"] == (default[0] if default else None)


@pytest.mark.parametrize("template", [True, False])
def test_the_solvers_model_chooses_the_shapes(
    frozen: Freeze, database: Database, store: StoreSettings, tmp_path: Path, template: bool
) -> None:
    tokenizer = build_tokenizer(seed=1, count=50)
    if not template:
        tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path / "solver")
    with database.begin() as session:
        values = {"id": "lm", "workspace_id": "ws_1", "name": "solver", "engine": "transformers"}
        session.add(LanguageModel(**values, config={"path": str(tmp_path / "solver")}))
        session.flush()
        config = resolve("errata").model_dump(mode="json")
        session.execute(update(InjectionJob).values(language_model_id="lm", config=config))
    dataset = frozen()
    manifest = dataset.manifest or {}
    assert dataset.config["shapes"] is None, "what was asked for stands in the row"
    assert manifest["chat_template"] is template
    assert default_of(store, dataset) == ["whole_conversational" if template else "whole"]
    assert ("whole" in manifest["config"]["shapes"]) is not template
