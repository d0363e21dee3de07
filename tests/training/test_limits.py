"""Limits of the machine: memory that runs out in a step, a disk that is full, and which checkpoints are worth room."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.lacking import lacking
from tests.training.conftest import make_dataset, make_rows
from tests.training.test_run import Recorder, make_spec, messages, run, weights
from workers.training import folders
from workers.training.folders import MANIFEST, DiskFull
from workers.training.protocol import CannotTrain
from workers.training.run import loading, pipeline
from workers.training.run.checkpoints import best_step, checkpoint_name, steps


def narrow(
    monkeypatch: pytest.MonkeyPatch,
    most_tokens: int,
    from_pass: int,
    fail: Callable[[], object],
    *,
    training: bool = True,
) -> list[int]:
    """Let the model ``fail`` for more than ``most_tokens`` at once, from some training pass on; tells of each."""
    refused: list[int] = []
    passes = [0]
    load = loading.load_model

    def hook(module: Any, args: Any, kwargs: Any) -> None:
        if module.training is not training:
            return
        passes[0] += 1
        if passes[0] >= from_pass and kwargs["input_ids"].numel() > most_tokens:
            refused.append(kwargs["input_ids"].numel())
            fail()

    def loaded(*args: Any) -> Any:
        model = load(*args)
        model.register_forward_pre_hook(hook, with_kwargs=True)
        return model

    monkeypatch.setattr(loading, "load_model", loaded)
    return refused


def fail_as_cuda() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def fail_as_cpu() -> None:
    torch.empty(2**46)  # the allocator itself refuses


def fail_otherwise() -> None:
    raise RuntimeError("device-side assert")


@pytest.mark.parametrize("fail", [fail_as_cuda, fail_as_cpu])
def test_out_of_memory_halves_the_micro_batch_and_changes_nothing(
    fail: Callable[[], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"batch_size": 8, "micro_batch": 8, "epochs": 2, "nll_weight": 1.0, "nll_gate": False}
    whole, small = make_spec(tmp_path, "whole", **options), make_spec(tmp_path, "small", **options)
    expected = run(whole).of("metrics")
    refused = narrow(monkeypatch, most_tokens=300, from_pass=4, fail=fail)
    recorder = run(small)
    assert refused, "the hook never raised"
    shrunk = recorder.of("shrunk")
    assert [message["micro_batch"] for message in shrunk] == [4, 2][: len(shrunk)]
    assert shrunk[0]["step"] > 1
    told = recorder.of("metrics")
    assert told[-1]["values"]["micro_batch"] == shrunk[-1]["micro_batch"]
    assert told[0]["values"]["micro_batch"] == 8
    for name in ("loss", "margin", "step/nll"):
        mine = [m["values"][name] for m in told]
        assert mine == pytest.approx([m["values"][name] for m in expected], rel=1e-4, abs=1e-6)
    apart = torch.cat([(weights(whole)[n] - weights(small)[n]).flatten() for n in weights(whole)])
    assert apart.norm() / torch.cat([w.flatten() for w in weights(whole).values()]).norm() < 1e-5


def test_a_single_pair_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    narrow(monkeypatch, most_tokens=8, from_pass=1, fail=fail_as_cuda)
    with pytest.raises(CannotTrain, match="out of memory at a micro-batch of 1"):
        run(make_spec(tmp_path, batch_size=4, micro_batch=4))


def test_the_reference_pass_gets_by_with_less_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, small = make_spec(tmp_path, "whole"), make_spec(tmp_path, "small")
    expected = run(whole).of("metrics")
    shutil.rmtree(small.reference)
    refused = narrow(monkeypatch, most_tokens=400, from_pass=5, fail=fail_as_cpu, training=False)
    recorder = run(small)
    assert refused, "the hook never raised"
    assert not recorder.of("shrunk")
    losses = [[m["values"]["loss"] for m in told] for told in (recorder.of("metrics"), expected)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    passes = [message["done"] for message in recorder.of("progress") if message["phase"] == "reference"]
    assert passes[-1] == 32
    assert passes == sorted(set(passes))
    narrow(monkeypatch, most_tokens=8, from_pass=5, fail=fail_as_cuda, training=False)
    shutil.rmtree(small.reference)
    with pytest.raises(CannotTrain, match="out of memory at a single pair"):
        run(make_spec(tmp_path, "none"))


def test_other_errors_are_not_taken_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    narrow(monkeypatch, most_tokens=8, from_pass=1, fail=fail_otherwise)
    with pytest.raises(RuntimeError, match="device-side assert"):
        run(make_spec(tmp_path))


def test_a_run_that_does_not_fit_the_disk_is_refused_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(tmp_path, keep=2)
    sizes = [path.stat().st_size for path in (tmp_path / "base").glob("*.safetensors")]
    monkeypatch.setattr(folders, "free_bytes", lambda _folder: 4_000_000)
    recorder = Recorder()
    with pytest.raises(
        CannotTrain, match=r"needs \d{7} bytes \(4 checkpoints of \d+, a result of \d+\), 4000000 are free"
    ):
        pipeline.train(spec, recorder)
    assert not recorder.of("ready")
    assert steps(spec.checkpoints) == []
    needed = 4 * (3 * sum(sizes) + 1_000_000) + sum(sizes) + 1_000_000
    monkeypatch.setattr(folders, "free_bytes", lambda _folder: needed + 100_000)
    run(spec)


def test_a_disk_that_fills_up_meanwhile_keeps_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, left = make_spec(tmp_path, checkpoint_every=1), [10**9, 10**9, 1234]
    monkeypatch.setattr(folders, "free_bytes", lambda _folder: left.pop(0) if len(left) > 1 else left[0])
    with pytest.raises(DiskFull, match=r"the checkpoint of step 2: it needs \d+ bytes, 1234 are free"):
        run(spec)
    assert steps(spec.checkpoints) == [1]
    monkeypatch.undo()
    assert run(spec).of("resumed")[0]["step"] == 1


def test_a_write_that_fails_names_the_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = make_spec(tmp_path, checkpoint_every=1)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("workers.training.run.checkpoints.save_random", full)
    with pytest.raises(DiskFull, match=r"filled up while writing the checkpoint of step 1 of about \d+ bytes"):
        run(spec)
    assert list(spec.checkpoints.iterdir()) == []


def scores(folder: Path) -> dict[int, float]:
    return {s: json.loads((folder / checkpoint_name(s) / MANIFEST).read_text())["score"] for s in steps(folder)}


def test_the_best_checkpoint_is_kept_beside_the_newest(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, epochs=4, checkpoint_every=2, keep=2, learning_rate=0.05, scheduler="constant")
    recorder = run(spec)
    losses = [m["values"]["loss"] for m in recorder.of("metrics")]
    means = {step: (losses[step - 2] + losses[step - 1]) / 2 for step in range(2, len(losses) + 1, 2)}
    best = min(means, key=lambda step: means[step])
    assert steps(spec.checkpoints) == sorted({best, 14, 16})
    assert scores(spec.checkpoints)[best] == pytest.approx(means[best], abs=1e-4)
    deleted = [step for message in recorder.of("checkpoint") for step in message["deleted"]]
    assert sorted(deleted) == [step for step in means if step not in (best, 14, 16)]


def test_without_a_best_only_the_newest_are_kept(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, epochs=4, checkpoint_every=2, keep=2, best="none")
    run(spec)
    assert steps(spec.checkpoints) == [14, 16]


@pytest.mark.parametrize("preset", ["errata", "sft"])
def test_the_best_by_the_held_out_loss(preset: str, tmp_path: Path) -> None:
    spec = make_spec(tmp_path, preset=preset, epochs=2, best="eval_loss", checkpoint_every=2, batch_size=4)
    with pytest.raises(CannotTrain, match="holds nothing out"):
        run(spec)
    held_out = make_dataset(tmp_path / "other", make_rows(problems=3, seed=9))
    for name in ("steps_and_full", "sft"):
        (spec.dataset_folder / name / "test.jsonl").write_bytes((held_out / name / "train.jsonl").read_bytes())
    recorder = run(spec)
    told = {m["step"]: m["values"]["loss"] for m in recorder.of("metrics") if m.get("phase") == "eval"}
    assert list(told) == [message["step"] for message in recorder.of("checkpoint")]
    assert told[2] > told[max(told)], "what is learned carries over"
    found = scores(spec.checkpoints)
    assert found == {step: told[step] for step in found}
    assert best_step(spec.checkpoints) == min(told, key=lambda step: told[step])


def test_the_held_out_loss_starts_where_nothing_is_learned(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, best="eval_loss", checkpoint_every=1, learning_rate=1e-12, nll_weight=0.0, max_steps=1)
    source = spec.dataset_folder / "steps_and_full" / "train.jsonl"
    source.with_name("test.jsonl").write_bytes(source.read_bytes())
    figures = next(m for m in run(spec).of("metrics") if m.get("phase") == "eval")["values"]
    assert figures["loss"] == pytest.approx(2 * 0.693147, rel=1e-4)  # a mean of step pairs and one of full pairs
    assert (figures["step/pairs"], figures["full/pairs"]) == (24, 8)


def test_damaged_manifests_are_never_the_best(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, checkpoint_every=1, keep=9)
    run(spec)
    best = best_step(spec.checkpoints)
    assert best is not None
    (spec.checkpoints / checkpoint_name(best) / MANIFEST).write_text('{"score": ')
    assert best_step(spec.checkpoints) not in (best, None)


def mounting(folder: Path, size: str) -> list[str]:
    """The start of a command line that sees a disk of ``size`` at ``folder``; skips where that is not allowed."""
    enter = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    line = [*enter, f'mount -t tmpfs -o size={size} tmpfs "$0" && exec "$@"', str(folder)]
    if shutil.which("unshare") is None or subprocess.run([*line, "true"], check=False).returncode != 0:
        lacking("no file system may be mounted here")
    return line


@pytest.mark.slow
@pytest.mark.parametrize(("size", "status"), [("3m", 1), ("9m", 0)])
def test_on_a_small_disk(size: str, status: int, tmp_path: Path) -> None:
    """The process itself, on a real file system: refused before the first step, or trained."""
    spec = make_spec(tmp_path, keep=2)
    small = tmp_path / "run"
    small.mkdir()
    (tmp_path / "spec.json").write_text(spec.model_dump_json())
    command = [*mounting(small, size), sys.executable, "-m", "workers.training.run", "--spec"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [*command, str(tmp_path / "spec.json")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    ) as process:
        said = list(messages(process))
    assert process.returncode == status
    kinds = [message["type"] for message in said]
    assert (kinds[-1], "metrics" in kinds) == (("error", False) if status else ("finished", True))
    if status:
        assert re.search(r"needs \d{7} bytes .*, \d+ are free", said[-1]["message"])
        assert said[-1]["fatal"]
