"""A freeze that is cancelled, runs out of disk, or tells how far it is."""

from __future__ import annotations

import errno
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from errata.seeds import split_of
from models.files import FileStore
from models.session import Database
from models.settings import StoreSettings
from tests.workers.freezing.conftest import PROBLEMS, Freeze, NoEngine, claim, end
from workers.engines.base import Cancelled
from workers.judge import JudgePool
from workers.stages.base import StageContext
from workers.stages.disk import DiskFull, naming_a_full_disk
from workers.stages.freeze import freeze
from workers.stages.gates import DatasetGates
from workers.stages.waiting import stoppable


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """The operating system refuses files above this size to this process, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_told_and_tried_again(
    database: Database, store: StoreSettings, judge: JudgePool, frozen: Freeze, job: str
) -> None:
    """The stage raises, so the runner tries it again; nothing half-written stays, and the next try succeeds."""
    lease = claim(database, "sums", {"jobs": [job]})
    context = StageContext(database, store, lease, NoEngine(), judge, lambda: False)
    with largest_file(2_000), pytest.raises(DiskFull, match=r"the disk of .* make space there; this is tried again"):
        freeze(context)
    assert FileStore(store.files).names("datasets") == []
    assert FileStore(store.files).names(".tmp") == []
    end(database, lease, freeze(context))
    assert FileStore(store.files).names("datasets")


def test_only_want_of_space_is_named_so() -> None:
    for code in (errno.ENOSPC, errno.EDQUOT):
        with pytest.raises(DiskFull, match="the disk of /data"), naming_a_full_disk("/data"):
            raise OSError(code, "no")
    with pytest.raises(PermissionError), naming_a_full_disk("/data"):
        raise PermissionError(errno.EACCES, "no")


def test_every_moment_can_be_cancelled(
    database: Database, store: StoreSettings, judge: JudgePool, frozen: Freeze, job: str
) -> None:
    """However often the stage had looked before it was told to stop: it stops, and leaves no file."""
    looks = 0

    def count() -> bool:
        nonlocal looks
        looks += 1
        return False

    config = {"jobs": [job], "max_pairs": 100}
    lease = claim(database, "sums", config)
    freeze(StageContext(database, store, lease, NoEngine(), judge, count))
    before = FileStore(store.files).names("datasets")
    assert looks >= 4
    for most in range(4):
        stop = partial(next, iter([False] * most), True)
        with pytest.raises(Cancelled):
            freeze(StageContext(database, store, lease, NoEngine(), judge, stop))
        assert FileStore(store.files).names("datasets") == before
        assert FileStore(store.files).names(".tmp") == []
    assert not [thread for thread in threading.enumerate() if thread.name == "read-ahead"]


def test_work_that_looks_at_nothing_is_left_alone() -> None:
    release, told = threading.Event(), threading.Event()
    threading.Thread(target=lambda: (time.sleep(0), told.set()), daemon=True).start()
    with pytest.raises(Cancelled):
        stoppable(release.wait, told.is_set)
    release.set()
    assert stoppable(lambda: 3, lambda: False) == 3
    with pytest.raises(KeyError):
        stoppable(lambda: {}["missing"], lambda: False)


def test_progress_counts_the_pairs(
    database: Database, store: StoreSettings, judge: JudgePool, frozen: Freeze, job: str
) -> None:
    told = []
    lease = claim(database, "sums", {"jobs": [job]})

    def look() -> bool:
        told.append(context.meter.snapshot())
        return False

    context = StageContext(database, store, lease, NoEngine(), judge, look)
    freeze(context)
    shares = [snapshot["share"] for snapshot in told if snapshot]
    assert shares == sorted(shares)
    assert told[-1] is not None
    assert (told[-1]["made"], told[-1]["total"], told[-1]["share"]) == (3 * PROBLEMS, 3 * PROBLEMS, 1.0)
    assert told[-1]["doing"] == "auditing and hashing"


def test_questions_that_a_leader_decides_fall_on_its_side(
    frozen: Freeze, store: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What says which question decides (near-duplicates) is asked for every row of every shape."""
    leader = next(f"leader {at}" for at in range(99) if split_of(f"leader {at}", 0.5, 0) == "train")
    monkeypatch.setattr(DatasetGates, "side_of", lambda _gates, _question: leader)
    dataset = frozen(split={"test": 0.5}, shapes=["sft", "trl"])
    assert {shape: set(rows) for shape, rows in (dataset.manifest or {})["rows"].items()} == {
        "steps_and_full": {"train"},
        "sft": {"train"},
        "trl": {"train"},
    }
    assert Path(store.files).exists()
