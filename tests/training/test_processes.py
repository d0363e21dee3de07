"""Runs of two processes: the same as one, stopped, resumed and killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from tests.training.conftest import make_dataset, make_model, make_rows
from tests.training.test_deaths import assert_traceback
from tests.training.test_process_group import gloo_threads
from tests.training.test_run import assert_equal_bits, make_spec, messages, run, weights
from workers.child_process import ChildEnded, ChildProcess
from workers.training.protocol import RunSpec
from workers.training.run.batches import passes_of_rank
from workers.training.run.checkpoints import checkpoint_name
from workers.training.supervise.launch import command, config_file

# Three pairs of processes in one test: on a busy machine each may take a minute.
pytestmark = pytest.mark.timeout(900)


def in_two_processes(
    spec: RunSpec, folder: Path, stop_at: int | None = None, launch: str = "ddp-cpu"
) -> list[dict[str, Any]]:
    """What a run of two processes says; asked to stop when it tells of ``stop_at``. Nobody renews a lease here."""
    spec = spec.model_copy(update={"lease_seconds": 3600.0})
    line, environment = command(config_file(launch), 1, folder / "spec.json")
    path, said, log = folder / "spec.json", [], folder / "errors.log"
    path.write_text(spec.model_dump_json())
    with (
        log.open("w") as errors,
        subprocess.Popen(
            line,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
        ) as process,
    ):
        for message in messages(process):
            said.append(message)
            if message["type"] == "metrics" and message["step"] == stop_at:
                assert process.stdin is not None
                process.stdin.write("stop\n")
                process.stdin.flush()
    assert process.returncode == 0, f"last said: {said[-5:]}\n{log.read_text()[-30000:]}"
    written = [message["manifest"]["processes"] for message in said if message["type"] == "checkpoint"]
    assert set(written) == {2}, "a launcher that starts one process only would show nothing"
    return said


@pytest.mark.long
@pytest.mark.parametrize("launch", ["ddp-cpu", "fsdp-cpu"])
def test_two_processes_stop_and_resume_as_if_unbroken(launch: str, tmp_path: Path) -> None:
    """With dropout, so that the random states of both processes must be where they were.

    Long enough that the run is not over before it hears, on a machine that does other things as well.
    """
    options = {"lora": {"r": 4, "alpha": 8, "dropout": 0.2}, "epochs": 20, "checkpoint_every": 1000}
    whole, broken = (make_spec(tmp_path, name, **options) for name in ("whole", "broken"))
    unbroken = in_two_processes(whole, tmp_path, launch=launch)
    said = in_two_processes(broken, tmp_path, stop_at=3, launch=launch)
    assert said[-1]["type"] == "stopped"
    assert sorted(path.name for path in broken.checkpoints.glob("step-*/*.random.json")) == [
        "0.random.json", "1.random.json"
    ]  # fmt: skip
    again = in_two_processes(broken, tmp_path, launch=launch)
    assert [m["step"] for m in again if m["type"] == "resumed"] == [said[-1]["step"]]
    told = [m for m in said + again if m["type"] == "metrics"]
    assert told == [m for m in unbroken if m["type"] == "metrics"]
    assert_equal_bits(weights(whole), weights(broken))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launch", "tied"),
    [("ddp-cpu", True), pytest.param("fsdp-cpu", True, marks=pytest.mark.long), ("fsdp-cpu", False)],
)
def test_two_processes_train_as_one(launch: str, tied: bool, tmp_path: Path) -> None:
    """Some problems have more pairs than others, so that one process has more passes to make than the other."""
    make_model(tmp_path / "base", tied=tied)
    rows = [row for row in make_rows() if row["problem_id"] < "prob_3" or row["step_index"] in (0, None)]
    make_dataset(tmp_path / "dataset", rows)
    one, two = (make_spec(tmp_path, name, nll_weight=1.0, micro_batch=2) for name in ("one", "two"))
    alone = run(one)
    said = in_two_processes(two, tmp_path, launch=launch)
    told = [m["values"] for m in said if m["type"] == "metrics"]
    expected = [m["values"] for m in alone.of("metrics")]
    for name in ("loss", "margin", "step/nll", "full/loss", "step/pairs"):
        assert [v[name] for v in told] == pytest.approx([v[name] for v in expected], rel=1e-4)
    apart = torch.cat([(weights(one)[n] - weights(two)[n]).flatten() for n in weights(one)])
    whole = torch.cat([w.flatten() for w in weights(one).values()])
    assert apart.norm() / whole.norm() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("lora", [None, pytest.param({"r": 4, "alpha": 8}, marks=pytest.mark.long)])
def test_what_shards_wrote_goes_on_in_one_process(lora: dict[str, Any] | None, tmp_path: Path) -> None:
    """A checkpoint is whole: weights and moments of every parameter, under the names one process gives them.

    The run is long, so that it is not over before it hears that it shall stop; it is compared for eight steps more.
    """
    options = {"lora": lora, "epochs": 40, "checkpoint_every": 1000}
    whole, broken = (make_spec(tmp_path, name, **options) for name in ("whole", "broken"))
    said = in_two_processes(broken, tmp_path, stop_at=3, launch="fsdp-cpu")
    assert said[-1]["type"] == "stopped"
    end = said[-1]["step"] + 8
    unbroken, again = (run(spec, stop_at=end - 1) for spec in (whole, broken))
    assert [m["step"] for m in again.of("resumed")] == [said[-1]["step"]]
    told = [m["values"]["loss"] for m in [*said, *again.said] if m["type"] == "metrics"]
    assert told == pytest.approx([m["values"]["loss"] for m in unbroken.of("metrics")], rel=1e-4)
    name = "adapter_model.safetensors" if lora else "model.safetensors"
    one, other = (load_file(spec.checkpoints / checkpoint_name(end) / name) for spec in (whole, broken))
    apart = torch.cat([(one[n] - other[n]).flatten() for n in one])
    assert apart.norm() / torch.cat([w.flatten() for w in one.values()]).norm() < 1e-5


def start(spec: RunSpec, folder: Path) -> ChildProcess:
    """A run of two processes as the supervisor starts it, once its first step has been taken."""
    path = folder / "spec.json"
    path.write_text(spec.model_dump_json())
    line, environment = command(config_file("ddp-cpu"), 1, path)
    launched = ChildProcess("training", line, env=environment, log_file=folder / "log")
    try:
        launched.wait_ready(lambda said: said if '"metrics"' in said else None, 120)
    except ChildEnded as error:
        raise AssertionError(launched.last_words()) from error
    return launched


@pytest.mark.slow
@pytest.mark.parametrize("leader", ["alive", "dead"])
def test_killing_the_launcher_leaves_no_process(leader: str, tmp_path: Path) -> None:
    """Its processes stand in sessions of their own, out of reach of a kill of its group."""
    launched = start(make_spec(tmp_path, epochs=1000), tmp_path)
    try:
        workers = psutil.Process(launched.pid).children(recursive=True)
        assert len(workers) >= 2
        if sys.platform == "linux":
            assert [gloo_threads(worker.pid) for worker in workers] == [1] * len(workers)
        if leader == "dead":
            os.kill(launched.pid, signal.SIGKILL)
            assert launched.wait(30) == -signal.SIGKILL
    finally:
        launched.kill()
    _, left = psutil.wait_procs(workers, timeout=60)
    assert left == []


@pytest.mark.slow
def test_a_segmentation_fault_in_one_of_several_leaves_its_traceback(tmp_path: Path) -> None:
    """In the log that the supervisor keeps, and at its end, which the run's error quotes."""
    spec = make_spec(tmp_path, epochs=1000).model_copy(update={"lease_seconds": 3600.0})
    launched = start(spec, tmp_path)
    try:
        ranks = [p for p in psutil.Process(launched.pid).children(recursive=True) if "--spec" in p.cmdline()]
        os.kill(ranks[-1].pid, signal.SIGSEGV)
        assert launched.wait(60)
    finally:
        launched.kill()
    assert_traceback((tmp_path / "log").read_text())
    assert "Extension modules" not in launched.last_words()


def test_every_process_makes_as_many_passes_as_shards_need() -> None:
    def cut(indices: Sequence[int]) -> list[list[int]]:
        return [[index] for index in indices if index < 4]

    assert passes_of_rank([0, 1, 2, 9], 2, 0, cut, equal=True) == [([0], 2.0), ([1], 2.0)]
    assert passes_of_rank([0, 1, 2, 9], 2, 1, cut, equal=True) == [([2], 2.0), ([0], 0.0)]
    assert passes_of_rank([0, 1, 2, 9], 2, 1, cut, equal=False) == [([2], 2.0)]
    assert passes_of_rank([0, 9, 9, 9], 2, 1, cut, equal=False) == [([0], 0.0)]
