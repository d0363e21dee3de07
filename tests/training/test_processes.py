"""Runs of two processes: the same as one, stopped, resumed and killed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from tests.training.test_run import assert_equal_bits, make_spec, messages, run, weights
from workers.training.child import Child, command
from workers.training.settings import TrainerSettings
from workers.training.spec import RunSpec


def in_two_processes(spec: RunSpec, folder: Path, stop_at: int | None = None) -> list[dict[str, Any]]:
    """What a run of two processes says; asked to stop when it tells of ``stop_at``."""
    path, said = folder / "spec.json", []
    path.write_text(spec.model_dump_json())
    with subprocess.Popen(
        command(TrainerSettings(accelerate_config=Path("ddp-cpu")), path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
    ) as process:
        for message in messages(process):
            said.append(message)
            if message["type"] == "metrics" and message["step"] == stop_at:
                assert process.stdin is not None
                process.stdin.write("stop\n")
                process.stdin.flush()
    assert process.returncode == 0
    written = [message["manifest"]["processes"] for message in said if message["type"] == "checkpoint"]
    assert set(written) == {2}, "a launcher that starts one process only would show nothing"
    return said


@pytest.mark.slow
def test_two_processes_stop_and_resume_as_if_unbroken(tmp_path: Path) -> None:
    """With dropout, so that the random states of both processes must be where they were."""
    options = {"lora": {"r": 4, "alpha": 8, "dropout": 0.2}, "epochs": 3, "checkpoint_every": 1000}
    whole, broken = (make_spec(tmp_path, name, **options) for name in ("whole", "broken"))
    unbroken = in_two_processes(whole, tmp_path)
    said = in_two_processes(broken, tmp_path, stop_at=3)
    assert said[-1]["type"] == "stopped"
    assert sorted(path.name for path in broken.checkpoints.glob("step-*/*.random.json")) == [
        "0.random.json", "1.random.json"
    ]  # fmt: skip
    again = in_two_processes(broken, tmp_path)
    assert [m["step"] for m in again if m["type"] == "resumed"] == [said[-1]["step"]]
    told = [m for m in said + again if m["type"] == "metrics"]
    assert told == [m for m in unbroken if m["type"] == "metrics"]
    assert_equal_bits(weights(whole), weights(broken))


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    one, two = make_spec(tmp_path, "one", nll_weight=1.0), make_spec(tmp_path, "two", nll_weight=1.0)
    alone = run(one)
    said = in_two_processes(two, tmp_path)
    told = [m["values"] for m in said if m["type"] == "metrics"]
    expected = [m["values"] for m in alone.of("metrics")]
    for name in ("loss", "margin", "step/nll", "full/loss", "step/pairs"):
        assert [v[name] for v in told] == pytest.approx([v[name] for v in expected], rel=1e-4)
    apart = torch.cat([(weights(one)[n] - weights(two)[n]).flatten() for n in weights(one)])
    whole = torch.cat([w.flatten() for w in weights(one).values()])
    assert apart.norm() / whole.norm() < 1e-5


@pytest.mark.slow
def test_killing_the_launcher_leaves_no_process(tmp_path: Path) -> None:
    """Its processes stand in sessions of their own, out of reach of a kill of its group."""
    spec = make_spec(tmp_path, epochs=1000)
    (tmp_path / "spec.json").write_text(spec.model_dump_json())
    settings = TrainerSettings(accelerate_config=Path("ddp-cpu"), threads=1)
    launched = Child(settings, tmp_path / "spec.json", tmp_path / "log")
    try:
        while (message := launched.messages.get(timeout=120)) is not None and message["type"] != "metrics":
            pass
        assert message is not None, launched.tail()
        workers = psutil.Process(launched.pid).children(recursive=True)
        assert len(workers) >= 2
    finally:
        launched.kill()
    _, left = psutil.wait_procs(workers, timeout=30)
    assert left == []
