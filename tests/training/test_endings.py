"""Every run ends: whatever its process says or leaves behind, whatever the trainer meets, however often both die."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from models import run_leases
from models.base import db_now
from models.outputs import TrainingRun
from models.run_leases import MAX_INTERRUPTIONS, RunLease
from models.session import Database
from models.settings import StoreSettings
from tests.processes import until
from tests.training.conftest import events, read_run
from tests.workers.test_cancel_race import waiting
from workers.training.protocol import parse, storable
from workers.training.supervise import attempt, relay
from workers.training.supervise.daemon import TrainerDaemon
from workers.training.supervise.settings import TrainerSettings

READY = {"type": "ready", "total_steps": 10, "report": {}, "packing": "tree", "note": None}


class FakeChild:
    """Says ``said``, then ends; or waits to be asked to when it is ``patient``."""

    pid = 1

    def __init__(self, *said: dict[str, Any], tail: str = "", patient: bool = False) -> None:
        self.messages: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.stopped, self._tail = False, tail
        for message in said:
            self.messages.put(message)
        if not patient:
            self.messages.put(None)

    def stop(self) -> None:
        self.stopped = True
        self.messages.put(None)

    def heartbeat(self) -> None:
        """Nobody listens."""

    kill = heartbeat

    def wait(self) -> int:
        return 0 if self.stopped else 1

    def log_tail(self) -> str:
        return self._tail


def claim(database: Database) -> RunLease:
    with database.begin() as session:
        lease = run_leases.claim(session, "worker", 60)
    assert lease is not None
    return lease


def test_a_launch_file_that_is_gone_fails_the_run(
    database: Database, store: StoreSettings, make_run: Callable[..., str], tmp_path: Path
) -> None:
    run_id, own = make_run(), tmp_path / "own.yaml"
    own.write_text("distributed_type: MULTI_CPU\nnum_processes: 2\n")
    daemon = TrainerDaemon(database, store, TrainerSettings(accelerate_config=own, backoff_seconds=0.0))
    own.unlink()
    for failures in (1, 2, 3):
        assert daemon.run_once(threading.Event())
        run = read_run(database, run_id)
        assert (run.failures, run.worker) == (failures, None)
    assert run.state == "failed"
    assert "own.yaml cannot be read" in str(run.error)


@pytest.mark.parametrize(
    "said", [{"type": "ready"}, {"type": "metrics", "step": 2**70, "values": {}}], ids=["lacks a field", "too large"]
)
def test_a_message_that_cannot_be_written_is_a_failure(
    said: dict[str, Any],
    database: Database,
    store: StoreSettings,
    settings: TrainerSettings,
    make_run: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_id = make_run()
    monkeypatch.setattr(attempt, "Child", lambda *_: FakeChild(said, patient=True))
    assert TrainerDaemon(database, store, settings).run_once(threading.Event())
    run = read_run(database, run_id)
    assert (run.state, run.failures, run.worker) == ("queued", 1, None)
    assert "Error" in str(run.error)


@pytest.mark.parametrize("tail", ["torn \x00 by a kill", "half a pair \udcff"])
def test_a_log_that_no_database_takes_is_told_without_it(
    tail: str,
    database: Database,
    store: StoreSettings,
    settings: TrainerSettings,
    make_run: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_id = make_run()
    monkeypatch.setattr(attempt, "Child", lambda *_: FakeChild(tail=tail))
    assert TrainerDaemon(database, store, settings).run_once(threading.Event())
    run = read_run(database, run_id)
    assert (run.state, run.failures) == ("queued", 1)
    assert storable(tail) in str(run.error)


def test_messages_hold_only_what_a_database_takes() -> None:
    said = parse('{"type": "error", "message": "a\\u0000b", "more": [{"\\udcff": "\\ud800"}]}')
    assert said == {"type": "error", "message": "a\ufffdb", "more": [{"\ufffd": "\ufffd"}]}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_process_that_saves_is_asked_to_stop_and_not_killed(
    database: Database,
    store: StoreSettings,
    settings: TrainerSettings,
    make_run: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_id = make_run()
    child = FakeChild(READY, {"type": "progress", "phase": "saving", "done": 0, "total": 3}, patient=True)

    def started(*_: Any) -> FakeChild:
        with database.begin() as session:
            assert run_leases.request_cancel(session, run_id)
        return child

    monkeypatch.setattr(attempt, "Child", started)
    assert TrainerDaemon(database, store, settings).run_once(threading.Event())
    assert child.stopped
    assert read_run(database, run_id).state == "cancelled"


@pytest.mark.parametrize("database_url", [pytest.param("postgres", marks=pytest.mark.services)], indirect=True)
@pytest.mark.parametrize(("ask", "state"), [("cancel", "cancelling"), ("pause", "paused")])
def test_a_request_accepted_as_the_run_fails_is_not_lost(
    ask: str, state: str, database: Database, make_run: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, accepted = make_run(), []
    lease, really = claim(database), run_leases._update

    def request() -> None:
        with database.begin() as session:
            accepted.append(getattr(run_leases, f"request_{ask}")(session, run_id))

    asking = threading.Thread(target=request)

    def late(*args: Any, **values: Any) -> str | None:
        asking.start()  # between what was read and what is written
        until(lambda: accepted or waiting(database), "the request to be done or to wait")
        return really(*args, **values)

    monkeypatch.setattr(run_leases, "_update", late)
    with database.begin() as session:
        run_leases.fail(session, lease, "boom", fatal=False)
    asking.join(30)
    assert accepted == [True]
    assert read_run(database, run_id).state == state


def interrupt(database: Database, store: StoreSettings, run_id: str) -> str:
    """A trainer takes the run and is gone; another finds out. The run's state then."""
    claim(database)
    with database.begin() as session:
        session.execute(update(TrainingRun).where(TrainingRun.id == run_id).values(lease_expires_at=db_now(-1)))
    TrainerDaemon(database, store)._sweep()
    return read_run(database, run_id).state


def save(database: Database, step: int) -> None:
    """A trainer takes the run, hears of a checkpoint and gives it back."""
    lease = claim(database)
    message = {"type": "checkpoint", "step": step, "path": "/x", "size_bytes": 1, "manifest": {}, "deleted": []}
    with database.begin() as session:
        relay.write(session, lease, 60, step, [], [message])
        assert run_leases.release(session, lease)


def test_a_run_that_ends_its_trainer_each_time_fails(
    database: Database, store: StoreSettings, make_run: Callable[..., str]
) -> None:
    run_id = make_run()
    states = [interrupt(database, store, run_id) for _ in range(MAX_INTERRUPTIONS)]
    assert states == ["queued"] * (MAX_INTERRUPTIONS - 1) + ["failed"]
    run = read_run(database, run_id)
    assert (run.interruptions, run.worker) == (MAX_INTERRUPTIONS, None)
    assert run.finished_at is not None
    assert "10 times without a new checkpoint" in str(run.error)
    assert events(database, run_id)[-2:] == ["training.interrupted", "training.failed"]


def test_only_a_newer_checkpoint_clears_what_a_run_suffered(
    database: Database, store: StoreSettings, make_run: Callable[..., str]
) -> None:
    run_id = make_run()
    for step, left in ((5, 0), (5, 2), (4, 4), (6, 0)):
        save(database, step)
        assert read_run(database, run_id).interruptions == left
        assert [interrupt(database, store, run_id) for _ in range(2)] == ["queued"] * 2
