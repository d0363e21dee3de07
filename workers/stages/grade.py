"""Stage ``grade``: every sample's verdict, which correct and which incorrect solution are drawn, and what to edit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from errata.seeds import derive_seed
from errata.selection import Sample, Selection, select
from errata.types import Verdict
from models.jobs import ProblemOutcome, SolutionRow
from models.session import insert_ignore
from models.states import Stage
from models.workspaces import ProblemRow
from workers.judge import JudgeItem
from workers.stages.base import Finish, StageContext
from workers.stages.ledger import add_grades, add_profile
from workers.stages.loading import (
    Job,
    as_problem,
    judge_all,
    load_job,
    load_problems,
    load_solutions,
    verdict_columns,
)
from workers.stages.plan import plan_shard

Judged = dict[str, Any]


def grade(context: StageContext) -> Finish:
    """Judge the samples not judged between waves, and select. A brought label is compared with our verdict only."""
    with context.db.read() as session:
        job = load_job(session, context.lease)
        problems = load_problems(session, job.problem_set_id, context.lease)
        solutions = load_solutions(session, context.lease)
    judged = _judge(context, job, problems, solutions)
    samples = _samples(solutions, judged)
    selections = _select(job, problems, samples)
    drawn = [row for row in solutions if row.sample_index == selections[row.problem_id].correct]
    plans, profile = plan_shard(job, problems, samples, drawn) if job.config.pairs.step else ({}, None)
    for row in solutions:
        role = _role(selections[row.problem_id], row.sample_index)
        judged[row.id] |= {**role, "label": row.label, "plan": plans.get(row.id)}
    outcomes = [_outcome(context, job, problem.id, selections[problem.id]) for problem in problems]

    def write(session: Session) -> None:
        session.execute(update(SolutionRow), list(judged.values()))
        insert_ignore(session, ProblemOutcome, outcomes)
        add_grades(session, context.lease, list(judged.values()), outcomes)
        if profile is not None and plans:
            add_profile(session, context.lease, profile)

    return Finish(Stage.EDIT if plans else Stage.PAIR, write)


def _judge(
    context: StageContext, job: Job, problems: Sequence[ProblemRow], solutions: Sequence[SolutionRow]
) -> dict[str, Judged]:
    by_id = {problem.id: as_problem(problem) for problem in problems}
    waiting = [row for row in solutions if row.verdict is None]
    judgements = judge_all(context, [JudgeItem(by_id[row.problem_id], row.text, job.domain) for row in waiting])
    found = {row.id: verdict_columns(judgement) for row, judgement in zip(waiting, judgements, strict=True)}
    known = ("verdict", "extracted", "verifier", "verdict_seconds")
    return {
        row.id: {"id": row.id, **(found.get(row.id) or {name: getattr(row, name) for name in known})}
        for row in solutions
    }


def _samples(solutions: Sequence[SolutionRow], judged: dict[str, Judged]) -> dict[str, list[Sample]]:
    samples: dict[str, list[Sample]] = defaultdict(list)
    for row in solutions:
        found = judged[row.id]
        samples[row.problem_id].append(
            Sample(row.sample_index, row.text, Verdict(found["verdict"]), found["extracted"])
        )
    return samples


def _select(job: Job, problems: Sequence[ProblemRow], samples: Mapping[str, Sequence[Sample]]) -> dict[str, Selection]:
    sampled = job.config.sampling.source == "model"

    def chosen(problem: ProblemRow) -> Selection:
        seed = None if sampled else derive_seed(job.config.seed, "select", problem.question)
        return select(samples.get(problem.id, ()), job.config.selection, problem.question, seed)

    return {problem.id: chosen(problem) for problem in problems}


def _role(selection: Selection, index: int) -> dict[str, str | None]:
    if index == selection.correct:
        return {"role": "correct", "reason": None}
    if index == selection.incorrect:
        return {"role": "incorrect", "reason": None}
    return {"role": None, "reason": str(selection.reasons[index])}


def _outcome(context: StageContext, job: Job, problem_id: str, selection: Selection) -> dict[str, Any]:
    reason = None if selection.problem_reason is None else str(selection.problem_reason)
    return {
        "job_id": job.id,
        "problem_id": problem_id,
        "shard_id": context.lease.shard_id,
        "outcome": "kept" if reason is None else "dropped",
        "reason": reason,
    }
