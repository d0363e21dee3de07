"""The lease as a state machine: Hypothesis runs rules against the real store and a model of it, and compares."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import delete, update

from models import leases
from models.base import db_now
from models.jobs import InjectionJob, Shard
from models.session import Database
from models.states import ShardState, Stage
from models.workspaces import DEFAULT_WORKSPACE, ProblemSet, Workspace

STAGES = [Stage.SAMPLE, Stage.GRADE, Stage.EDIT, Stage.PROVE, Stage.PAIR]
workers = st.sampled_from(["a", "b"])


class LeaseMachine(RuleBasedStateMachine):
    """One shard, two workers that may hold stale leases; the model is five integers and a state."""

    steps = 0  # of all examples

    def __init__(self, database: Database) -> None:
        super().__init__()
        self.db = database
        with self.db.begin() as session:
            session.add(Shard(id="s", injection_job_id="j", position=0, stage=STAGES[0]))
        self.held: dict[str, leases.Lease] = {}
        self.state, self.stage, self.fence, self.failures, self.interruptions = "queued", 0, 0, 0, 0

    def teardown(self) -> None:
        with self.db.begin() as session:
            session.execute(delete(Shard))

    def _valid(self, worker: str) -> bool:
        lease = self.held.get(worker)
        return lease is not None and self.state == "running" and lease.fence == self.fence

    @rule(worker=workers)
    def claim(self, worker: str) -> None:
        with self.db.begin() as session:
            lease = leases.claim(session, "s", worker, 60)
        assert (lease is not None) == (self.state == "queued")
        if lease is not None:
            self.fence += 1
            self.state = "running"
            assert (lease.fence, lease.stage) == (self.fence, STAGES[self.stage])
            self.held[worker] = lease

    def _act(self, worker: str, action: Any) -> bool:
        """Try ``action`` with whatever lease the worker thinks it holds; it must work exactly when that is valid."""
        if worker not in self.held:
            return False
        with self.db.begin() as session:
            worked = action(session, self.held[worker])
        assert bool(worked) == self._valid(worker)
        return bool(worked)

    @rule(worker=workers)
    def heartbeat(self, worker: str) -> None:
        self._act(worker, lambda session, lease: leases.heartbeat(session, lease, 60))

    @rule(worker=workers)
    def finish(self, worker: str) -> None:
        last = self.stage == len(STAGES) - 1
        if self._act(worker, lambda s, lease: leases.finish(s, lease, None if last else STAGES[self.stage + 1])):
            self.state = "done" if last else "queued"
            self.stage += 0 if last else 1
            self.failures = self.interruptions = 0

    @rule(worker=workers)
    def fail(self, worker: str) -> None:
        if self._act(worker, lambda s, lease: leases.fail(s, lease, "boom", backoff_seconds=0)):
            self.failures += 1
            self.state = "quarantined" if self.failures == 3 else "queued"

    @rule(worker=workers)
    def release(self, worker: str) -> None:
        if self._act(worker, leases.release):
            self.state = "queued"

    @rule()
    def expire(self) -> None:
        with self.db.begin() as session:
            session.execute(update(Shard).where(Shard.state == "running").values(lease_expires_at=db_now(-1)))
            expired = leases.expire(session)
        assert len(expired) == (self.state == "running")
        if self.state == "running":
            self.fence += 1
            alone = self.interruptions >= 3
            self.failures += alone
            self.state = "quarantined" if alone and self.failures >= 3 else "queued"
            self.interruptions += self.state == "queued"

    @invariant()
    def the_row_is_as_modelled(self) -> None:
        LeaseMachine.steps += 1
        with self.db.read() as session:
            shard = session.get_one(Shard, "s")
            seen = (shard.state, shard.stage, shard.fence, shard.failures, shard.interruptions)
        assert seen == (self.state, STAGES[self.stage], self.fence, self.failures, self.interruptions)
        assert (shard.worker is not None) == (shard.state == ShardState.RUNNING)


def add_job(database: Database) -> None:
    """The job that the machine's shard belongs to, in a database without rows."""
    with database.begin() as session:
        session.add(Workspace(id=DEFAULT_WORKSPACE, name="default"))
        session.flush()
        session.add(ProblemSet(id="p", workspace_id=DEFAULT_WORKSPACE, name="p", domain="math", content_sha256=""))
        session.flush()
        session.add(InjectionJob(id="j", workspace_id=DEFAULT_WORKSPACE, problem_set_id="p", config={}))


def run_machine(database: Database, examples: int) -> int:
    """Run so many examples of 40 rules at most; the number of rules that were run."""
    add_job(database)
    LeaseMachine.steps = 0
    options = settings(
        max_examples=examples, stateful_step_count=40, deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    run_state_machine_as_test(lambda: LeaseMachine(database), settings=options)  # type: ignore[no-untyped-call]
    return LeaseMachine.steps


def test_lease_machine(database: Database) -> None:
    """``tests/chaos/test_leases.py`` runs it for 10,000 steps."""
    assert run_machine(database, 6) > 100
