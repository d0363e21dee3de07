"""Stages of an evaluation: ``answer`` (a language model answers a slice of problems) and ``judge`` (verdicts).

The result is computed from the rows once the last shard is done (models.results), so a stage writes rows only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from errata.evaluation import EvaluationConfig
from errata.prompts import SOLVE_VERSION, solve_prompt
from errata.seeds import derive_seed
from errata.types import Domain
from models.outputs import Evaluation, EvaluationSample
from models.problems import ProblemRow, ProblemSet
from models.states import Stage
from models.upserts import insert_ignore
from workers.engines.base import GenerationRequest, ModelSpec
from workers.judge import JudgeItem
from workers.registry import load_spec
from workers.stages.base import Finish, StageContext
from workers.stages.loading import as_problem, judge_all, load_problems, verdict_columns


@dataclass(frozen=True)
class _Evaluation:
    id: str
    problem_set_id: str
    config: EvaluationConfig
    domain: Domain
    model: ModelSpec


def _load(session: Session, evaluation_id: str) -> _Evaluation:
    row = session.get_one(Evaluation, evaluation_id)
    domain = Domain(session.get_one(ProblemSet, row.problem_set_id).domain)
    config = EvaluationConfig.model_validate(row.config)
    return _Evaluation(row.id, row.problem_set_id, config, domain, load_spec(session, row.language_model_id))


def answer(context: StageContext) -> Finish:
    """Insert one row per problem and sample, not yet judged. Raises EngineError, or Cancelled when told to stop."""
    with context.db.read() as session:
        evaluation = _load(session, context.lease.owner_id)
        problems = load_problems(session, evaluation.problem_set_id, context.lease)
    if evaluation.config.limit is not None:
        problems = [row for row in problems if row.position < evaluation.config.limit]
    requests = answer_requests(evaluation.config, evaluation.domain, [problem.question for problem in problems])
    rows = _rows(context, evaluation, problems, requests)

    def write(session: Session) -> None:
        insert_ignore(session, EvaluationSample, rows)

    return Finish(Stage.JUDGE, write)


def answer_requests(config: EvaluationConfig, domain: Domain, questions: Sequence[str]) -> list[GenerationRequest]:
    """One request per question. Its seed depends on the evaluation's seed and the question, not on ids or positions.

    So two language models evaluated under one configuration draw with the same seeds.
    """
    return [
        GenerationRequest(
            solve_prompt(question, domain),
            n=config.samples,
            temperature=config.temperature,
            top_p=config.top_p,
            max_tokens=config.max_tokens,
            seed=derive_seed(config.seed, "evaluate", SOLVE_VERSION, question),
        )
        for question in questions
    ]


def _rows(
    context: StageContext,
    evaluation: _Evaluation,
    problems: Sequence[ProblemRow],
    requests: Sequence[GenerationRequest],
) -> list[dict[str, Any]]:
    results = context.generate(evaluation.model, requests) if requests else []
    return [
        {
            "evaluation_id": evaluation.id,
            "problem_id": problem.id,
            "sample_index": index,
            "shard_id": context.lease.shard_id,
            "text": request.prompt.assistant_prefix + completion.text,
            "seed": request.seed + index,
            "finish_reason": completion.finish_reason,
            "prompt_tokens": completion.prompt_tokens,
            "completion_tokens": completion.completion_tokens,
        }
        for problem, request, result in zip(problems, requests, results, strict=True)
        for index, completion in enumerate(result)
    ]


def judge(context: StageContext) -> Finish:
    """Judge the shard's answers that have no verdict yet. Raises Cancelled when told to stop."""
    with context.db.read() as session:
        domain = _load(session, context.lease.owner_id).domain
        samples = session.execute(
            select(EvaluationSample, ProblemRow)
            .join(ProblemRow, ProblemRow.id == EvaluationSample.problem_id)
            .where(EvaluationSample.shard_id == context.lease.shard_id, EvaluationSample.verdict.is_(None))
            .order_by(ProblemRow.position, EvaluationSample.sample_index)
        ).all()
    items = [JudgeItem(as_problem(problem), sample.text, domain) for sample, problem in samples]
    judgements = judge_all(context, items)
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
        if rows:
            session.execute(update(EvaluationSample), rows)

    return Finish(None, write)
