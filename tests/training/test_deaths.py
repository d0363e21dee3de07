"""A run's process killed, orphaned or left in silence: it goes on from its last checkpoint, or ends itself."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from tests.training.forked import ForkedRun, preloaded
from tests.training.test_run import assert_equal_bits, make_spec, messages, run, weights
from workers.training.protocol import RunSpec


def child(spec: RunSpec, folder: Path, errors: int | TextIO = subprocess.DEVNULL) -> subprocess.Popen[str]:
    path = folder / "spec.json"
    path.write_text(spec.model_dump_json())
    return subprocess.Popen(
        [sys.executable, "-m", "workers.training.run", "--spec", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture
def forked() -> Iterator[type[ForkedRun]]:
    with preloaded() as run_process:
        yield run_process


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_killed_at_twenty_random_steps(tmp_path: Path, forked: type[ForkedRun]) -> None:
    """First step after each kill is the checkpoint's + 1; losses and weights are bit-equal to an unbroken run.

    What a killed process had still said is heard too: it may be ahead of us by some steps, and their checkpoints.
    """
    options = {"epochs": 60, "checkpoint_every": 1, "batch_size": 8}
    whole, broken = make_spec(tmp_path, "whole", **options), make_spec(tmp_path, "broken", **options)
    broken = broken.model_copy(update={"lease_seconds": 3600.0})  # nobody beats
    expected = {m["step"]: m["values"] for m in run(whole).of("metrics")}
    rng = random.Random(7)
    kills, seen, done = 0, {}, False
    while not done:
        process = forked(broken, tmp_path)
        resumed_at: int | None = None
        first: int | None = None
        steps_left = rng.randrange(1, 6) if kills < 20 else len(expected)
        for message in messages(process):
            if message["type"] == "resumed":
                resumed_at = message["step"]
            elif message["type"] == "metrics":
                first = first or message["step"]
                assert message["values"] == expected[message["step"]]
                seen[message["step"]] = message["values"]
                steps_left -= 1
                if steps_left == 0:
                    os.killpg(process.pid, signal.SIGKILL)
                    kills += 1
            done = done or message["type"] == "finished"
        process.communicate()
        assert process.returncode in (0, -signal.SIGKILL)
        if first is not None:
            assert first == (resumed_at or 0) + 1
    assert kills == 20
    assert seen == expected
    assert_equal_bits(weights(whole), weights(broken))


@pytest.mark.slow
def test_an_orphan_ends_itself(tmp_path: Path) -> None:
    process = child(make_spec(tmp_path, epochs=1000), tmp_path)
    for message in messages(process):
        if message["type"] == "metrics":
            break
    assert process.stdin is not None
    process.stdin.close()  # what its daemon's death does
    process.stdin = None
    assert process.wait(timeout=120) == 3
    process.communicate()


@pytest.mark.slow
def test_silence_of_the_daemon_ends_it_too(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, epochs=1000).model_copy(update={"lease_seconds": 1.0})
    with (tmp_path / "errors").open("w") as errors:
        process = child(spec, tmp_path, errors)
        assert process.wait(timeout=60) == 3
    process.communicate()
    assert "the daemon has been silent for 1 s: this process ends itself" in (tmp_path / "errors").read_text()


def assert_traceback(log: str) -> None:
    """Which thread was where, and not only that it died."""
    assert "Fatal Python error: Segmentation fault" in log
    assert "(most recent call first):\n  File " in log


@pytest.mark.slow
def test_a_segmentation_fault_leaves_its_traceback(tmp_path: Path) -> None:
    """Started by hand, without the supervisor's environment."""
    with (tmp_path / "errors").open("w") as errors:
        process = child(make_spec(tmp_path, epochs=1000), tmp_path, errors)
        for message in messages(process):
            if message["type"] == "metrics":
                os.kill(process.pid, signal.SIGSEGV)
        assert process.wait(timeout=60) == -signal.SIGSEGV
    process.communicate()
    assert_traceback((tmp_path / "errors").read_text())
