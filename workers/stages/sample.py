"""Stage ``sample``: up to K solutions per problem from the language model, or those brought along.

Adaptive sampling draws in waves and judges between them, inside this one stage: what it writes is written once, and a
stage done twice draws the same texts. The engine serves other shards meanwhile, where the worker runs several.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from errata.prompts import solve_prompt
from errata.seeds import derive_seed
from errata.selection import Sample, first_wave, next_wave, sample_limit
from models.base import new_id
from models.jobs import InjectionJob, SolutionRow
from models.session import insert_ignore
from models.states import Stage
from models.workspaces import BroughtSolution, ProblemRow
from workers.engines.base import EngineError, GenerationRequest, ModelSpec
from workers.stages.base import Finish, StageContext
from workers.stages.extended import drawn_before, taken_over
from workers.stages.isolation import without
from workers.stages.ledger import add_counts, count_samples
from workers.stages.loading import (
    VERDICT_COLUMNS,
    Job,
    completion_columns,
    judge_texts,
    load_job,
    load_problems,
    verdict_columns,
)
from workers.stages.thinking import generate_solutions

_NO_COMPLETION = {"finish_reason": None, "prompt_tokens": 0, "completion_tokens": 0, "cached_tokens": 0}


def sample(context: StageContext) -> Finish:
    """Insert one row per problem and sample. Rows of one problem may have the same text; they are still samples."""
    with context.db.look() as session:
        job = load_job(session, context.lease)
        problems = load_problems(session, job.problem_set_id, context.lease)
        generates = job.config.sampling.source == "model" and not job.takes_over
        rows = [] if generates else _given(session, job, problems)
        used = drawn_before(session, job, [problem.id for problem in problems])
    context.errors.expect(len(problems), frozenset())
    if generates:
        rows = _generate(context, job, problems, used)
    lost = [row for row in rows if row["problem_id"] in context.errors]
    rows = without(rows, context.errors)
    sampled = len(problems) - len(context.errors.found)
    spared = sampled * job.config.sampling.samples - len(rows) if generates else 0
    for row in rows:
        row |= {"id": new_id("sol"), "job_id": job.id, "shard_id": context.lease.shard_id}

    def write(session: Session) -> None:
        insert_ignore(session, SolutionRow, rows)
        add_counts(session, context.lease, count_samples(len(problems), rows, spared, lost))

    return Finish(Stage.GRADE, write)


def _given(session: Session, job: Job, problems: Sequence[ProblemRow]) -> list[dict[str, Any]]:
    """Solutions that are there already: those of the job that this one extends, or those brought along."""
    if job.takes_over:
        return taken_over(session, job, [problem.id for problem in problems])
    return _brought(session, problems)


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
            **_NO_COMPLETION,
        }
        for problem_id, group in groupby(found, key=lambda row: row.problem_id)
        for index, row in enumerate(group)
    ]


def solve_request(job: Job, question: str, drawn: int, count: int) -> GenerationRequest:
    """``count`` samples behind those already ``drawn``.

    The sample of number n (from ``sampling.first`` on) has the problem's seed plus n, however the samples are cut into
    waves; and that seed depends on the job's and the question, not on ids or positions. So what is drawn in waves is
    the beginning of what is drawn at once.
    """
    sampling = job.config.sampling
    prompt = solve_prompt(question, job.domain, sampling)
    return GenerationRequest(
        prompt,
        n=count,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_tokens=sampling.max_tokens,
        seed=derive_seed(job.config.seed, prompt.version, question) + sampling.first + drawn,
    )


@dataclass
class _Drawn:
    """A problem with its samples so far, and of these those that were judged to decide about a further wave."""

    problem: ProblemRow
    rows: list[dict[str, Any]] = field(default_factory=list)
    judged: list[Sample] = field(default_factory=list)


def _generate(
    context: StageContext, job: Job, problems: Sequence[ProblemRow], used: Mapping[str, Collection[str]]
) -> list[dict[str, Any]]:
    """Wave by wave, all problems of the shard together; a job that draws all its samples at once has one wave.

    ``used``: texts by problem that may not be drawn again. A job that is stopped draws no further wave.
    """
    if job.model is None:
        raise EngineError("the job samples from a language model but names none")
    drawn = [_Drawn(problem) for problem in problems]
    waiting = [(each, first_wave(job.config, job.domain)) for each in drawn]
    errors = context.errors
    limit = sample_limit(job.config)
    context.meter.expect(limit * len(drawn))
    while waiting:
        _draw(context, job, job.model, waiting)
        # Who has all its samples is judged in `grade`: only an open problem's verdicts decide about a further wave.
        open_ = [each for each, _ in waiting if len(each.rows) < limit and each.problem.id not in errors]
        if open_ and _is_stopped(context, job):
            context.meter.spare(sum(limit - len(each.rows) for each in open_))
            break
        _judge(context, job, open_)
        more: list[tuple[_Drawn, int]] = []
        for each in open_:
            with errors.of(each.problem.id):
                texts = used.get(each.problem.id, ())
                more.append((each, next_wave(each.judged, job.config, job.domain, each.problem.question, texts)))
        context.meter.spare(sum(limit - len(each.rows) for each, count in more if not count))
        waiting = [(each, count) for each, count in more if count]
    return [row for each in drawn for row in each.rows]


def _is_stopped(context: StageContext, job: Job) -> bool:
    """Whether the job has reached a limit meanwhile."""
    if not job.config.stop.told:
        return False
    with context.db.look() as session:
        return session.scalar(select(InjectionJob.stopped).where(InjectionJob.id == job.id)) is not None


def _draw(context: StageContext, job: Job, model: ModelSpec, waiting: Sequence[tuple[_Drawn, int]]) -> None:
    asked: list[_Drawn] = []
    requests: list[GenerationRequest] = []
    for each, count in waiting:
        with context.errors.of(each.problem.id):
            requests.append(solve_request(job, each.problem.question, len(each.rows), count))
            asked.append(each)
    owners = [each.problem.id for each in asked]
    answers = generate_solutions(context, model, requests, job.config.thoughts, owners)
    for each, request, result in zip(asked, requests, answers, strict=True):
        before = len(each.rows)
        each.rows += [
            {
                "problem_id": each.problem.id,
                "sample_index": job.config.sampling.first + before + at,
                "source": model.name,
                "text": request.prompt.assistant_prefix + completion.text,
                "label": None,
                "seed": request.seed + at,
                **completion_columns(completion),
                "cached_tokens": completion.cached_tokens,
                **dict.fromkeys(VERDICT_COLUMNS),
            }
            for at, completion in enumerate(result)
        ]


def _judge(context: StageContext, job: Job, drawn: Sequence[_Drawn]) -> None:
    """Judge the samples of a wave. The verdicts are stored, so that ``grade`` need not find them again."""
    new = [(each, row) for each in drawn for row in each.rows[len(each.judged) :]]
    markers = job.config.thoughts.markers
    judgements = judge_texts(context, job.domain, ((each.problem, row["text"]) for each, row in new), markers)
    for (each, row), judgement in zip(new, judgements, strict=True):
        row |= verdict_columns(judgement)
        index, text = row["sample_index"], row["text"]
        each.judged.append(Sample(index, text, judgement.verdict, judgement.extracted, row["finish_reason"]))
