"""Old rows and folders without a row: told first, deleted by rule, and never what is still of use."""

from __future__ import annotations

import logging
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from models import retention
from models.base import Base
from models.files import FileStore
from models.jobs import EditRow, InjectionJob, PairRow, SolutionRow
from models.outputs import Event, Rejudging
from models.retention import RULES, compact, count_old, delete_old
from models.session import Database
from models.settings import StoreSettings
from models.stored import orphans, remove_orphans
from models.workspaces import DEFAULT_WORKSPACE, IdempotencyKey, Workspace
from tests.workers.injection_jobs import Deaf
from workers.settings import WorkerSettings
from workers.sweeper import Sweeper

DAYS = {"idempotency_days": 7.0, "event_days": 30.0, "sample_days": 30.0, "audit_days": 365.0}
TOLD = {"idempotency_keys": 1, "sessions": 1, "audit": 1, "events": 2, "edits": 1, "samples": 2}


def ago(days: float) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


@pytest.fixture
def job(database: Database) -> Database:
    """An old job: its pair's correct sample with the edit, a wrong one, one in no pair, and an edit without a pair."""
    rows = {
        "workspaces": [{"id": DEFAULT_WORKSPACE, "name": "default", "created_at": ago(90)}],
        "problem_sets": [{"id": "pset", "workspace_id": DEFAULT_WORKSPACE, "name": "p", "domain": "math",
                          "content_sha256": "0", "created_at": ago(90)}],
        "problems": [{"id": "prob", "problem_set_id": "pset", "position": 0, "question": "1+1?", "gold_answer": "2"}],
        "injection_jobs": [
            {"id": name, "workspace_id": DEFAULT_WORKSPACE, "problem_set_id": "pset", "state": state, "config": {},
             "finished_at": ended, "created_at": ago(90)}
            for name, state, ended in (
                ("old", "succeeded", ago(40)), ("new", "succeeded", ago(2)), ("on", "running", None)
            )
        ],
        "shards": [{"id": f"s_{name}", "injection_job_id": name, "position": 0, "stage": "pair", "state": "done"}
                   for name in ("old", "new", "on")],
        "solutions": [
            {"id": f"{job}_{name}", "job_id": job, "problem_id": "prob", "shard_id": f"s_{job}", "sample_index": at,
             "text": "t", "source": "m", "verdict": verdict}
            for job in ("old", "new", "on")
            for at, (name, verdict) in enumerate((("right", "correct"), ("spare", "correct"), ("wrong", "incorrect"),
                                                  ("idle", "incorrect"), ("none", None)))
        ],
        "edits": [
            {"id": f"{job}_{name}", "job_id": job, "problem_id": "prob", "shard_id": f"s_{job}",
             "solution_id": f"{job}_right", "step_index": at, "kind": "units", "start": 0, "end": 1, "original": "o"}
            for job in ("old", "new", "on") for at, name in enumerate(("paired", "rejected"))
        ],
        "pairs": [
            {"id": f"{job}_step", "workspace_id": DEFAULT_WORKSPACE, "job_id": job, "problem_id": "prob",
             "shard_id": f"s_{job}", "solution_id": f"{job}_right", "edit_id": f"{job}_paired", "pair_key": "a",
             "rejected_solution_id": f"{job}_wrong", "type": "step", "question": "q", "chosen": "c", "rejected": "r",
             "source": "m"}
            for job in ("old", "new", "on")
        ],
        "events": [
            {"workspace_id": DEFAULT_WORKSPACE, "subject_id": subject, "type": "t", "created_at": at}
            for subject, at in (("old", ago(40)), ("old", ago(1)), ("on", ago(40)), ("deleted", ago(40)))
        ],
        "idempotency_keys": [
            {"workspace_id": DEFAULT_WORKSPACE, "route": "r", "key": key, "request_sha256": "0", "created_at": at}
            for key, at in (("old", ago(8)), ("new", ago(6)))
        ],
        "audit_entries": [
            {"id": f"audit_{days}", "workspace_id": DEFAULT_WORKSPACE, "actor": "operator", "method": "POST",
             "route": "r", "status": 200, "created_at": ago(days)}
            for days in (400, 300)
        ],
        "browser_sessions": [
            {"id": f"session_{days}", "workspace_id": DEFAULT_WORKSPACE, "token_sha256": str(days),
             "state_sha256": str(days), "subject": "s", "name": "n", "scopes": ["read"],
             "expires_at": ago(days), "created_at": ago(90)}
            for days in (8, 6)
        ],
    }  # fmt: skip
    with database.begin() as session:
        for table, values in rows.items():
            session.execute(Base.metadata.tables[table].insert(), values)
    return database


def ids(database: Database, table: Any, of: str) -> set[str]:
    with database.read() as session:
        found = session.scalars(select(table.id).where(table.job_id == of))
        return {str(each).removeprefix(f"{of}_") for each in found}


def test_what_is_told_goes_and_nothing_else(job: Database) -> None:
    told = count_old(job, DAYS)
    assert told == TOLD
    assert ids(job, SolutionRow, "old") == {"right", "spare", "wrong", "idle", "none"}, "only told"
    assert delete_old(job, DAYS) == told
    # Datasets are frozen from pairs and correct samples: those stay.
    assert ids(job, SolutionRow, "old") == {"right", "spare", "wrong"}
    assert ids(job, EditRow, "old") == {"paired"}
    assert ids(job, PairRow, "old") == {"step"}
    for other in ("new", "on"):
        assert len(ids(job, SolutionRow, other)) == 5
        assert len(ids(job, EditRow, other)) == 2
    with job.read() as session:
        assert sorted(session.scalars(select(Event.subject_id))) == ["old", "on"]
        assert session.scalars(select(IdempotencyKey.key)).all() == ["new"]
        assert session.scalars(select(InjectionJob.id).where(InjectionJob.samples_deleted_at.is_not(None))).all() == [
            "old"
        ]
    assert delete_old(job, DAYS) == count_old(job, DAYS) == dict.fromkeys(told, 0)


def test_a_deletion_that_ran_out_of_time_goes_on(job: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_ROWS", 1)
    gone = delete_old(job, DAYS, seconds=-1.0)
    assert set(gone.values()) == {0}
    assert count_old(job, DAYS)["samples"] == 2, "the job is not marked as done"
    assert delete_old(job, DAYS) == TOLD


def test_what_no_setting_names_is_kept(job: Database) -> None:
    unset = dict.fromkeys(("event_days", "sample_days", "audit_days"))
    assert delete_old(job, {**DAYS, **unset}) == {"idempotency_keys": 1, "sessions": 1}
    assert len(ids(job, SolutionRow, "old")) == 5


def test_samples_that_are_being_judged_again_stay(job: Database) -> None:
    row = {"id": "rejudge", "workspace_id": DEFAULT_WORKSPACE, "injection_job_id": "old", "verifier": "v"}
    with job.begin() as session:
        session.add(Rejudging(**row, state="running"))
    assert delete_old(job, DAYS)["samples"] == 0


def test_every_rule_has_a_setting() -> None:
    assert {rule.setting for rule in RULES} == set(WorkerSettings().retention)
    assert WorkerSettings(event_days=3).retention["event_days"] == 3.0


def test_the_sweeper_deletes_what_is_old_and_looks_again_after_an_hour(
    job: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="workers.sweeper")
    sweeper = Sweeper(job, Deaf(), WorkerSettings(event_days=30, sample_days=30))
    for _ in range(2):  # the second finds nothing more
        sweeper.delete_old()
    assert [record.getMessage() for record in caplog.records] == ["old rows were deleted"]
    with job.begin() as session:
        session.execute(update(Event).values(created_at=ago(40)))
    sweeper.delete_old()
    with job.read() as session:
        assert session.scalar(select(func.count()).select_from(Event)) == 2, "not within the hour"
    monkeypatch.setattr("workers.sweeper.time.monotonic", lambda: time.perf_counter() + 10**9)
    sweeper.delete_old()
    with job.read() as session:
        assert session.scalars(select(Event.subject_id)).all() == ["on"]


def test_a_sweeper_that_cannot_delete_sweeps_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    database = Database(f"sqlite:///{tmp_path / 'none.db'}")  # without tables
    Sweeper(database, Deaf(), WorkerSettings()).delete_old()
    assert "what is too old cannot be deleted" in caplog.text
    database.dispose()


def test_space_comes_back(sqlite_database: Database, tmp_path: Path) -> None:
    big = [{"workspace_id": "w", "route": "r", "key": str(n), "request_sha256": "0" * 4000, "created_at": ago(30)}
           for n in range(500)]  # fmt: skip
    with sqlite_database.begin() as session:
        session.add(Workspace(id="w", name="w"))
        session.flush()
        session.execute(Base.metadata.tables["idempotency_keys"].insert(), big)
    sqlite_database.dispose()
    file = tmp_path / "errata.db"
    before = file.stat().st_size
    assert delete_old(sqlite_database, DAYS)["idempotency_keys"] == 500
    compact(sqlite_database)
    sqlite_database.dispose()
    assert file.stat().st_size < before - 1_500_000


def test_compacting_runs_on_both_databases(job: Database) -> None:
    compact(job)
    assert len(ids(job, SolutionRow, "old")) == 5


@pytest.mark.parametrize("remote", [False, True], ids=["local", "remote"])
def test_folders_without_a_row_go_once_they_are_old(job: Database, tmp_path: Path, remote: bool) -> None:
    url = f"memory://{tmp_path.name}" if remote else None
    store = StoreSettings(ERRATA_HOME=tmp_path, ERRATA_FILES_URL=url)
    files = FileStore(store.files)
    with job.begin() as session:
        table = Base.metadata.tables["datasets"]
        session.execute(
            table.insert(), [{"id": "ds_known", "workspace_id": DEFAULT_WORKSPACE, "name": "d", "config": {}}]
        )
    for folder in ("datasets/ds_known-0123", "datasets/ds_gone-0123", "models/train_gone", "elsewhere/ds_gone"):
        with files.scratch() as built:
            (built / "manifest.json").write_text("{}")
            files.publish(built, folder)
    assert orphans(job, store) == [], "just written: its row may be about to come"
    if not remote:
        for path in [*(tmp_path / "files").rglob("*")]:
            os.utime(path, (time.time() - 90_000,) * 2)
    age = 0.0 if remote else 86_400.0
    assert orphans(job, store, age) == ["datasets/ds_gone-0123", "models/train_gone"]
    assert remove_orphans(job, store, age) == ["datasets/ds_gone-0123", "models/train_gone"]
    assert files.children("datasets") == ["ds_known-0123"]
    assert files.children("elsewhere") == ["ds_gone"]
    assert files.children("models") == []
