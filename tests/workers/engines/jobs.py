"""A whole injection job of the miniature over any engine, run by hand: what it made, told without ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from demo.problems import generate
from errata.config import resolve
from errata.funnel import Funnel
from models.base import db_now
from models.jobs import EditRow, InjectionJob, PairRow, Shard, SolutionRow
from models.outputs import Event
from models.session import Database
from models.settings import StoreSettings
from models.states import JobState
from models.workspaces import DEFAULT_WORKSPACE, LanguageModel, ProblemRow, ProblemSet, Workspace
from tests.processes import until
from workers.dispatch import Dispatcher
from workers.engines.base import ModelSpec
from workers.engines.pool import EnginePool
from workers.judge import JudgePool
from workers.lifecycle import Hint, plan_injection
from workers.runner import Services, run_shard
from workers.settings import WorkerSettings
from workers.stages import STAGES

GREEDY = {
    "sampling": {"samples": 1, "temperature": 0.0, "max_tokens": 200},
    "editing": {"temperature": 0.0, "max_tokens": 64, "fallback": []},
    "proof": {"continuations": {"when": "unproven", "k": 1, "temperature": 0.0, "max_tokens": 200}},
    "shard_size": 3,
}
PROBLEMS = generate(count=9, seed=23)


class _Deaf(Dispatcher):
    """Shards are run by hand here: nobody waits for hints."""

    def __init__(self) -> None:
        pass

    def send(self, hints: Iterable[Hint]) -> int:
        return 0


class Job:
    """One posted job and the worker that runs it."""

    def __init__(self, services: Services) -> None:
        self.services, self.db = services, services.db

    def run(self, seconds: float = 240) -> list[str]:
        """Every shard, stage by stage, until the job has ended; the runner's answers in order."""
        answers: list[str] = []

        def ended() -> bool:
            with self.db.read() as session:
                due = (Shard.next_run_at.is_(None)) | (Shard.next_run_at <= db_now())
                shards = list(session.scalars(select(Shard.id).where(due).order_by(Shard.position)))
            for shard in shards:
                answers.append(run_shard(self.services, shard))
            return self.state() in (JobState.SUCCEEDED, JobState.FAILED)

        until(ended, "the job to end", seconds=seconds)
        return answers

    def state(self) -> str:
        """The job's state."""
        with self.db.read() as session:
            return session.get_one(InjectionJob, "inj").state

    def made(self) -> dict[str, Any]:
        """Solutions with their verdicts, edits with what became of them, and pairs, by problem and step."""
        with self.db.read() as session:
            solutions = session.scalars(select(SolutionRow)).all()
            edits = session.scalars(select(EditRow)).all()
            pairs = session.scalars(select(PairRow)).all()
            return {
                "solutions": sorted((s.problem_id, s.sample_index, s.text, s.verdict) for s in solutions),
                "edits": sorted(
                    (e.problem_id, e.step_index, e.kind, e.edited or "", e.reason or "", e.evidence_kind or "")
                    for e in edits
                ),
                "pairs": sorted((p.problem_id, p.type, p.chosen, p.rejected) for p in pairs),
            }

    def tokens(self) -> Counter[str]:
        """Tokens of all stages by kind, from the shards' ledgers."""
        totals: Counter[str] = Counter()
        with self.db.read() as session:
            for ledger in session.scalars(select(Shard.ledger)):
                funnel = Funnel.from_dict(ledger["funnel"])
                for spent in funnel.counts["tokens"].values():
                    totals.update(spent)
        return totals

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The data of the job's events of one kind, oldest first."""
        query = select(Event.data).where(Event.subject_id == "inj", Event.type == kind).order_by(Event.id)
        with self.db.read() as session:
            return list(session.scalars(query))

    def rows(self) -> int:
        """How many solutions there are."""
        with self.db.read() as session:
            return session.scalar(select(func.count()).select_from(SolutionRow)) or 0


@contextmanager
def posted(
    database: Database, folder: Path, engines: tuple[EnginePool, JudgePool], model: ModelSpec, **overrides: Any
) -> Iterator[Job]:
    """The job over the language model, not yet run; greedy unless ``overrides`` say otherwise."""
    with database.begin() as session:
        session.add(Workspace(id=DEFAULT_WORKSPACE, name="default"))
        session.flush()
        entry = LanguageModel(id="lm", workspace_id=DEFAULT_WORKSPACE, name=model.name, engine=model.engine)
        entry.config = model.config
        session.add(entry)
        session.add(ProblemSet(id="pset", workspace_id=DEFAULT_WORKSPACE, name="p", domain="math", content_sha256=""))
        session.flush()
        for at, problem in enumerate(PROBLEMS):
            ids = {"id": f"prob_{at}", "problem_set_id": "pset", "position": at}
            session.add(ProblemRow(**ids, question=problem.question, gold_answer=problem.gold_answer))
        config = resolve("errata", {**GREEDY, **overrides}).model_dump(mode="json")
        job = InjectionJob(
            id="inj",
            workspace_id=DEFAULT_WORKSPACE,
            problem_set_id="pset",
            language_model_id="lm",
            config=config,
        )
        session.add(job)
        plan_injection(session, job, len(PROBLEMS))
    settings = WorkerSettings(engine_retry_seconds=0.1, failure_backoff_seconds=0, cancel_poll_seconds=0.05)
    store = StoreSettings(ERRATA_HOME=folder)
    yield Job(Services(database, store, settings, _Deaf(), *engines, dict(STAGES)))
