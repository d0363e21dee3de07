"""The daemon and what may happen to it and its process: kills, hangs, pause, cancel, lost leases."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest
from safetensors.torch import load_file
from sqlalchemy import select, update

from models import run_leases
from models.base import db_now
from models.outputs import Checkpoint, Event, TrainingRun
from models.session import Database
from models.settings import StoreSettings
from models.workspaces import LanguageModel
from tests.training.conftest import events, metrics, read_run, wait_for
from workers.training.supervise.daemon import TrainerDaemon
from workers.training.supervise.registry import run_folder
from workers.training.supervise.settings import TrainerSettings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # slow ones, the same on both
BOTH = pytest.mark.parametrize(
    "database_url",
    ["sqlite", pytest.param("postgres", marks=[pytest.mark.services, pytest.mark.long])],
    indirect=True,
)


@contextmanager
def running(daemon: TrainerDaemon) -> Iterator[threading.Event]:
    """The daemon in a thread, stopped and joined at the end."""
    stop = threading.Event()
    thread = threading.Thread(target=daemon.run, args=(stop,))
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive()


def pids(database: Database, run_id: str) -> list[int]:
    """Process ids of the run's processes so far."""
    with database.read() as session:
        query = select(Event.data).where(Event.subject_id == run_id, Event.type == "training.started")
        return [data["pid"] for data in session.scalars(query.order_by(Event.id))]


def alive(pid: int) -> bool:
    """Whether it may still do something: a zombie, whose parent is gone and not yet replaced, does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def checkpoints(database: Database, run_id: str) -> list[int]:
    with database.read() as session:
        query = select(Checkpoint.step).where(Checkpoint.run_id == run_id, Checkpoint.state == "ready")
        return sorted(session.scalars(query))


def state(database: Database, run_id: str) -> str:
    return read_run(database, run_id).state


@BOTH
def test_killed_process_is_restarted_from_its_checkpoint(
    database: Database, store: StoreSettings, settings: TrainerSettings, make_run: Callable[..., str]
) -> None:
    run_id = make_run(epochs=60, checkpoint_every=10)
    with running(TrainerDaemon(database, store, settings)):
        wait_for(lambda: checkpoints(database, run_id))
        os.killpg(pids(database, run_id)[0], signal.SIGKILL)
        wait_for(lambda: state(database, run_id) in ("succeeded", "failed"))
    run = read_run(database, run_id)
    assert (run.state, run.step) == ("succeeded", 240)
    assert sorted(metrics(database, run_id)) == list(range(1, 241))
    with database.read() as session:
        query = select(Event.type, Event.data).where(Event.subject_id == run_id).order_by(Event.id)
        told = dict(session.execute(query).all())
    assert "SIGKILL" in told["training.interrupted"]["error"]
    assert told["training.resumed"]["step"] >= 10


@SQLITE
def test_three_deaths_without_a_checkpoint_fail_with_the_tail(
    database: Database, store: StoreSettings, settings: TrainerSettings, make_run: Callable[..., str]
) -> None:
    run_id = make_run(epochs=1000, checkpoint_every=100000)
    with running(TrainerDaemon(database, store, settings)):
        for attempt in range(3):
            wait_for(lambda attempt=attempt: len(pids(database, run_id)) > attempt)
            os.killpg(pids(database, run_id)[-1], signal.SIGKILL)
        wait_for(lambda: state(database, run_id) == "failed")
    run = read_run(database, run_id)
    assert run.failures == 3
    assert "ended with status -9 (SIGKILL: killed, or out of memory) at step" in str(run.error)


@SQLITE
def test_a_hang_is_seen_and_ended(
    database: Database, store: StoreSettings, settings: TrainerSettings, make_run: Callable[..., str]
) -> None:
    run_id = make_run(epochs=100, checkpoint_every=10)
    quick = settings.model_copy(update={"stall_seconds": 15.0})  # of encoding and of saving, too
    with running(TrainerDaemon(database, store, quick)):
        wait_for(lambda: checkpoints(database, run_id))
        first = pids(database, run_id)[0]
        os.killpg(first, signal.SIGSTOP)  # alive, but it does not advance
        wait_for(lambda: "training.interrupted" in events(database, run_id))
        assert "no progress for 15 s while training" in str(read_run(database, run_id).error)
        assert not alive(first)
        wait_for(lambda: state(database, run_id) == "succeeded")


@SQLITE
def test_pause_waits_behind_a_checkpoint_and_resumes(
    database: Database, store: StoreSettings, settings: TrainerSettings, make_run: Callable[..., str]
) -> None:
    run_id = make_run(epochs=200, checkpoint_every=100000)
    with running(TrainerDaemon(database, store, settings)):
        wait_for(lambda: len(metrics(database, run_id)) > 3)
        with database.begin() as session:
            assert run_leases.request_pause(session, run_id)
        wait_for(lambda: read_run(database, run_id).worker is None)
        assert state(database, run_id) == "paused"
        paused_at = checkpoints(database, run_id)
        assert paused_at == [read_run(database, run_id).step]
        with database.begin() as session:
            assert run_leases.request_resume(session, run_id)
        wait_for(lambda: "training.resumed" in events(database, run_id))
        wait_for(lambda: read_run(database, run_id).step > paused_at[0])
        with database.begin() as session:
            assert run_leases.request_cancel(session, run_id)
        wait_for(lambda: state(database, run_id) == "cancelled")


@SQLITE
@pytest.mark.parametrize("keep", [True, False])
def test_cancel_keeps_or_discards(
    keep: bool, database: Database, store: StoreSettings, settings: TrainerSettings, make_run: Callable[..., str]
) -> None:
    run_id = make_run(epochs=1000, checkpoint_every=10)
    with running(TrainerDaemon(database, store, settings)):
        wait_for(lambda: checkpoints(database, run_id))
        with database.begin() as session:
            assert run_leases.request_cancel(session, run_id, keep=keep)
        wait_for(lambda: state(database, run_id) == "cancelled")
    folder = run_folder(store, run_id) / "checkpoints"
    assert bool(checkpoints(database, run_id)) is keep
    assert folder.exists() is keep
    assert not alive(pids(database, run_id)[0])
    with database.begin() as session:
        assert not run_leases.request_cancel(session, run_id)  # a terminal state never changes


@SQLITE
def test_cancelled_before_anybody_took_it(
    database: Database, store: StoreSettings, settings: TrainerSettings, make_run: Callable[..., str]
) -> None:
    run_id = make_run()
    with database.begin() as session:
        assert run_leases.request_cancel(session, run_id)
    assert not TrainerDaemon(database, store, settings).run_once(threading.Event())
    assert state(database, run_id) == "cancelled"


@SQLITE
def test_a_stopping_daemon_releases_behind_a_checkpoint(
    database: Database, store: StoreSettings, settings: TrainerSettings, make_run: Callable[..., str]
) -> None:
    run_id = make_run(epochs=1000, checkpoint_every=100000)
    with running(TrainerDaemon(database, store, settings)):
        wait_for(lambda: len(metrics(database, run_id)) > 3)
    run = read_run(database, run_id)
    assert (run.state, run.worker, run.failures) == ("queued", None, 0)
    assert checkpoints(database, run_id) == [run.step]


@SQLITE
def test_a_lost_lease_ends_the_process_and_writes_nothing(
    database: Database, store: StoreSettings, settings: TrainerSettings, make_run: Callable[..., str]
) -> None:
    run_id = make_run(epochs=1000, checkpoint_every=100000)
    daemon = TrainerDaemon(database, store, settings)
    finished = threading.Event()
    thread = threading.Thread(target=lambda: (daemon.run_once(threading.Event()), finished.set()))
    thread.start()
    wait_for(lambda: metrics(database, run_id))
    with database.begin() as session:  # as another daemon does once the lease has run out
        session.execute(
            update(TrainingRun).where(TrainingRun.id == run_id).values(fence=TrainingRun.fence + 1, worker="other")
        )
    assert finished.wait(120)
    thread.join()
    assert not alive(pids(database, run_id)[0])
    run = read_run(database, run_id)
    assert (run.state, run.worker) == ("running", "other")


DAEMON = """
import os, threading
from models.session import Database
from models.settings import StoreSettings
from workers.training.supervise.daemon import TrainerDaemon
TrainerDaemon(Database(os.environ["DATABASE_URL"]), StoreSettings()).run(threading.Event())
"""


def start_daemon(database: Database, store: StoreSettings) -> subprocess.Popen[bytes]:
    environment: dict[str, Any] = {
        **os.environ,
        "DATABASE_URL": database.url,
        "ERRATA_HOME": str(store.home),
        "OMP_NUM_THREADS": "1",
        "ERRATA_TRAINER_POLL_SECONDS": "0.1",
        "ERRATA_TRAINER_HEARTBEAT_SECONDS": "1",
    }
    return subprocess.Popen([sys.executable, "-c", DAEMON], env=environment)


@BOTH
def test_a_killed_daemon_is_followed_by_the_next(
    database: Database, store: StoreSettings, make_run: Callable[..., str]
) -> None:
    run_id, whole_id = make_run("broken", epochs=20, checkpoint_every=10), make_run("whole", epochs=20)
    first = start_daemon(database, store)
    wait_for(lambda: checkpoints(database, run_id))
    child = pids(database, run_id)[0]
    first.kill()
    first.wait()
    wait_for(lambda: not alive(child), seconds=20)  # the orphan ends itself
    assert state(database, run_id) == "running"
    second = start_daemon(database, store)
    try:
        wait_for(lambda: state(database, whole_id) == "succeeded", seconds=200)
    finally:
        second.kill()
        second.wait()
    run = read_run(database, run_id)
    assert (run.state, run.interruptions, run.failures) == ("succeeded", 0, 0)  # cleared by the next checkpoint
    assert "training.interrupted" in events(database, run_id)
    assert metrics(database, run_id) == metrics(database, whole_id)
    with database.read() as session:
        paths = dict(session.execute(select(LanguageModel.name, LanguageModel.config)).all())
    broken, whole = (load_file(f"{paths[name]['path']}/model.safetensors") for name in ("broken", "whole"))
    assert all((broken[name] == whole[name]).all() for name in whole)


def test_claims_are_exclusive_and_expired_leases_come_back(database: Database, make_run: Callable[..., str]) -> None:
    wanted = {make_run() for _ in range(3)}
    taken: list[str] = []

    def take(worker: str) -> None:
        while True:
            with database.begin() as session:
                lease = run_leases.claim(session, worker, 60)
            if lease is None:
                return
            taken.append(lease.run_id)

    threads = [threading.Thread(target=take, args=(f"w{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(wanted)
    victim = taken[0]
    with database.begin() as session:
        session.execute(update(TrainingRun).where(TrainingRun.id == victim).values(lease_expires_at=db_now(-1)))
    with database.begin() as session:
        assert [row[0] for row in run_leases.expire(session)] == [victim]
        assert run_leases.expire(session) == []
    with database.begin() as session:
        again = run_leases.claim(session, "w9", 60)
    assert again is not None
    assert (again.run_id, again.fence) == (victim, 3)
    with database.begin() as session:
        assert run_leases.heartbeat(session, run_leases.RunLease(victim, again.workspace_id, 1, "w0"), 60) is None
