"""The preview: what would be trained, marked and counted, without loading anything into the caller."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.outputs import Dataset
from models.session import Database
from models.settings import StoreSettings
from tests.training.test_run import make_spec
from workers.training.config import resolve
from workers.training.estimates import parameter_count
from workers.training.preview import prepare, preview
from workers.training.protocol import Refused


def text(tokens: list[dict[str, Any]]) -> str:
    return "".join(token["text"] for token in tokens)


def test_tokens_spans_counts_and_estimates(tmp_path: Path) -> None:
    answer = preview(make_spec(tmp_path), examples=3)
    assert answer["refused"] is None
    assert answer["report"]["trained"] == 32
    assert (answer["steps"], answer["parameters"]) == (4, parameter_count(tmp_path / "base"))
    assert answer["tokens"]["ratio"] > 2
    assert answer["memory_bytes"] > 16 * answer["parameters"]
    assert answer["seconds"] > 0
    kinds = [(example["type"], example["error_kind"]) for example in answer["examples"]]
    assert kinds == [("step", "calculation"), ("step", "operator"), ("full", None)]
    for example in answer["examples"]:
        assert example["ends_with_eos"] is (example["type"] == "full")
        assert text(example["chosen"]) != text(example["rejected"])
        assert text(example["prompt"]).startswith("<|user|>Add")


def test_a_run_that_would_be_refused_says_so_with_the_count(tmp_path: Path) -> None:
    answer = preview(make_spec(tmp_path, max_length=130))
    assert "of 32 pairs have no gradient" in answer["refused"]
    assert answer["report"]["lost"] > 0


def test_an_impossible_one_too(tmp_path: Path) -> None:
    spec = make_spec(tmp_path).model_copy(update={"model_path": str(tmp_path / "absent")})
    assert "does not exist" in preview(spec)["refused"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_from_the_store(database: Database, store: StoreSettings, make_run: Callable[..., str]) -> None:
    with database.read() as session:
        spec = prepare(session, store, "ds_1", "model_base", resolve("errata"))
    assert preview(spec, examples=1)["refused"] is None
    with database.begin() as session:
        session.get_one(Dataset, "ds_1").state = "running"
    with database.read() as session, pytest.raises(Refused, match="ds_1 is running"):
        prepare(session, store, "ds_1", "model_base", resolve("errata"))


def test_the_callers_side_loads_no_torch() -> None:
    code = (
        "import sys, workers.training.preview, workers.training.daemon, workers.training.config;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'trl', 'peft', 'datasets')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
