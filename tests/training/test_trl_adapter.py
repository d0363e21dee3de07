"""The private methods of TRL and transformers that a run replaces: any release may change them."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from trl.trainer.dpo_trainer import DPOTrainer

from tests.training.conftest import CONFIG, make_model
from tests.training.test_run import Recorder
from workers.training.config import resolve
from workers.training.run.data import Pair
from workers.training.run.loading import load_model, load_tokenizer, peft_config
from workers.training.run.trainer import RiseTrainer
from workers.training.run.trl_adapter import TrlAdapter

READ_IN = "trl 1.16 and transformers 5.23"
# Parameters of the parent's methods, as they were when the overrides were written.
RECORDED = {
    "_get_grad_norm": "(self, model, grad_norm=None)",
    "_load_from_checkpoint": "(self, resume_from_checkpoint, model=None)",
    "_load_optimizer_and_scheduler": "(self, checkpoint)",
    "_load_rng_state": "(self, checkpoint)",
    "_prepare_dataset": "(self, dataset, processing_class, args, dataset_name)",
    "_prepare_for_training": "(self, max_steps, train_dataloader, resume_from_checkpoint)",
    "_save_checkpoint": "(self, model, trial)",
    "_send_telemetry": "(self)",
}


def parameters(function: Any) -> str:
    """The signature without annotations."""
    signature = inspect.signature(function)
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))


def private_overrides(kind: type) -> set[str]:
    """Private methods of ``kind`` itself that its parents in TRL and transformers have too."""
    own = {name for name in vars(kind) if name.startswith("_") and not name.startswith(("__", "_abc"))}
    return {name for name in own if hasattr(DPOTrainer, name)}


def changed(parent: type) -> dict[str, str]:
    """Recorded methods that ``parent`` lacks, or takes with other parameters, and how."""
    gone = {name: "is gone" for name in RECORDED if not hasattr(parent, name)}
    now = {name: parameters(getattr(parent, name)) for name in RECORDED if name not in gone}
    return gone | {
        name: f"takes {found}, not {RECORDED[name]}" for name, found in now.items() if found != RECORDED[name]
    }


def test_the_private_methods_we_replace_are_as_they_were_read() -> None:
    told = "; ".join(f"{name} {how}" for name, how in changed(DPOTrainer).items())
    assert not told, f"read in {READ_IN}, and changed since: {told}. Read workers/training/run/trl_adapter.py again"


def test_a_change_would_be_told() -> None:
    class Next(DPOTrainer):
        def _save_checkpoint(self, model: Any, trial: Any, metrics: Any = None) -> None:
            """As a later release may have it."""

    assert changed(Next) == {"_save_checkpoint": "takes (self, model, trial, metrics=None), not (self, model, trial)"}
    assert changed(object) == dict.fromkeys(RECORDED, "is gone")


def test_all_of_them_stand_in_one_class() -> None:
    assert private_overrides(TrlAdapter) == set(RECORDED)
    assert private_overrides(RiseTrainer) == set()
    for name in RECORDED:
        assert inspect.getdoc(vars(TrlAdapter)[name]), f"{name} does not say what it replaces"


@pytest.mark.parametrize("config", [{}, {"lora": {"r": 2, "alpha": 4}}], ids=["whole", "adapter"])
def test_trl_neither_digests_the_weights_nor_keeps_a_second_model(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> str:
        raise AssertionError("TRL digests every weight")

    monkeypatch.setattr("trl.trainer.dpo_trainer.hash_module", never)
    monkeypatch.setattr("trl.trainer.dpo_trainer.create_model_from_path", never)
    resolved = resolve("errata", {**CONFIG, **config})
    folder = make_model(tmp_path / "base")
    trainer = RiseTrainer(
        load_model(folder, resolved),
        load_tokenizer(folder),
        [Pair("a", "x", True, None, (5, 6), (7,), (8,))],
        resolved,
        tmp_path,
        Recorder(),
        peft_config(resolved),
    )
    assert trainer.ref_model is None
    assert isinstance(trainer.model, torch.nn.Module)
