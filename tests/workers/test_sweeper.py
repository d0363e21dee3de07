"""What the sweeper forgets."""

from __future__ import annotations

from sqlalchemy import select

from models.accounts import DEFAULT_WORKSPACE, IdempotencyKey, Workspace
from models.base import db_now
from models.session import Database
from tests.workers.injection_jobs import Deaf
from workers.settings import WorkerSettings
from workers.sweeper import Sweeper


def test_keys_of_repeated_requests_are_kept_a_week(database: Database) -> None:
    with database.begin() as session:
        session.add(Workspace(id=DEFAULT_WORKSPACE, name="default"))
        session.flush()
        for key, days in (("new", 0), ("old", 6.9), ("older", 7.1)):
            ids = {"workspace_id": DEFAULT_WORKSPACE, "route": "/v1/datasets", "key": key, "request_sha256": ""}
            session.add(IdempotencyKey(**ids, created_at=db_now(-86400 * days)))
    Sweeper(database, Deaf(), WorkerSettings()).sweep()
    with database.read() as session:
        assert set(session.scalars(select(IdempotencyKey.key))) == {"new", "old"}
