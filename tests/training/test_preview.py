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
from workers.training.protocol import CannotTrain
from workers.training.run.data import data_file, encode, read_rows
from workers.training.run.loading import load_tokenizer
from workers.training.run.preview import parameter_count
from workers.training.supervise.preview import PreviewFailed, preview
from workers.training.supervise.registry import preview_spec


def text(part: dict[str, Any], start: int = 0, stop: int | None = None) -> str:
    return "".join(token["text"] for token in part["tokens"][start:stop])


def test_tokens_spans_counts_and_estimates(tmp_path: Path) -> None:
    answer = preview(make_spec(tmp_path), examples=3)
    assert answer["refused"] is None
    assert answer["report"]["trained"] == 32
    assert (answer["steps"], answer["parameters"]) == (4, parameter_count(tmp_path / "base"))
    assert answer["tokens"]["ratio"] > 2
    assert answer["memory_bytes"] > 16 * answer["parameters"]
    assert answer["disk_bytes"] == (4 * 12 + 4) * answer["parameters"]
    assert answer["seconds"]["per_cpu_core"] > answer["seconds"]["per_gpu"] > 0
    kinds = [(example["type"], example["error_kind"]) for example in answer["examples"]]
    assert kinds == [("step", "calculation"), ("step", "operator"), ("full", None)]
    for example in answer["examples"]:
        chosen, rejected = example["chosen"], example["rejected"]
        assert text(example["prompt"]).startswith("<|user|>Add")
        assert chosen["ends_with_eos"] is rejected["ends_with_eos"] is (example["type"] == "full")
        assert chosen["eos"] == ([len(chosen["tokens"]) - 1] if example["type"] == "full" else [])
        assert chosen["omitted"] == 0
    step = answer["examples"][0]
    assert text(step["chosen"], *step["chosen"]["divergent"]) == ""  # the made error only adds to the chosen text
    assert text(step["rejected"], *step["rejected"]["divergent"]).strip() == "1"


def test_a_run_that_would_be_refused_says_so_with_the_count(tmp_path: Path) -> None:
    answer = preview(make_spec(tmp_path, max_length=130))
    assert "of 32 pairs have no gradient" in answer["refused"]
    assert answer["report"]["lost"] > 0


def test_so_does_one_that_is_to_be_compared_by_what_was_not_held_out(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, best="eval_loss")
    assert "the dataset holds nothing out" in preview(spec)["refused"]
    train = spec.dataset_folder / "steps_and_full" / "train.jsonl"
    test = train.with_name("test.jsonl")
    test.write_bytes(train.read_bytes())
    assert preview(spec)["refused"] is None
    test.write_text("")
    assert "the held-out split: nothing to train on" in preview(spec)["refused"]


def test_an_impossible_one_too(tmp_path: Path) -> None:
    spec = make_spec(tmp_path).model_copy(update={"model_path": str(tmp_path / "absent")})
    refused = preview(spec)["refused"]
    assert "does not exist" in refused
    assert str(tmp_path) not in refused, "where the operator keeps things is not told"


def test_the_ids_are_those_of_the_run(tmp_path: Path) -> None:
    spec = make_spec(tmp_path)
    rows = list(read_rows(data_file(spec.dataset_folder, "dpo")))
    here = encode(rows, load_tokenizer(tmp_path / "base"), spec.config)
    pairs = {pair.pair_id: pair for pair in here}
    for example in preview(spec, examples=10)["examples"]:
        pair = pairs[example["pair_id"]]
        for name, ids in (("prompt", pair.prompt_ids), ("chosen", pair.chosen_ids), ("rejected", pair.rejected_ids)):
            assert tuple(token["id"] for token in example[name]["tokens"]) == ids


def test_it_is_killed_when_it_takes_too_long(tmp_path: Path) -> None:
    with pytest.raises(PreviewFailed, match=r"longer than 0.05 s"):
        preview(make_spec(tmp_path), timeout_seconds=0.05)


def test_a_segmentation_fault_is_logged_with_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import faulthandler\nfaulthandler._sigsegv()\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(PreviewFailed, match="needed too much memory or time"):
        preview(make_spec(tmp_path))
    assert "Segmentation fault" in caplog.text
    assert "sitecustomize.py" in caplog.text


def test_a_large_dataset_is_examined_in_part(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, epochs=2, max_steps=7)
    answer = preview(spec, examples=1, most_rows=8)
    assert (answer["rows"], answer["examined"], answer["report"]["pairs"]) == (32, 8, 8)
    assert answer["steps"] == 7
    assert preview(spec)["tokens"]["used"] == pytest.approx(answer["tokens"]["used"], rel=0.1)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_from_the_store(database: Database, store: StoreSettings, make_run: Callable[..., str]) -> None:
    with database.read() as session:
        spec = preview_spec(session, store, "ds_1", "model_base", resolve("errata"))
    assert preview(spec, examples=1)["refused"] is None
    with database.begin() as session:
        session.get_one(Dataset, "ds_1").state = "running"
    with database.read() as session, pytest.raises(CannotTrain, match="ds_1 is running"):
        preview_spec(session, store, "ds_1", "model_base", resolve("errata"))


def test_the_callers_side_loads_no_torch() -> None:
    code = (
        "import sys, workers.training.supervise.preview, workers.training.supervise.daemon;"
        "import workers.training.run.preview;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'trl', 'peft', 'datasets')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
