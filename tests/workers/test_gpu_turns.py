"""A GPU that generation and training share: turns between real processes, and what each side says while it waits."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from models.events import after
from models.jobs import InjectionJob
from models.states import JobState
from tests.workers.injection_jobs import post_job, shard_ids, sums
from workers.engines.base import EngineError
from workers.engines.pool import EnginePool
from workers.gpu import GpuLock, SharedGpu, gpu_is_shared
from workers.runner import Services, run_shard

MODEL = Path(__file__).resolve().parents[2] / "demo" / "model"
_HOLD = """
import sys
from pathlib import Path
from workers.gpu import GpuLock
turn = GpuLock(Path(sys.argv[1]), "other")
for line in sys.stdin:
    print({"take": lambda: turn.take("a run"), "leave": turn.leave}[line.strip()](), flush=True)
"""


class Other:
    """Another process that takes and leaves turns when told to."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def does(self, what: str) -> str:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Other]:
    found = Other(tmp_path)
    yield found
    found.process.kill()
    found.process.wait()


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_one_gpu_means_turns(tmp_path: Path) -> None:
    assert (gpu_is_shared("on"), gpu_is_shared("off")) == (True, False)
    assert not gpu_is_shared("auto", tmp_path / "none")
    (tmp_path / "0000:01:00.0").mkdir()
    assert gpu_is_shared("auto", tmp_path)
    (tmp_path / "0000:02:00.0").mkdir()
    assert not gpu_is_shared("auto", tmp_path), "with two there is one for each"


def test_one_has_it_and_the_other_knows_who(tmp_path: Path, other: Other) -> None:
    turn = GpuLock(tmp_path, "worker w")
    assert other.does("take") == "True"
    assert not turn.take("shard s")
    assert turn.holder() == "other: a run"
    assert not turn.wanted(), "it is this one that waits"
    assert other.does("leave") == "None"
    assert turn.take("shard s")
    assert turn.holder() == "worker w: shard s"


def test_who_waited_comes_before_who_comes_back(tmp_path: Path, other: Other) -> None:
    turn = GpuLock(tmp_path, "worker w")
    assert turn.take("one")
    assert not turn.wanted()
    assert other.does("take") == "False"
    assert turn.wanted()
    turn.leave()
    assert not turn.take("two"), "the other one is next"
    assert other.does("take") == "True"


def test_a_killed_holder_holds_nothing(tmp_path: Path, other: Other) -> None:
    turn = GpuLock(tmp_path, "worker w")
    assert other.does("take") == "True"
    assert not turn.take("one")
    other.process.kill()
    other.process.wait()
    assert turn.take("one")


@contextmanager
def generation(tmp_path: Path) -> Iterator[tuple[SharedGpu, list[str]]]:
    """Generation's side, with a record of its unloading."""
    unloaded: list[str] = []
    turns = SharedGpu(GpuLock(tmp_path, "worker w"), lambda: unloaded.append("unloaded"))
    try:
        yield turns, unloaded
    finally:
        turns.close()


def test_engines_stay_loaded_while_nobody_waits(tmp_path: Path) -> None:
    with generation(tmp_path) as (turns, unloaded):
        for _ in range(3):
            with turns.lent("a shard"):
                pass
        assert unloaded == []


def test_an_idle_engine_is_unloaded_for_who_waits(tmp_path: Path, other: Other) -> None:
    with generation(tmp_path) as (turns, unloaded):
        with turns.lent("a shard"):
            pass
        assert other.does("take") == "False"
        until(lambda: unloaded == ["unloaded"])
        until(lambda: other.does("take") == "True")
        with pytest.raises(EngineError, match="lent to other: a run") as refused, turns.lent("a shard"):
            pass
        assert refused.value.retryable, "its shard is given back, no failure is counted"
        other.does("leave")
        with turns.lent("a shard"):
            pass


def test_a_batch_in_hand_ends_first_and_no_new_one_begins(tmp_path: Path, other: Other) -> None:
    started, end = threading.Event(), threading.Event()

    def batch(turns: SharedGpu) -> None:
        with turns.lent("a long one"):
            started.set()
            end.wait(120)

    with generation(tmp_path) as (turns, unloaded):
        thread = threading.Thread(target=batch, args=(turns,))
        thread.start()
        assert started.wait(60)
        assert other.does("take") == "False"
        with pytest.raises(EngineError, match="given to training"), turns.lent("a new one"):
            pass
        assert unloaded == [], "nothing is taken from under a batch"
        end.set()
        thread.join()
        assert unloaded == ["unloaded"]
        assert other.does("take") == "True"


def test_a_job_waits_for_the_gpu_and_says_for_whom(tmp_path: Path, other: Other, services: Services) -> None:
    """The whole way: the engine child gives way to training, the job's shards wait, and the job still ends."""
    turn = GpuLock(tmp_path, "worker w")
    services.engines = EnginePool(threads=1, gpu=turn)
    services.settings = services.settings.model_copy(update={"engine_retry_seconds": 0.0})
    assert other.does("take") == "True"
    model = {"engine": "transformers", "config": {"path": str(MODEL), "device": "cpu"}}
    post_job(services, "errata", sums()[:2], model=model)
    [shard] = shard_ids(services)
    while (ended := run_shard(services, shard)) == "advanced":
        pass
    assert ended == "released"
    with services.db.read() as session:
        [waits] = [event for event in after(session, "inj", limit=100) if event.type == "engine_unavailable"]
    assert waits.data["error"] == "waiting for the GPU, which is lent to other: a run"
    other.does("leave")
    while run_shard(services, shard) == "advanced":
        assert turn.held
    with services.db.read() as session:
        assert session.get_one(InjectionJob, "inj").state == JobState.SUCCEEDED
    assert other.does("take") == "False"
    until(lambda: other.does("take") == "True")
    services.engines.close()
