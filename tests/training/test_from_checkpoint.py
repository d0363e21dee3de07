"""A run that begins with another run's checkpoint: the losses of the unbroken run, or that checkpoint as a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training.test_run import assert_equal_bits, make_spec, run, weights
from workers.training.protocol import CannotTrain, RunSpec
from workers.training.run.checkpoints import checkpoint_name, steps


def losses(said: list[dict[str, object]]) -> dict[int, float]:
    return {m["step"]: m["values"]["loss"] for m in said if m["type"] == "metrics" and m.get("phase") is None}  # type: ignore[index, misc]


def begin(spec: RunSpec, of: RunSpec, step: int, ends_at: int | None = None) -> RunSpec:
    folder = of.checkpoints / checkpoint_name(step)
    return spec.model_copy(update={"begins_with": folder, "begins_with_run": of.run_id, "ends_at": ends_at})


def test_a_run_resumed_from_another_ones_checkpoint_gives_the_unbroken_runs_losses(tmp_path: Path) -> None:
    whole, broken = make_spec(tmp_path, "whole"), make_spec(tmp_path, "broken")
    unbroken = losses(run(whole).said)
    run(broken, stop_at=2)
    step = steps(broken.checkpoints)[-1]
    assert 0 < step < max(unbroken)
    later = begin(make_spec(tmp_path, "later"), broken, step)
    recorder = run(later)
    assert losses(recorder.said) == {at: loss for at, loss in unbroken.items() if at > step}
    assert_equal_bits(weights(whole), weights(later))
    assert recorder.of("resumed") == [{"type": "resumed", "step": step, "rejected": []}]
    assert steps(broken.checkpoints)[-1] == step, "the other run's folder is left as it is"
    own = json.loads((later.checkpoints / checkpoint_name(max(unbroken)) / "manifest.json").read_text())
    assert own["run_id"] == later.run_id

    made = begin(make_spec(tmp_path, "made"), broken, step, ends_at=step)
    said = run(made)
    assert said.of("metrics") == []
    assert said.of("finished")[0]["step"] == step
    checkpoint = load_file(broken.checkpoints / checkpoint_name(step) / "model.safetensors")
    model = weights(made)
    assert all(torch.equal(model[name], checkpoint[name].to(model[name].dtype)) for name in model)

    other = begin(make_spec(tmp_path, "other"), broken, step).model_copy(update={"begins_with_run": "train_else"})
    with pytest.raises(CannotTrain, match="belongs to another run"):
        run(other)
    gone = begin(make_spec(tmp_path, "gone"), broken, 99)
    with pytest.raises(CannotTrain, match="start a new run"):
        run(gone)
