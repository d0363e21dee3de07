"""The editor ``mined``: the model writes a step anew, several times, and what it writes wrong becomes the edit.

The prompt is the solver's own, opened with the solution up to the step's label, so all samples of a solution share
their prefixes in the engine's cache. Nothing is said of errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from errata.mined import Resampled, as_step, read_samples, stop_of
from errata.prompts import MINED_VERSION, solve_prompt
from errata.seeds import derive_seed
from errata.types import Form, Reason
from workers.engines.base import Completion, GenerationRequest
from workers.stages.base import StageContext
from workers.stages.editing.draft import Draft, calculates
from workers.stages.loading import Job


def edit_by_mining(context: StageContext, job: Job, drafts: Sequence[Draft]) -> None:
    """Sample every step ``editing.mined.k`` times; of each take the most frequent sample that can be wrong."""
    asked: list[Draft] = []
    requests: list[GenerationRequest] = []
    for draft in drafts:
        draft.ask("mined")
        if calculates(job.domain) and job.editor is not None:
            with context.errors.of(draft.solution.problem_id):
                requests.append(_request(job, draft))
                asked.append(draft)
    found = context.generate(job.editor, requests) if requests and job.editor is not None else []
    for draft, request, completions in zip(asked, requests, found, strict=True):
        for completion in completions:
            draft.spend(completion, completion.completion_tokens)
        with context.errors.of(draft.solution.problem_id):
            _take(job, draft, request, _read(job, draft, completions))
    for draft in drafts:
        if not draft.attempts and draft.solution.problem_id not in context.errors:
            draft.take(job, None, str(Reason.NO_MINED))
            draft.note(seed=_seed(job, draft))


def _request(job: Job, draft: Draft) -> GenerationRequest:
    config, solution = job.config.editing.mined, draft.solution.text
    prompt = solve_prompt(draft.problem.question, job.domain, job.config.sampling)
    return GenerationRequest(
        replace(prompt, assistant_prefix=solution[: draft.step.body_start], version=MINED_VERSION),
        n=config.k,
        temperature=config.temperature,
        top_p=config.top_p,
        max_tokens=config.max_tokens,
        stop=stop_of(draft.original),
        seed=_seed(job, draft),
    )


def _read(job: Job, draft: Draft, completions: Sequence[Completion]) -> Resampled:
    thoughts = job.config.thoughts.in_steps
    samples = [
        # One that was cut may lack what would have made it right.
        None
        if completion.finish_reason == "length"
        else as_step(draft.solution.text, draft.steps, draft.step.index, completion.text, thoughts)
        for completion in completions
    ]
    return read_samples(draft.original, draft.problem.question, samples, _weights(job, draft))


def _weights(job: Job, draft: Draft) -> Mapping[str, float] | None:
    profiled: Mapping[str, float] | None = (draft.solution.plan or {}).get("weights")
    return profiled or job.config.editing.kinds


def _take(job: Job, draft: Draft, request: GenerationRequest, found: Resampled) -> None:
    """Try the candidates in their order until one is kept; the last one tried stays, with the reason against it."""
    for at, candidate in enumerate(found.candidates):
        draft.chosen = candidate.chosen
        form = Form.STANDS if candidate.false else Form.CONSISTENT
        draft.planned = replace(draft.planned, kind=candidate.kind, form=form)
        draft.tallies[-1].kind = candidate.kind
        kept = draft.take(job, candidate.text, None)
        draft.note(**_told(request, found, at), reply=candidate.text)
        if kept:
            return
    if not found.candidates:
        draft.take(job, None, str(Reason.NO_MINED))
        draft.note(**_told(request, found, 0))


def _told(request: GenerationRequest, found: Resampled, at: int) -> dict[str, Any]:
    return {"seed": request.seed, "version": MINED_VERSION, "mined": found.counts(at)}


def _seed(job: Job, draft: Draft) -> int:
    return derive_seed(job.config.seed, MINED_VERSION, draft.solution.text, draft.step.index)
