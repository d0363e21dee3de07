"""The summary of a job: exact whoever counts at the same time, taken back with its transaction, and not needed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from errata.funnel import Funnel
from models.jobs import InjectionJob, JobSummary, Shard
from models.leases import Lease, claim
from models.results import job_funnel, running_progress
from models.session import Database
from models.summaries import settled_groups
from tests.workers.road import make_job
from workers.lifecycle import cancel, complete_owner
from workers.stages.ledger import add_counts, write_ledger


@pytest.fixture
def leases(database: Database) -> list[Lease]:
    """A job's shards, all of them running."""
    make_job(database, shard_size=2)
    with database.begin() as session:
        ids = session.scalars(select(Shard.id).order_by(Shard.position)).all()
        found = [claim(session, shard_id, "test", 60) for shard_id in ids]
    return [lease for lease in found if lease is not None]


def part(number: int) -> Funnel:
    counts = Funnel().add("samples", "total", count=number).add("samples", "verdicts", "correct", count=number)
    return counts.add_tokens("sample", number, 2 * number)


def count(session: Session, lease: Lease, number: int) -> None:
    """As a stage's end does, here in two parts."""
    add_counts(session, lease, part(number))
    add_counts(session, lease, Funnel())
    write_ledger(session, lease)


def told(database: Database) -> tuple[Funnel, Funnel]:
    """What a status says, and what the ledgers add up to."""
    with database.read() as session:
        job = session.get_one(InjectionJob, "inj")
        return running_progress(session, job)[0], job_funnel(session, job)


def test_stages_that_end_at_once_are_all_counted(database: Database, leases: list[Lease]) -> None:
    def end(lease: Lease) -> None:
        for number in range(1, 6):
            with database.begin() as session:
                count(session, lease, number)

    with ThreadPoolExecutor(len(leases)) as pool:
        list(pool.map(end, leases))
    status, ledgers = told(database)
    assert status.counts == ledgers.counts
    assert status.counts["samples"]["total"] == 15 * len(leases)


def test_what_is_rolled_back_is_not_counted(database: Database, leases: list[Lease]) -> None:
    def end() -> None:
        with database.begin() as session:
            count(session, leases[0], 3)
            raise RuntimeError("the database went away before the commit")

    with pytest.raises(RuntimeError):
        end()
    assert [funnel.counts["samples"]["total"] for funnel in told(database)] == [0, 0]


def test_counts_that_nobody_writes_end_no_transaction(database: Database, leases: list[Lease]) -> None:
    with pytest.raises(RuntimeError, match="write_ledger"), database.begin() as session:
        add_counts(session, leases[0], part(3))
    with database.begin() as session:
        count(session, leases[0], 1)
    assert [funnel.counts["samples"]["total"] for funnel in told(database)] == [1, 1], "what was lost is not counted"


def test_a_status_reads_no_ledger(database: Database, leases: list[Lease]) -> None:
    with database.begin() as session:
        count(session, leases[0], 2)
        for shard in session.scalars(select(Shard)):
            shard.ledger = {"funnel": {"samples": {"total": 1_000}}}
    assert told(database)[0].counts["samples"]["total"] == 2


def test_a_job_of_an_earlier_version_is_counted_from_its_ledgers(database: Database, leases: list[Lease]) -> None:
    with database.begin() as session:
        session.execute(delete(JobSummary))
        count(session, leases[0], 4)
    status, ledgers = told(database)
    assert status.counts == ledgers.counts
    assert status.counts["samples"]["total"] == 4


def test_running_shards_tell_how_far_they_are(database: Database, leases: list[Lease]) -> None:
    with database.begin() as session:
        session.get_one(Shard, leases[1].shard_id).progress = {"made": 3, "total": 9}
    with database.read() as session:
        assert running_progress(session, session.get_one(InjectionJob, "inj"))[1] == [
            (str(leases[1].stage), {"made": 3, "total": 9})
        ]


def test_the_end_counts_anew_and_notes_the_shards(database: Database, leases: list[Lease]) -> None:
    with database.begin() as session:
        count(session, leases[0], 2)
        session.execute(select(JobSummary)).scalar_one().counts = {}
        for shard in session.scalars(select(Shard)):
            shard.state = "queued"
    with database.begin() as session:
        assert cancel(session, InjectionJob, "inj")
        assert complete_owner(session, InjectionJob, "inj") == "cancelled"
    with database.read() as session:
        assert job_funnel(session, session.get_one(InjectionJob, "inj")).counts["samples"]["total"] == 2
        assert settled_groups(session, ["inj", "other"]) == {"inj": [["sample", "cancelled", len(leases), 12]]}
