"""What a polling client costs: statements per request, and threads that wait for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio.to_thread
import pytest
from sqlalchemy import event, func, select
from sqlalchemy.orm import load_only

from api.pairs import PairOut
from errata.funnel import Funnel
from models.base import db_now
from models.jobs import InjectionJob, PairRow, Shard
from models.session import Database
from models.states import JobState, ShardState
from models.summaries import settle_summary
from models.workspaces import Workspace
from tests.api.conftest import CheckedClient
from tests.api.outputs import job_with_pairs, set_state


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """The statements sent meanwhile."""
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        if not statement.startswith("BEGIN"):  # which SQLite's driver is told, and PostgreSQL's says itself
            sent.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(database.engine, "before_cursor_execute", note)


@pytest.fixture
def ended(client: CheckedClient, database: Database) -> str:
    """A job that has ended, as its end leaves it."""
    job_id = job_with_pairs(client, database)
    with database.begin() as session:
        settle_summary(session, job_id)
        session.get_one(InjectionJob, job_id).funnel = Funnel().add("pairs", "total").to_dict()
    set_state(database, InjectionJob, job_id, JobState.SUCCEEDED, started_at=db_now(-9), finished_at=db_now(-1))
    return job_id


def test_a_request_asks_little(client: CheckedClient, database: Database, ended: str) -> None:
    for url, most in (
        (f"/v1/injection-jobs/{ended}", 5),  # who asks, the row, its shards in groups, its tags, its extensions
        ("/v1/injection-jobs?state=succeeded&limit=10", 4),
        ("/v1/pairs?error_kind=arithmetic&limit=10", 3),  # who asks, the pairs, their problems
    ):
        with statements(database) as sent:
            assert client.get(url).status_code == 200
        assert len(sent) <= most, (url, sent)


def test_a_request_takes_two_threads_one_after_the_other(
    client: CheckedClient, ended: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[object] = []
    run_sync = anyio.to_thread.run_sync

    async def noting(function: object, *arguments: object, **options: object) -> object:
        taken.append(function)
        return await run_sync(function, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(anyio.to_thread, "run_sync", noting)
    for url in (f"/v1/injection-jobs/{ended}", "/v1/injection-jobs?limit=10", "/v1/pairs?limit=10"):
        taken.clear()
        assert client.get(url).status_code == 200
        assert len(taken) == 2, (url, taken)  # who asks, and the answer


def test_quarantined_shards_are_still_listed(client: CheckedClient, database: Database) -> None:
    job_id = job_with_pairs(client, database)
    with database.begin() as session:
        for shard in session.scalars(select(Shard).where(Shard.injection_job_id == job_id)):
            shard.state, shard.error = ShardState.QUARANTINED, "it broke"
    [listed] = client.get(f"/v1/injection-jobs/{job_id}").json()["quarantined"]
    assert listed["error"] == "it broke"


def test_an_answer_reads_what_is_not_loaded(client: CheckedClient, database: Database) -> None:
    """From a dictionary only where that is whole: a column left out for later is read, not taken for missing."""
    job_with_pairs(client, database)
    with database.read() as session:
        pair = session.scalars(select(PairRow).options(load_only(PairRow.id)).limit(1)).one()
        more = {"external_id": None, "gold_answer": "4"}
        partly = PairOut.of(pair, **more)
        assert partly == PairOut.of(session.get_one(PairRow, pair.id, populate_existing=True), **more)


def test_looking_sees_what_is_committed_and_leaves_the_connection_as_it_was(database: Database) -> None:
    count = select(func.count()).select_from(Workspace)
    with database.look() as session:
        assert session.scalar(count) == 0
        if database.is_postgres:  # on SQLite this is one transaction
            with database.begin() as other:
                other.add(Workspace(id="ws_1", name="one"))
            assert session.scalar(count) == 1
    with database.begin() as session:
        session.add(Workspace(id="ws_2", name="two"))
        session.flush()
        session.rollback()
    with database.read() as session:
        assert session.scalar(select(func.count()).where(Workspace.id == "ws_2")) == 0
