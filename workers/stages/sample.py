"""Stage ``sample``: K solutions per problem from the language model, or those brought along."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from errata.prompts import SOLVE_VERSION, solve_prompt
from errata.seeds import derive_seed
from models.base import new_id
from models.jobs import SolutionRow
from models.problems import BroughtSolution, ProblemRow
from models.states import Stage
from models.upserts import insert_ignore
from workers.engines.base import EngineError, GenerationRequest
from workers.stages.base import Finish, StageContext
from workers.stages.ledger import add_samples
from workers.stages.loading import Job, load_job, load_problems


def sample(context: StageContext) -> Finish:
    """Insert one row per problem and sample. Rows of one problem may have the same text; they are still samples."""
    with context.db.read() as session:
        job = load_job(session, context.lease)
        problems = load_problems(session, job.problem_set_id, context.lease)
        brought = job.config.sampling.source == "brought"
        rows = _brought(session, problems) if brought else []
    if not brought:
        rows = _generate(context, job, problems)
    for row in rows:
        row |= {"id": new_id("sol"), "job_id": job.id, "shard_id": context.lease.shard_id}

    def write(session: Session) -> None:
        insert_ignore(session, SolutionRow, rows)
        add_samples(session, context.lease, len(problems), rows)

    return Finish(Stage.GRADE, write)


def _brought(session: Session, problems: Sequence[ProblemRow]) -> list[dict[str, Any]]:
    """Brought solutions, numbered within their problem in the order of their source's name."""
    query = select(BroughtSolution).where(BroughtSolution.problem_id.in_([p.id for p in problems]))
    found = session.scalars(query.order_by(BroughtSolution.problem_id, BroughtSolution.source)).all()
    return [
        {
            "problem_id": problem_id,
            "sample_index": index,
            "source": row.source,
            "text": row.text,
            "label": row.label,
            "seed": None,
            "finish_reason": None,
            "prompt_tokens": 0,
            "completion_tokens": 0,
        }
        for problem_id, group in groupby(found, key=lambda row: row.problem_id)
        for index, row in enumerate(group)
    ]


def solve_requests(job: Job, problems: Sequence[ProblemRow]) -> list[GenerationRequest]:
    """One request per problem. The seed depends on the job's seed and the question, not on ids or positions."""
    sampling = job.config.sampling
    return [
        GenerationRequest(
            solve_prompt(problem.question, job.domain),
            n=sampling.samples,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_tokens,
            seed=derive_seed(job.config.seed, SOLVE_VERSION, problem.question),
        )
        for problem in problems
    ]


def _generate(context: StageContext, job: Job, problems: Sequence[ProblemRow]) -> list[dict[str, Any]]:
    if job.model is None:
        raise EngineError("the job samples from a language model but names none")
    requests = solve_requests(job, problems)
    results = context.generate(job.model, requests)
    return [
        {
            "problem_id": problem.id,
            "sample_index": index,
            "source": job.model.name,
            "text": request.prompt.assistant_prefix + completion.text,
            "label": None,
            "seed": request.seed + index,
            "finish_reason": completion.finish_reason,
            "prompt_tokens": completion.prompt_tokens,
            "completion_tokens": completion.completion_tokens,
        }
        for problem, request, result in zip(problems, requests, results, strict=True)
        for index, completion in enumerate(result)
    ]
