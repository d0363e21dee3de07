"""Injection jobs on brought solutions, run shard by shard in the test's own thread: posted, run, and looked at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from errata.config import resolve
from errata.funnel import Funnel
from errata.types import Domain
from models.jobs import InjectionJob, PairRow, Shard
from models.states import JobState
from models.workspaces import DEFAULT_WORKSPACE, BroughtSolution, LanguageModel, ProblemRow, ProblemSet, Workspace
from workers.dispatch import Dispatcher
from workers.lifecycle import Hint, plan_injection
from workers.runner import Services, run_shard

RIGHT = "Step 1: Pay {a} * {b} + {c} = {d}.\nStep 2: So 99 - {d} = {e} left.\nStep 3: The answer is \\boxed{{{e}}}."
WRONG = "Step 1: Pay {a} + {b} + {c} = {f}.\nStep 2: So 99 - {f} = {g} left.\nStep 3: The answer is \\boxed{{{g}}}."
PROBLEMS = 12


@dataclass(frozen=True)
class Posted:
    """A problem with the solutions brought along."""

    question: str
    gold: str
    solutions: list[str]
    meta: dict[str, Any] = field(default_factory=dict)


class Deaf(Dispatcher):
    """Shards are run by hand here: nobody waits for hints."""

    def __init__(self) -> None:
        pass

    def send(self, hints: Iterable[Hint]) -> int:
        """Send none."""
        return 0


def sums() -> list[Posted]:
    """Word problems, each with a right solution and one that writes + for *."""
    posted = []
    for at in range(PROBLEMS):
        a, b, c = 3 + at % 5, 4 + at % 3, 5 + at
        d, f = a * b + c, a + b + c
        numbers = {"a": a, "b": b, "c": c, "d": d, "e": 99 - d, "f": f, "g": 99 - f}
        question = f"She has 99 dollars, buys {a} pens at {b} dollars and pays {c} more. What is left?"
        posted.append(Posted(question, str(99 - d), [RIGHT.format(**numbers), WRONG.format(**numbers)]))
    return posted


def run_job(
    services: Services,
    preset: str,
    problems: Sequence[Posted] = (),
    domain: Domain = Domain.MATH,
    *,
    model: dict[str, Any] | None = None,
    **overrides: Any,
) -> Funnel:
    """Post a job (see post_job), run every shard to its end, and answer the job's funnel, checked."""
    post_job(services, preset, problems, domain, model=model, **overrides)
    run_shards(services)
    with services.db.read() as session:
        assert session.get_one(InjectionJob, "inj").state == JobState.SUCCEEDED
        ledgers = session.scalars(select(Shard.ledger).where(Shard.injection_job_id == "inj"))
        funnel = Funnel.total(ledger["funnel"] for ledger in ledgers)
    funnel.check()
    return funnel


def post_job(
    services: Services,
    preset: str,
    problems: Sequence[Posted] = (),
    domain: Domain = Domain.MATH,
    *,
    model: dict[str, Any] | None = None,
    **overrides: Any,
) -> None:
    """Post problems with their solutions, and a job named "inj".

    ``model``: the registry entry (engine, config) of the language model that the job names.
    """
    posted = problems or sums()
    with services.db.begin() as session:
        session.add(Workspace(id=DEFAULT_WORKSPACE, name="default"))
        session.flush()
        session.add(ProblemSet(id="pset", workspace_id=DEFAULT_WORKSPACE, name="p", domain=domain, content_sha256=""))
        if model is not None:
            session.add(LanguageModel(id="model", workspace_id=DEFAULT_WORKSPACE, name="editor", **model))
        session.flush()
        for at, problem in enumerate(posted):
            _add_problem(session, at, problem)
        config = resolve(preset, {"sampling": {"source": "brought"}, "shard_size": 5, **overrides})
        ids = {"workspace_id": DEFAULT_WORKSPACE, "problem_set_id": "pset"}
        job = InjectionJob(
            id="inj", **ids, language_model_id="model" if model else None, config=config.model_dump(mode="json")
        )
        session.add(job)
        plan_injection(session, job, len(posted))


def shard_ids(services: Services) -> list[str]:
    """Every shard, whosever it is, in order."""
    with services.db.read() as session:
        return list(session.scalars(select(Shard.id).order_by(Shard.position)))


def run_shards(services: Services) -> None:
    """Run every shard to its end."""
    for shard in shard_ids(services):
        while run_shard(services, shard) == "advanced":
            pass


def _add_problem(session: Session, at: int, posted: Posted) -> None:
    row = ProblemRow(
        id=f"prob_{at}",
        problem_set_id="pset",
        position=at,
        question=posted.question,
        gold_answer=posted.gold,
        meta=posted.meta,
    )
    session.add(row)
    session.flush()
    for source, text in enumerate(posted.solutions):
        ids = {"id": f"brought_{at}_{source}", "problem_set_id": "pset", "problem_id": f"prob_{at}"}
        session.add(BroughtSolution(**ids, source=str(source), text=text))
    session.flush()


def pairs_of(services: Services, kind: str = "step") -> list[PairRow]:
    """The pairs of one type."""
    with services.db.read() as session:
        return list(session.scalars(select(PairRow).where(PairRow.type == kind)))
