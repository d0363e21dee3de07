"""A hostile pickle in place of weights: whatever loads a model or a checkpoint refuses it, and its code never runs."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cli import CliError
from cli.admin import add_model
from models.migrate import upgrade
from models.settings import StoreSettings
from tests.training.conftest import make_model
from tests.training.test_run import make_spec, run
from workers.engines.transformers_engine import TransformersEngine
from workers.engines.weights import refuse_pickles
from workers.training.config import resolve
from workers.training.protocol import CannotTrain
from workers.training.run.checkpoints import checkpoint_name, steps
from workers.training.run.loading import load_model, local_folder

PLAIN, ARCHIVE = "pickles in a row", "an archive"  # torch up to 1.5, and since


class Payload:
    """Unpickled, it makes a file."""

    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (str(self._canary), "w")


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """The file that hostile pickles make: it is there when one has been opened."""
    return tmp_path / "canary"


def write_hostile(path: Path, canary: Path, form: str) -> None:
    """Weights that run code of their own when they are unpickled."""
    torch.save({"model.norm.weight": Payload(canary)}, path, _use_new_zipfile_serialization=form == ARCHIVE)


@pytest.mark.parametrize("form", [PLAIN, ARCHIVE])
def test_the_payload_runs_where_it_is_unpickled(tmp_path: Path, canary: Path, form: str) -> None:
    write_hostile(tmp_path / "x.pt", canary, form)
    torch.load(tmp_path / "x.pt", weights_only=False)
    assert canary.exists(), "else the other tests of this file would show nothing"


@pytest.fixture(params=["pytorch_model.bin", "model.pt", "an index"])
def hostile_model(request: pytest.FixtureRequest, tmp_path: Path, canary: Path) -> Path:
    """The folder of a model whose weights are a pickle; an index may claim that they are safetensors."""
    folder = make_model(tmp_path / "hostile")
    name = "pytorch_model.bin" if request.param == "an index" else request.param
    (folder / "model.safetensors").unlink()
    write_hostile(folder / name, canary, ARCHIVE)
    if request.param == "an index":
        index = {"metadata": {"total_size": 64}, "weight_map": {"model.norm.weight": name}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def test_an_engine_refuses_it(hostile_model: Path, canary: Path) -> None:
    with pytest.raises(ValueError, match=r"is a pickle.*give a folder with"):
        TransformersEngine({"path": str(hostile_model)})
    assert not canary.exists()


def test_an_engine_opens_none_that_stands_beside_safetensors(tmp_path: Path, canary: Path) -> None:
    folder = make_model(tmp_path / "mixed")
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt", "adapter_model.bin"):
        write_hostile(folder / name, canary, PLAIN)
    TransformersEngine({"path": str(folder)})
    assert not canary.exists()


def test_an_adapter_in_pickles_is_refused(tmp_path: Path, canary: Path) -> None:
    base, adapter = make_model(tmp_path / "base"), tmp_path / "adapter"
    adapter.mkdir()
    about = {"base_model_name_or_path": str(base), "peft_type": "LORA", "r": 2, "target_modules": ["q_proj"]}
    (adapter / "adapter_config.json").write_text(json.dumps(about))
    write_hostile(adapter / "adapter_model.bin", canary, ARCHIVE)
    with pytest.raises(ValueError, match=r"adapter_model.bin is a pickle"):
        TransformersEngine({"path": str(adapter)})
    assert not canary.exists()


def test_a_trainer_refuses_it(hostile_model: Path, canary: Path) -> None:
    with pytest.raises(CannotTrain, match=r"the base model: .* is a pickle"):
        local_folder(str(hostile_model), None)
    with pytest.raises((OSError, ValueError, RuntimeError, pickle.UnpicklingError)):
        load_model(hostile_model, resolve("errata", {}))
    assert not canary.exists()


def test_it_cannot_be_registered(canary: Path, tmp_path: Path) -> None:
    hostile_model = tmp_path / "hostile"
    hostile_model.mkdir()
    write_hostile(hostile_model / "pytorch_model.bin", canary, ARCHIVE)
    store = StoreSettings(ERRATA_HOME=tmp_path / "home")
    upgrade(store.database_url)
    with pytest.raises(CliError, match="is a pickle"):
        add_model(store, "m", "transformers", {"path": str(hostile_model)})
    assert not canary.exists()


def test_a_hub_id_is_left_to_the_library() -> None:
    refuse_pickles("nobody/nothing")


def test_a_resumed_run_opens_none_that_was_put_into_its_checkpoint(tmp_path: Path, canary: Path) -> None:
    """The names are those that transformers' own trainer would unpickle."""
    spec = make_spec(tmp_path, epochs=1, checkpoint_every=1, batch_size=8)
    run(spec, stop_at=1)
    [*_, step] = steps(spec.checkpoints)
    folder = spec.checkpoints / checkpoint_name(step)
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "rng_state_0.pth", "training_args.bin"):
        write_hostile(folder / name, canary, PLAIN)
    resumed = run(spec)
    assert [message["step"] for message in resumed.of("resumed")] == [step]
    assert resumed.of("metrics")
    assert not canary.exists()
    shutil.rmtree(spec.checkpoints)
