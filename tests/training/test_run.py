"""The run itself: the same weights from the same seed, whatever the micro-batch, stopped and resumed or not."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.training.conftest import CONFIG, make_dataset, make_model, make_rows
from workers.training.config import resolve
from workers.training.protocol import CannotTrain, RunSpec
from workers.training.run.checkpoints import checkpoint_name, steps
from workers.training.run.pipeline import train


class Recorder:
    """Listens in place of the daemon; asks to stop when it hears of ``stop_at``, which is during the step behind it."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.said: list[dict[str, Any]] = []
        self.stop_asked = threading.Event()
        self._stop_at = stop_at

    def send(self, kind: str, **data: Any) -> None:
        self.said.append({"type": kind, **data})
        if kind == "metrics" and data["step"] == self._stop_at:
            self.stop_asked.set()

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.said if message["type"] == kind]


def make_spec(folder: Path, name: str = "run", preset: str = "errata", **overrides: Any) -> RunSpec:
    """A run on the folder's ``base`` and ``dataset``, made when absent."""
    if not (folder / "base").exists():
        make_model(folder / "base")
        make_dataset(folder / "dataset", make_rows())
    return RunSpec(
        run_id=f"train_{name}",
        config=resolve(preset, {**CONFIG, **overrides}),
        model_path=str(folder / "base"),
        dataset_folder=folder / "dataset",
        checkpoints=folder / name / "checkpoints",
        output=folder / name / "model",
        reference=folder / "reference",
        lineage={"name": name},
    )


def run(spec: RunSpec, stop_at: int | None = None) -> Recorder:
    recorder = Recorder(stop_at)
    train(spec, recorder)
    return recorder


def weights(spec: RunSpec) -> dict[str, torch.Tensor]:
    return load_file(spec.output / "model.safetensors")


def assert_equal_bits(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_two_runs_with_one_seed_give_the_same_weights(tmp_path: Path) -> None:
    first, second = make_spec(tmp_path, "a"), make_spec(tmp_path, "b")
    run(first)
    run(second)
    assert_equal_bits(weights(first), weights(second))
    third = make_spec(tmp_path, "c", seed=1)
    run(third)
    assert any(not torch.equal(weights(first)[name], weights(third)[name]) for name in weights(first))


@pytest.mark.parametrize("packing", ["tree", "pairs"])
def test_accumulation_changes_nothing(packing: str, tmp_path: Path) -> None:
    ends = []
    for name, micro in (("eight", 1), ("one", 8)):
        spec = make_spec(tmp_path, name, packing=packing, micro_batch=micro, nll_weight=1.0, nll_gate=False)
        run(spec)
        ends.append(weights(spec))
    base = load_file(tmp_path / "base" / "model.safetensors")
    moved = torch.cat([(ends[0][n] - base[n]).flatten() for n in base])
    apart = torch.cat([(ends[0][n] - ends[1][n]).flatten() for n in base])
    whole = torch.cat([ends[0][n].flatten() for n in base])
    assert moved.norm() > 0
    assert apart.norm() / whole.norm() < 1e-5


def test_trees_and_pairs_train_alike(tmp_path: Path) -> None:
    values = []
    for packing in ("tree", "pairs"):
        recorder = run(make_spec(tmp_path, packing, packing=packing))
        values.append([m["values"]["loss"] for m in recorder.of("metrics")])
    assert values[0] == pytest.approx(values[1], rel=1e-4)


def test_reference_is_computed_once_and_reused(tmp_path: Path) -> None:
    first, second = run(make_spec(tmp_path, "a")), run(make_spec(tmp_path, "b", beta=0.1))
    assert [m for m in first.of("progress") if m["phase"] == "reference"]
    assert not [m for m in second.of("progress") if m["phase"] == "reference"]
    other = run(make_spec(tmp_path, "c", max_length=1000, eos="none"))  # other ids
    assert [m for m in other.of("progress") if m["phase"] == "reference"]


def test_stopped_and_resumed_equals_unbroken(tmp_path: Path) -> None:
    whole, broken = make_spec(tmp_path, "whole", epochs=2), make_spec(tmp_path, "broken", epochs=2)
    unbroken = run(whole)
    stopped = run(broken, stop_at=2)
    assert stopped.of("stopped")[0]["step"] == 3
    assert not broken.output.exists()
    resumed = run(broken)
    assert resumed.of("resumed")[0]["step"] == 3
    together = stopped.of("metrics") + resumed.of("metrics")
    assert together == unbroken.of("metrics")
    assert_equal_bits(weights(whole), weights(broken))


def test_lora_is_merged_and_resumes(tmp_path: Path) -> None:
    lora = {"r": 4, "alpha": 8, "target_modules": ["q_proj", "v_proj"]}
    whole, broken = (make_spec(tmp_path, name, lora=lora, epochs=2) for name in ("whole", "broken"))
    unbroken = run(whole)
    run(broken, stop_at=2)
    assert (broken.checkpoints / checkpoint_name(3) / "adapter_model.safetensors").is_file()
    run(broken)
    assert unbroken.of("metrics")[-1]["values"]["loss"] < unbroken.of("metrics")[0]["values"]["loss"]
    base = load_file(tmp_path / "base" / "model.safetensors")
    assert weights(whole).keys() == base.keys()
    changed = {name for name in base if not torch.equal(base[name], weights(whole)[name])}
    assert changed
    assert all("q_proj" in name or "v_proj" in name for name in changed)
    assert_equal_bits(weights(whole), weights(broken))


def test_a_finished_run_that_was_not_told_of_finishes_again(tmp_path: Path) -> None:
    spec = make_spec(tmp_path)
    run(spec)
    before = weights(spec)
    shutil.rmtree(spec.output)
    again = run(spec)
    assert again.of("metrics") == []
    assert again.of("finished")
    assert_equal_bits(before, weights(spec))


def test_damaged_checkpoints_fall_back_and_never_to_step_0(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, epochs=2, keep=3)
    run(spec, stop_at=5)
    kept = steps(spec.checkpoints)
    assert kept == [2, 4, 6]
    for step in (6, 4):
        (spec.checkpoints / checkpoint_name(step) / "optimizer.safetensors").write_bytes(b"")
    again = run(spec, stop_at=3)
    assert again.of("resumed")[0]["step"] == 2
    assert [entry["step"] for entry in again.of("resumed")[0]["rejected"]] == [6, 4]
    assert steps(spec.checkpoints) == [2, 4], "damaged ones are not among the newest that are kept"
    assert list(spec.checkpoints.glob("*.tmp")) == []
    for step in steps(spec.checkpoints):
        (spec.checkpoints / checkpoint_name(step) / "model.safetensors").unlink()
    with pytest.raises(CannotTrain, match="not restarted from step 0"):
        run(spec)
    shutil.rmtree(spec.checkpoints)
    with pytest.raises(CannotTrain, match="gone"):
        run(spec.model_copy(update={"last_step": 3}))


def test_checkpoints_hold_only_safetensors_and_json(tmp_path: Path) -> None:
    spec = make_spec(tmp_path)
    run(spec)
    files = {p.suffix for folder in (spec.checkpoints, spec.output) for p in folder.rglob("*") if p.is_file()}
    assert files <= {".safetensors", ".json", ".jinja", ".md", ""}


def poison(folder: Path, problems: set[str]) -> None:
    """Let every batch with one of ``problems`` give NaN: the embedding of a byte only they use is not a number."""
    rows = make_rows()
    for row in rows:
        if row["problem_id"] in problems:
            row["question"] += " ~"
    make_dataset(folder / "dataset", rows)
    make_model(folder / "base", tied=False)
    path = folder / "base" / "model.safetensors"
    tensors = load_file(path)
    token = json.loads((folder / "base" / "tokenizer.json").read_text())["model"]["vocab"]["~"]
    tensors["model.embed_tokens.weight"][token] = float("nan")
    save_file(tensors, path, metadata={"format": "pt"})


def test_a_batch_that_is_not_finite_changes_nothing(tmp_path: Path) -> None:
    poison(tmp_path, {"prob_3"})
    spec = make_spec(tmp_path, batch_size=4, checkpoint_every=1, keep=9)
    recorder = run(spec)
    skipped = recorder.of("skipped")
    assert len(skipped) == 1
    assert any(pair.startswith("pair_3_") for pair in skipped[0]["pairs"])
    at = skipped[0]["step"]
    assert at > 1
    for name in ("model.safetensors", "optimizer.safetensors"):
        before, after = (load_file(spec.checkpoints / checkpoint_name(step) / name) for step in (at - 1, at))
        finite = [n for n in before if torch.isfinite(before[n]).all()]
        assert finite
        assert all(torch.equal(before[n], after[n]) for n in finite)
    assert recorder.of("finished")


def test_three_in_a_row_fail_with_the_batch_ids(tmp_path: Path) -> None:
    poison(tmp_path, {f"prob_{p}" for p in range(8)})
    with pytest.raises(CannotTrain, match=r"3 batches in a row.*pair_\d_"):
        run(make_spec(tmp_path))


def messages(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """Until the end of the line; the last one may be torn by a kill."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.endswith("\n"):
            yield json.loads(line)
