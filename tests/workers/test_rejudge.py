"""Samples judged again: what an older verifier had stored differs, nothing else does, and the job stays as it is."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update

from errata.answers import VERIFIERS
from errata.types import Domain
from models.jobs import PairRow, Shard, SolutionRow
from models.outputs import Rejudging, VerdictChangeRow
from models.states import JobState, ShardState
from models.workspaces import DEFAULT_WORKSPACE
from tests.workers.injection_jobs import PROBLEMS, run_job, run_shards
from workers.lifecycle import plan_rejudging
from workers.runner import Services

TAG = VERIFIERS[Domain.MATH].tag


def rejudge(services: Services) -> Rejudging:
    """Judge the job's samples again, and answer the row as it ended."""
    with services.db.begin() as session:
        row = Rejudging(id="rejudge_1", workspace_id=DEFAULT_WORKSPACE, injection_job_id="inj", verifier=TAG)
        session.add(row)
        session.flush()
        plan_rejudging(session, row, PROBLEMS)
    run_shards(services)
    with services.db.read() as session:
        return session.get_one(Rejudging, "rejudge_1")


def stored(services: Services) -> list[tuple[Any, ...]]:
    """Every stored verdict."""
    columns = (SolutionRow.id, SolutionRow.verdict, SolutionRow.extracted, SolutionRow.verifier)
    with services.db.read() as session:
        return [tuple(row) for row in session.execute(select(*columns).order_by(SolutionRow.id))]


def test_the_same_verifier_changes_nothing(services: Services) -> None:
    run_job(services, "rules")
    row = rejudge(services)
    assert row.state == JobState.SUCCEEDED
    assert row.result == {"samples": 2 * PROBLEMS, "same": 2 * PROBLEMS, "changed": 0, "drawn": 0, "verdicts": {}}


def test_what_an_older_verifier_had_judged_otherwise_is_listed(services: Services) -> None:
    run_job(services, "rules")
    with services.db.begin() as session:
        right = session.scalars(select(SolutionRow).where(SolutionRow.verdict == "correct")).all()
        wrong = session.scalars(select(SolutionRow).where(SolutionRow.verdict == "incorrect")).all()
        truth, old = wrong[1].extracted, {"verifier": "math/0"}
        session.execute(update(SolutionRow).where(SolutionRow.id == right[0].id).values(verdict="incorrect", **old))
        session.execute(update(SolutionRow).where(SolutionRow.id == wrong[0].id).values(verdict="unparsable", **old))
        session.execute(update(SolutionRow).where(SolutionRow.id == wrong[1].id).values(extracted="999", **old))
        session.execute(update(SolutionRow).where(SolutionRow.id == wrong[2].id).values(**old))
        session.execute(update(SolutionRow).where(SolutionRow.id == wrong[3].id).values(verdict=None))
    before = stored(services)
    with services.db.read() as session:
        pairs = [pair.id for pair in session.scalars(select(PairRow).order_by(PairRow.id))]
    row = rejudge(services)
    moved = {"incorrect to correct": 1, "unparsable to incorrect": 1}
    judged = 2 * PROBLEMS - 1
    assert row.result == {"samples": judged, "same": judged - 3, "changed": 3, "drawn": 3, "verdicts": moved}
    with services.db.read() as session:
        changes = {change.solution_id: change for change in session.scalars(select(VerdictChangeRow))}
        assert pairs == [pair.id for pair in session.scalars(select(PairRow).order_by(PairRow.id))]
    assert set(changes) == {right[0].id, wrong[0].id, wrong[1].id}, "a version alone is no change"
    change = changes[wrong[1].id]
    assert (change.verdict_before, change.verdict_after, change.verifier_before) == ("incorrect", "incorrect", "math/0")
    assert (change.extracted_before, change.extracted_after) == ("999", truth)
    assert stored(services) == before, "the job's own verdicts stay"


def test_done_twice_it_is_stored_once(services: Services) -> None:
    """A shard whose worker was lost after its write runs again: same rows, same result."""
    run_job(services, "rules")
    with services.db.begin() as session:
        session.execute(update(SolutionRow).values(extracted="7"))
    first = rejudge(services)
    with services.db.begin() as session:
        mine = Shard.rejudging_id == "rejudge_1"
        session.execute(update(Shard).where(mine).values(state=ShardState.QUEUED))
        session.execute(update(Rejudging).values(state=JobState.RUNNING))
    run_shards(services)
    with services.db.read() as session:
        assert session.get_one(Rejudging, "rejudge_1").result == first.result
        assert len(session.scalars(select(VerdictChangeRow)).all()) == 2 * PROBLEMS
