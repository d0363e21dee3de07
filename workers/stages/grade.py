"""Stage ``grade``: every sample's verdict, which correct and which incorrect solution are drawn, and what to edit.

Edits are planned here and not in ``edit``: a plan tries rules and proves their edits false, which takes longer than
anything else that is computed for an edit. A generation worker would hold up the requests of all its shards with it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from errata.injection import plan_edits
from errata.profile import ErrorProfile, error_profile
from errata.prompts import solve_opening
from errata.seeds import derive_seed
from errata.selection import Sample, Selection, select
from errata.steps import split_steps
from errata.types import Domain, Reason, Verdict
from models.jobs import ProblemOutcome, SolutionRow
from models.session import insert_ignore, update_by_key
from models.states import Stage
from models.workspaces import ProblemRow
from workers.stages.base import Finish, StageContext
from workers.stages.extended import drawn_before, edited_before, remaining_plan
from workers.stages.ledger import add_counts, count_grades, count_profile
from workers.stages.loading import (
    VERDICT_COLUMNS,
    Job,
    ShardRows,
    as_problem,
    judge_texts,
    load_rows,
    verdict_columns,
)

Judged = dict[str, Any]
Plan = dict[str, Any]
"""``edits``: one list for each (errata.injection.PlannedEdit); ``skipped``: a reason for every other step. JSON.

``weights`` of kinds where the shard's error profile gives them: the editor of slips draws by them.
"""


def grade(context: StageContext) -> Finish:
    """Judge the samples not judged between waves, and select. A brought label is compared with our verdict only."""
    rows = load_rows(context)
    solutions = rows.solutions.values()
    judged = _judge(context, rows)
    samples = _samples(rows, judged)
    used = _drawn_before(context, rows)
    selections = _select(context, rows, samples, used)
    drawn = [row for row in solutions if row.sample_index == selections[row.problem_id].correct]
    plans, profile = _plan_shard(context, rows, samples, drawn) if rows.job.config.pairs.step else ({}, None)
    for id_ in context.errors.found:  # also those that were drawn, and whose edits could not be planned
        selections[id_] = _set_aside(samples.get(id_, ()))
    plans = {row.id: plans[row.id] for row in drawn if row.id in plans and row.problem_id not in context.errors}
    for row in solutions:
        role = _role(selections[row.problem_id], row.sample_index)
        judged[row.id] |= {**role, "label": row.label, "plan": plans.get(row.id)}
    outcomes = [_outcome(context, rows.job, id_, selections[id_]) for id_ in rows.problems]

    def write(session: Session) -> None:
        update_by_key(session, SolutionRow, list(judged.values()))
        insert_ignore(session, ProblemOutcome, outcomes)
        add_counts(session, context.lease, count_grades(list(judged.values()), outcomes))
        if profile is not None and plans:
            add_counts(session, context.lease, count_profile(profile))

    return Finish(Stage.EDIT if plans else Stage.PAIR, write)


def _drawn_before(context: StageContext, rows: ShardRows) -> Mapping[str, Collection[str]]:
    if rows.job.extends is None:
        return {}
    with context.db.look() as session:
        return drawn_before(session, rows.job, rows.problems)


def _judge(context: StageContext, rows: ShardRows) -> dict[str, Judged]:
    """The verdict columns of every solution, by its id; only those that have no verdict yet are judged."""
    waiting = [row for row in rows.solutions.values() if row.verdict is None]
    texts = ((rows.problems[row.problem_id], row.text) for row in waiting)
    judgements = judge_texts(context, rows.job.domain, texts, rows.job.config.thoughts.markers)
    found = {row.id: verdict_columns(judgement) for row, judgement in zip(waiting, judgements, strict=True)}
    return {
        id_: {"id": id_, **(found.get(id_) or {name: getattr(row, name) for name in VERDICT_COLUMNS})}
        for id_, row in rows.solutions.items()
    }


def _samples(rows: ShardRows, judged: dict[str, Judged]) -> dict[str, list[Sample]]:
    samples: dict[str, list[Sample]] = defaultdict(list)
    for row in rows.solutions.values():
        found = judged[row.id]
        sample = Sample(row.sample_index, row.text, Verdict(found["verdict"]), found["extracted"], row.finish_reason)
        samples[row.problem_id].append(sample)
    return samples


def _set_aside(samples: Sequence[Sample]) -> Selection:
    """Nothing drawn of a problem that raised an error."""
    return Selection(None, None, {sample.index: Reason.PROBLEM_DROPPED for sample in samples}, Reason.ERROR)


def _select(
    context: StageContext,
    rows: ShardRows,
    samples: Mapping[str, Sequence[Sample]],
    used: Mapping[str, Collection[str]],
) -> dict[str, Selection]:
    job = rows.job
    sampled = job.config.sampling.source == "model"

    def chosen(problem: ProblemRow) -> Selection:
        # Samples are independent draws: the first usable one is as unbiased as any. The order of brought solutions is
        # their sender's, so one of those is drawn.
        seed = None if sampled else derive_seed(job.config.seed, "select", problem.question)
        found = samples.get(problem.id, ())
        opening = solve_opening(job.config.sampling.opening, job.domain)
        markers, texts = job.config.thoughts.markers, used.get(problem.id, ())
        return select(found, job.config.selection, problem.question, seed, markers, opening, texts)

    found: dict[str, Selection] = {}
    for id_, problem in rows.problems.items():
        found[id_] = _set_aside(samples.get(id_, ()))
        with context.errors.of(id_):
            found[id_] = chosen(problem)
    return found


def _plan_shard(
    context: StageContext, rows: ShardRows, samples: Mapping[str, Sequence[Sample]], drawn: Iterable[SolutionRow]
) -> tuple[dict[str, Plan], ErrorProfile | None]:
    """A plan for every drawn solution, by its id, and the error profile behind them where the job asks for its mix.

    ``samples``: the shard's judged samples by problem. The profile is that of the shard's own wrong ones; arithmetic
    domains only.
    """
    job, problems = rows.job, rows.problems
    profile = None
    if job.config.editing.mix == "profile" and job.domain in (Domain.MATH, Domain.CHOICE):
        profile = ErrorProfile()
        for problem in problems.values():
            with context.errors.of(problem.id):
                judged = [(samples.get(problem.id, ()), problem.gold_solution)]
                profile += error_profile(judged, job.config.thoughts.in_steps)
    plans: dict[str, Plan] = {}
    before: Mapping[str, Collection[int]] = {}
    drawn = list(drawn)
    if job.takes_over:
        with context.db.read() as session:
            before = edited_before(session, job, [row.id for row in drawn])
    for row in drawn:
        with context.errors.of(row.problem_id):
            plans[row.id] = _plan(job, row.text, problems[row.problem_id], profile, before.get(row.id, ()))
    return plans, profile


def _plan(job: Job, text: str, problem: ProblemRow, profile: ErrorProfile | None, before: Collection[int]) -> Plan:
    """It follows from the job's seed and the texts alone, and from the steps edited ``before`` in jobs it extends."""
    steps = split_steps(text, job.domain, job.config.thoughts.in_steps)
    seed = derive_seed(job.config.seed, "plan", problem.question, text)
    weights = None if profile is None else _weights(job, profile)
    config = job.config
    if job.takes_over:  # all steps are planned, or those edited before would use up the quota
        config = config.model_copy(update={"editing": config.editing.model_copy(update={"edits_per_solution": None})})
    planned = plan_edits(text, steps, config, job.domain, seed, as_problem(problem), weights)
    if job.takes_over:
        planned = remaining_plan(planned, before, job.config.editing.edits_per_solution, seed)
    plan: Plan = {"edits": [e.as_list() for e in planned.edits], "skipped": [str(r) for r in planned.skipped.values()]}
    return plan if weights is None else {**plan, "weights": dict(weights)}


def _weights(job: Job, profile: ErrorProfile) -> dict[str, float]:
    """The profile's shares, of the kinds the job allows and times the weights it gives them."""
    given = job.config.editing.kinds
    shares = profile.weights(job.domain)
    return {kind: share * (1 if given is None else given.get(kind, 0)) for kind, share in shares.items()}


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
