"""Whose turn it is: a small job beside a large one takes at most twice its time alone and one shard.

Time is counted in executions of shards, with hints delivered in the order in which a broker would.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

import pytest
from sqlalchemy import select

from errata.config import resolve
from models.jobs import InjectionJob, Shard
from models.session import Database
from models.shares import PRIORITIES, Priority, WaitingOwner, waiting_owners
from models.states import JobState, Stage
from models.workspaces import ProblemSet, Workspace
from tests.workers.road import Recorder, make_services
from workers.app import GENERATION, GRADING
from workers.lifecycle import Hint, pause, plan_injection, stages_of
from workers.runner import Services, run_shard
from workers.shares import TURN, Shares
from workers.stages.base import Finish, StageContext, StageFunction

LARGE, SMALL = 16, 2  # shards of one problem each
STAGES = 4  # of the road: two that generate, two that grade


class Floor:
    """Workers that take hints from two queues, each in the order in which they came."""

    def __init__(self, database: Database, folder: Path, workers: int = 1) -> None:
        self.db, self.ran = database, list[tuple[str, str]]()  # owner and queue of each execution, in order
        road = {
            Stage.SAMPLE: self._stage(Stage.GRADE, GENERATION),
            Stage.GRADE: self._stage(Stage.EDIT, GRADING),
            Stage.EDIT: self._stage(Stage.PAIR, GENERATION),
            Stage.PAIR: self._stage(None, GRADING),
        }
        self.workers = [make_services(database, folder, road) for _ in range(workers)]
        self.queues: dict[str, deque[Hint]] = {GENERATION: deque(), GRADING: deque()}
        for at, worker in enumerate(self.workers):
            worker.name = f"w{at}"

    def _stage(self, next_stage: Stage | None, queue: str) -> StageFunction:
        def stage(context: StageContext) -> Finish:
            self.ran.append((context.lease.owner_id, queue))
            return Finish(next_stage)

        return stage

    def post(self, job_id: str, workspace: str, shards: int, priority: Priority = "normal") -> None:
        """A job of so many shards; its hints go to the end of the queue."""
        config = resolve("rules", {"shard_size": 1, "sampling": {"source": "brought"}}).model_dump(mode="json")
        with self.db.begin() as session:
            if session.get(Workspace, workspace) is None:
                session.add(Workspace(id=workspace, name=workspace))
                session.flush()
                session.add(
                    ProblemSet(id=f"s_{workspace}", workspace_id=workspace, name="p", domain="math", content_sha256="")
                )
                session.flush()
            ids = {"id": job_id, "workspace_id": workspace, "problem_set_id": f"s_{workspace}"}
            job = InjectionJob(**ids, config=config, priority=PRIORITIES[priority])
            session.add(job)
            self._queue(plan_injection(session, job, shards))

    def _queue(self, hints: Sequence[Hint]) -> None:
        for hint in hints:
            self.queues[hint.queue].append(hint)

    def run(self, until: str | None = None) -> int:
        """Rounds until the job has ended, or no hints are left. In a round each worker runs a shard of each queue."""
        rounds = 0
        while any(self.queues.values()):
            rounds += 1
            for worker in self.workers:
                for queue in (GRADING, GENERATION):
                    self.take(worker, queue)
            if until is not None and self.state(until) == JobState.SUCCEEDED:
                break
        return rounds

    def take(self, worker: Services, queue: str) -> None:
        """One hint of a queue is answered."""
        if not self.queues[queue]:
            return
        run_shard(worker, self.queues[queue].popleft().shard_id, queue)
        assert isinstance(worker.dispatcher, Recorder)
        self._queue(worker.dispatcher.hints)
        worker.dispatcher.hints.clear()

    def state(self, job_id: str) -> str:
        with self.db.read() as session:
            return session.get_one(InjectionJob, job_id).state

    def counts(self, queue: str) -> Counter[str]:
        return Counter(owner for owner, of in self.ran if of == queue)


@pytest.mark.parametrize("workspaces", [("one", "one"), ("one", "two")])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_small_job_beside_a_large_one_takes_at_most_twice_its_time_alone_and_one_shard(
    workspaces: tuple[str, str], workers: int, database: Database, tmp_path: Path
) -> None:
    floor = Floor(database, tmp_path, workers)
    floor.post("alone", workspaces[1], SMALL)
    alone = floor.run()
    floor.post("large", workspaces[0], LARGE)
    floor.post("small", workspaces[1], SMALL)
    assert floor.run(until="small") <= 2 * alone + 1
    assert floor.state("large") == JobState.RUNNING, "although it came first"
    floor.run()
    assert floor.state("large") == JobState.SUCCEEDED, "no hint was lost by the exchange"
    ran = Counter(owner for owner, _ in floor.ran)
    assert ran == {"large": STAGES * LARGE, "small": STAGES * SMALL, "alone": STAGES * SMALL}


def test_a_workspace_with_many_jobs_gets_no_more_than_one_with_few(sqlite_database: Database, tmp_path: Path) -> None:
    floor = Floor(sqlite_database, tmp_path)
    floor.post("alone", "few", SMALL)
    alone = floor.run()
    for at in range(4):
        floor.post(f"many_{at}", "many", 8, priority="high")
    floor.post("few", "few", SMALL)
    assert floor.run(until="few") <= 2 * alone + 1
    floor.run(until="many_0")
    theirs = [floor.counts(GENERATION)[f"many_{at}"] for at in range(4)]
    assert max(theirs) - min(theirs) <= 1, "and its jobs share what it gets"


def test_a_high_priority_gets_four_shards_for_one_and_a_low_one_still_moves(
    sqlite_database: Database, tmp_path: Path
) -> None:
    floor = Floor(sqlite_database, tmp_path)
    priorities: tuple[Priority, ...] = ("low", "normal", "high")
    for priority in priorities:
        floor.post(priority, "one", 42, priority=priority)
    while len(floor.ran) < 42:
        floor.take(floor.workers[0], GENERATION)
    ran = floor.counts(GENERATION)
    assert (ran["low"], ran["normal"], ran["high"]) == (2, 8, 32)


def test_a_job_that_comes_late_owes_nothing_and_one_that_was_away_has_saved_nothing() -> None:
    shares = Shares()

    def first(*names: str) -> str:
        owners = [
            WaitingOwner(name, "one", 0, datetime(2026, 1, at + 1, tzinfo=UTC), f"shard_{name}")
            for at, name in enumerate(names)
        ]
        served = shares.order("q", owners)[0]
        shares.charge("q", served, 1)
        return served.owner_id

    assert [first("a", "b") for _ in range(4)] == ["a", "b", "a", "b"]
    assert [first("a") for _ in range(10)] == ["a"] * 10
    late = [first("a", "b", "c") for _ in range(6)]
    assert Counter(late) == {"a": 2, "b": 2, "c": 2}


def test_larger_shards_pay_more() -> None:
    shares = Shares()
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    owners = {size: WaitingOwner(str(size), "one", 0, moment, "s") for size in (10, 40)}
    taken: Counter[int] = Counter()
    for _ in range(50):
        size = int(shares.order("q", list(owners.values()))[0].owner_id)
        shares.charge("q", owners[size], size)
        taken[size] += 1
    assert taken == {10: 40, 40: 10}


def test_who_waits_is_in_work_not_paused_and_at_these_stages(database: Database, tmp_path: Path) -> None:
    floor = Floor(database, tmp_path)
    for name in ("on", "paused", "ended"):
        floor.post(name, "one", 2, priority="low")
    with database.begin() as session:
        pause(session, session.get_one(InjectionJob, "paused"))
        session.get_one(InjectionJob, "ended").state = JobState.CANCELLED
    with database.read() as session:
        [found] = waiting_owners(session, stages_of(GENERATION))
        assert (found.owner_id, found.workspace_id, found.priority) == ("on", "one", -1)
        for shard in session.scalars(select(Shard).where(Shard.injection_job_id == "on")):
            [found] = waiting_owners(session, stages_of(GENERATION), shard.id)
            assert found.shard_id == shard.id, "the hinted one, where it waits"
        assert waiting_owners(session, stages_of(GRADING)) == []


@pytest.mark.parametrize(("engine", "turn"), [("transformers", TURN), ("openai", 32)])
def test_models_that_must_be_loaded_take_longer_turns(engine: str, turn: int) -> None:
    shares = Shares()
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    owners = [WaitingOwner(name, "one", 0, moment, "s", model=name, engine=engine) for name in ("a", "b")]
    served = []
    for _ in range(32):
        first = shares.order(GENERATION, owners)[0]
        shares.charge(GENERATION, first, 32)
        served.append(first.owner_id)
    runs = [len(list(run)) for _, run in groupby(served)]
    assert all(32 * run == turn for run in runs[:-1])
    assert abs(served.count("a") - served.count("b")) <= turn // 32
    alone = [each for each in owners if each.owner_id != served[-1]]
    assert shares.order(GENERATION, alone) == alone, "nobody waits for a model that has nothing to do"
