"""Stages of evaluations and rejudgings: ``answer`` (a model answers problems), ``judge`` (verdicts), ``rejudge``.

A scored evaluation ends with ``answer``: there is nothing to judge (workers.stages.score_solutions).

Results are computed from the rows once the last shard is done (models.results), so the stages write rows only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from errata.answers import Judgement, VerdictChange, compare_verdicts
from errata.config import InjectionConfig
from errata.output_config import Draw, EvaluationConfig
from errata.prompts import SOLVE_VERSION, solve_prompt
from errata.seeds import derive_seed
from errata.types import Domain, Verdict
from models.base import new_id
from models.jobs import InjectionJob, Shard, SolutionRow
from models.leases import Lease
from models.outputs import Evaluation, EvaluationSample, Rejudging, VerdictChangeRow
from models.session import insert_ignore, update_by_key
from models.states import Stage
from models.usage import count_tokens
from models.workspaces import ProblemRow
from workers.engines.base import GenerationRequest
from workers.stages.base import Finish, StageContext
from workers.stages.isolation import without
from workers.stages.loading import (
    completion_columns,
    judge_texts,
    load_domain,
    load_problems,
    load_spec,
    verdict_columns,
)
from workers.stages.score_solutions import add_nats, score_solutions
from workers.stages.thinking import generate_solutions


def answer(context: StageContext) -> Finish:
    """Insert one row per problem and sample, not yet judged, or the scores of the problems' solutions.

    Raises EngineError, or Cancelled when told to stop.
    """
    with context.db.read() as session:
        evaluation = session.get_one(Evaluation, context.lease.owner_id)
        domain = load_domain(session, evaluation.problem_set_id)
        model = load_spec(session, evaluation.language_model_id)
        problems = load_problems(session, evaluation.problem_set_id, context.lease)
    config = EvaluationConfig.model_validate(evaluation.config)
    if config.limit is not None:
        problems = [row for row in problems if row.position < config.limit]
    context.errors.expect(len(problems), frozenset())
    if config.method == "score":
        return score_solutions(context, evaluation.id, config, domain, model, problems)
    planned: list[tuple[str, Draw]] = []
    requests: list[GenerationRequest] = []
    for problem in problems:
        with context.errors.of(problem.id):
            found = answer_requests(config, domain, [problem.question])
            requests += found
            planned += [(problem.id, draw) for draw in config.draws]
    context.meter.expect(sum(request.n for request in requests))
    owners = [problem_id for problem_id, _ in planned]
    results = generate_solutions(context, model, requests, config.thoughts, owners) if requests else []
    rows: list[dict[str, Any]] = [
        {
            "evaluation_id": evaluation.id,
            "problem_id": problem_id,
            "sample_index": draw.first + index,
            "shard_id": context.lease.shard_id,
            "text": request.prompt.assistant_prefix + completion.text,
            "seed": request.seed + index,
            **completion_columns(completion),
            "completion_tokens": completion.length,  # answers are compared by it, whenever they were generated
        }
        for (problem_id, draw), request, result in zip(planned, requests, results, strict=True)
        for index, completion in enumerate(result)
    ]
    rows = without(rows, context.errors)
    if config.entropy:
        add_nats(context, config, domain, model, problems, rows)

    def write(session: Session) -> None:
        insert_ignore(session, EvaluationSample, rows)
        generated = sum(each.completion_tokens for result in results for each in result)
        count_tokens(session, evaluation.workspace_id, evaluation.id, generated)

    return Finish(Stage.JUDGE, write)


def answer_requests(config: EvaluationConfig, domain: Domain, questions: Sequence[str]) -> list[GenerationRequest]:
    """One request per question and temperature, in the order of ``config.draws``.

    Its seed depends on the evaluation's seed and the question, not on ids or positions. So two language models
    evaluated under one configuration draw with the same seeds; so does one model at several temperatures.
    """
    return [
        GenerationRequest(
            solve_prompt(question, domain, config),
            n=draw.count,
            temperature=draw.temperature,
            top_p=config.top_p,
            max_tokens=config.max_tokens,
            # "evaluate": the answers must not repeat the samples that a job with this seed drew for training.
            seed=derive_seed(config.seed, "evaluate", SOLVE_VERSION, question),
        )
        for question in questions
        for draw in config.draws
    ]


def judge(context: StageContext) -> Finish:
    """Judge the shard's answers that have no verdict yet. Raises Cancelled when told to stop."""
    with context.db.read() as session:
        evaluation = session.get_one(Evaluation, context.lease.owner_id)
        domain = load_domain(session, evaluation.problem_set_id)
        markers = EvaluationConfig.model_validate(evaluation.config).thoughts.markers
        samples = session.execute(
            select(EvaluationSample, ProblemRow)
            .join(ProblemRow, ProblemRow.id == EvaluationSample.problem_id)
            .where(EvaluationSample.shard_id == context.lease.shard_id, EvaluationSample.verdict.is_(None))
            .order_by(ProblemRow.position, EvaluationSample.sample_index)
        ).all()
    judgements = judge_texts(context, domain, ((problem, sample.text) for sample, problem in samples), markers)
    rows = [
        {
            "evaluation_id": sample.evaluation_id,
            "problem_id": sample.problem_id,
            "sample_index": sample.sample_index,
            **verdict_columns(judgement),
        }
        for (sample, _), judgement in zip(samples, judgements, strict=True)
    ]

    def write(session: Session) -> None:
        update_by_key(session, EvaluationSample, rows)

    return Finish(None, write)


def rejudge(context: StageContext) -> Finish:
    """Insert one row per sample whose verdict or extracted answer changed. Stored verdicts and pairs stay as they are.

    Samples that were never judged (their job was cancelled before) are left out.
    """
    lease = context.lease
    with context.db.read() as session:
        rejudging = session.get_one(Rejudging, lease.owner_id)
        job = session.get_one(InjectionJob, rejudging.injection_job_id)
        config, domain = job.config, load_domain(session, job.problem_set_id)
        found = session.execute(_judged_samples(job.id, lease)).all()
    solutions = {solution.id: solution for solution, _ in found}
    markers = InjectionConfig.model_validate(config).thoughts.markers
    judged = judge_texts(context, domain, ((problem, solution.text) for solution, problem in found), markers)
    stored = {solution.id: _stored(solution) for solution in solutions.values()}
    changes = compare_verdicts(stored, dict(zip(solutions, judged, strict=True)))
    rows = [_change_row(change, solutions[change.key], lease) for change in changes]

    def write(session: Session) -> None:
        insert_ignore(session, VerdictChangeRow, rows)
        session.get_one(Shard, lease.shard_id).ledger = {"samples": len(solutions)}

    return Finish(None, write)


def _judged_samples(job_id: str, lease: Lease) -> Select[SolutionRow, ProblemRow]:
    """A job's samples that have a verdict, with their problems, for the shard's slice of problems."""
    return (
        select(SolutionRow, ProblemRow)
        .join(ProblemRow, ProblemRow.id == SolutionRow.problem_id)
        .where(
            SolutionRow.job_id == job_id,
            SolutionRow.verdict.is_not(None),
            ProblemRow.position >= lease.start,
            ProblemRow.position < lease.stop,
        )
        .order_by(ProblemRow.position, SolutionRow.sample_index)
    )


def _stored(row: SolutionRow) -> Judgement:
    return Judgement(Verdict(row.verdict or ""), row.extracted, row.verifier or "", "", row.verdict_seconds or 0.0)


def _change_row(change: VerdictChange, solution: SolutionRow, lease: Lease) -> dict[str, Any]:
    return {
        "id": new_id("change"),
        "rejudging_id": lease.owner_id,
        "shard_id": lease.shard_id,
        "solution_id": solution.id,
        "problem_id": solution.problem_id,
        "role": solution.role,
        "verdict_before": str(change.before.verdict),
        "verdict_after": str(change.after.verdict),
        "extracted_before": change.before.extracted,
        "extracted_after": change.after.extracted,
        "verifier_before": change.before.verifier or None,
    }
