"""A job on a short road of stages, its workers in this process, and looks at what became of it."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import func, select

from errata.config import resolve
from models.jobs import InjectionJob, ProblemOutcome, Shard
from models.outputs import Event
from models.session import Database, insert_ignore
from models.settings import StoreSettings
from models.states import Stage
from models.workspaces import DEFAULT_WORKSPACE, ProblemRow, ProblemSet, Workspace
from workers.dispatch import Dispatcher
from workers.engines.pool import EnginePool
from workers.judge import JudgePool
from workers.lifecycle import Hint, plan_injection
from workers.runner import Services
from workers.settings import WorkerSettings
from workers.stages.base import Finish, StageContext, StageFunction

PROBLEMS = 12


class Recorder(Dispatcher):
    """A dispatcher that keeps its hints: for tests that deliver them by hand."""

    def __init__(self) -> None:
        self.hints: list[Hint] = []

    def send(self, hints) -> int:  # type: ignore[no-untyped-def]  # noqa: ANN001
        before = len(self.hints)
        self.hints += hints
        return len(self.hints) - before


def through(next_stage: Stage | None) -> StageFunction:
    """A stage that writes one outcome per problem when it is the last, and moves on."""

    def stage(context: StageContext) -> Finish:
        rows = [
            {
                "job_id": context.lease.owner_id,
                "problem_id": f"prob_{at}",
                "shard_id": context.lease.shard_id,
                "outcome": "kept",
                "reason": None,
            }
            for at in range(context.lease.start, context.lease.stop)
        ]
        return Finish(next_stage, lambda session: None if next_stage else _write(session, rows))

    return stage


def _write(session, rows) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    insert_ignore(session, ProblemOutcome, rows)


ROAD = {Stage.SAMPLE: through(Stage.GRADE), Stage.GRADE: through(Stage.PAIR), Stage.PAIR: through(None)}


def make_services(database: Database, folder: Path, stages: dict[str, StageFunction], **values: float) -> Services:
    settings = WorkerSettings(**{"failure_backoff_seconds": 0, "cancel_poll_seconds": 0.05, **values})
    store = StoreSettings(ERRATA_HOME=folder)
    return Services(database, store, settings, Recorder(), EnginePool(), JudgePool(1), dict(stages))


def make_job(database: Database, shard_size: int = 4) -> str:
    with database.begin() as session:
        session.add(Workspace(id=DEFAULT_WORKSPACE, name="default"))
        session.flush()
        session.add(ProblemSet(id="pset", workspace_id=DEFAULT_WORKSPACE, name="p", domain="math", content_sha256=""))
        session.flush()
        for at in range(PROBLEMS):
            session.add(
                ProblemRow(id=f"prob_{at}", problem_set_id="pset", position=at, question=f"q{at}", gold_answer="1")
            )
        config = resolve("rules", {"shard_size": shard_size, "sampling": {"source": "brought"}})
        job = InjectionJob(
            id="inj", workspace_id=DEFAULT_WORKSPACE, problem_set_id="pset", config=config.model_dump(mode="json")
        )
        session.add(job)
        plan_injection(session, job, PROBLEMS)
    return "inj"


def shards(database: Database) -> list[Shard]:
    with database.read() as session:
        return list(session.scalars(select(Shard).order_by(Shard.position)))


def job_state(database: Database) -> str:
    with database.read() as session:
        return session.get_one(InjectionJob, "inj").state


def outcomes(database: Database) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(ProblemOutcome)) or 0


def events(database: Database) -> list[str]:
    with database.read() as session:
        return list(session.scalars(select(Event.type).order_by(Event.id)))
