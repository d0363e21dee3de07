"""Stage ``edit``: every offered step of the drawn correct solutions is edited once, on its own, and screened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from errata import injection
from errata.profile import ErrorProfile, error_profile
from errata.prompts import EDIT_VERSIONS, edit_prompt
from errata.reasons import Reason
from errata.replies import parse_reply
from errata.screening import Screening, screen
from errata.seeds import derive_seed
from errata.selection import Sample
from errata.steps import offered_span, split_steps
from errata.types import Domain, Problem, Step, Verdict
from models.base import new_id
from models.jobs import EditRow, SolutionRow
from models.problems import ProblemRow
from models.states import Stage
from models.upserts import insert_ignore
from workers.engines.base import GenerationRequest
from workers.stages.base import Finish, StageContext
from workers.stages.ledger import add_edits, add_profile
from workers.stages.loading import Job, as_problem, load_job, load_problems, load_solutions


@dataclass
class Draft:
    """One edit on its way: what is edited, every attempt, and the screening of the last one."""

    solution: SolutionRow
    problem: Problem
    steps: Sequence[Step]
    step: Step
    kind: str
    attempts: list[dict[str, Any]] = field(default_factory=list)
    edited: str | None = None
    screening: Screening | None = None
    reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0

    @property
    def original(self) -> str:
        """The step's text, separator included."""
        return self.solution.text[self.step.start : self.step.end]


def edit(context: StageContext) -> Finish:
    """Insert one row per edited step, kept or rejected with its reason; steps not offered are counted by reason."""
    with context.db.read() as session:
        job = load_job(session, context.lease)
        problems = {p.id: p for p in load_problems(session, job.problem_set_id, context.lease)}
        solutions = load_solutions(session, context.lease)
    drawn = [row for row in solutions if row.role == "correct"]
    profile = _profile(job, problems, solutions)
    drafts: list[Draft] = []
    skipped: list[str] = []
    for row in drawn:
        planned, reasons = _plan(job, row, problems[row.problem_id], profile)
        drafts += planned
        skipped += reasons
    if job.config.editing.editor == "model":
        _ask_model(context, job, drafts)
    else:
        _apply_rules(job, drafts)
    rows = [_row(context, job, draft) for draft in drafts]
    kept = any(draft.reason is None for draft in drafts)

    def write(session: Session) -> None:
        insert_ignore(session, EditRow, rows)
        add_edits(session, context.lease, rows, skipped)
        if profile is not None:
            add_profile(session, context.lease, profile)

    return Finish(_next(job) if kept else Stage.PAIR, write)


def _next(job: Job) -> Stage:
    if job.domain in (Domain.LOGIC, Domain.CODE):
        return Stage.PROVE  # their verifier decides: continuations would add nothing
    asks = job.config.proof.continuations.when != "never" or job.config.proof.mode == "dynamic"
    return Stage.CONTINUE if asks else Stage.PROVE


def _profile(job: Job, problems: dict[str, ProblemRow], solutions: Sequence[SolutionRow]) -> ErrorProfile | None:
    """First errors of the shard's own wrong samples, where the job asks for their mix; arithmetic domains only."""
    if job.config.editing.mix != "profile" or job.domain not in (Domain.MATH, Domain.CHOICE):
        return None
    samples: dict[str, list[Sample]] = {problem_id: [] for problem_id in problems}
    for row in solutions:
        samples[row.problem_id].append(Sample(row.sample_index, row.text, Verdict(row.verdict or ""), row.extracted))
    return error_profile((samples[problem.id], problem.gold_solution) for problem in problems.values())


def _weights(job: Job, profile: ErrorProfile) -> dict[str, float]:
    """The profile's shares, of the kinds the job allows and times the weights it gives them."""
    given = job.config.editing.kinds
    return {kind: share * (1 if given is None else given.get(kind, 0)) for kind, share in profile.weights().items()}


def _plan(
    job: Job, row: SolutionRow, problem: ProblemRow, profile: ErrorProfile | None
) -> tuple[list[Draft], list[str]]:
    steps = split_steps(row.text, job.domain)
    seed = derive_seed(job.config.seed, "plan", problem.question, row.text)
    weights = None if profile is None else _weights(job, profile)
    plan = injection.plan_edits(row.text, steps, job.config, job.domain, seed, as_problem(problem), weights)
    drafts = [Draft(row, as_problem(problem), steps, steps[at], kind) for at, kind in plan.edits]
    return drafts, [str(reason) for reason in plan.skipped.values()]


def _ask_model(context: StageContext, job: Job, drafts: Sequence[Draft]) -> None:
    """Ask in rounds: all edits at once, then those that came back as no-ops again with another seed."""
    editing = job.config.editing
    attempts = editing.attempts if editing.temperature > 0 else 1
    waiting = list(drafts)
    for attempt in range(attempts):
        if not waiting or job.model is None:
            return
        requests = [_request(job, draft, attempt) for draft in waiting]
        results = context.generate(job.model, requests)
        for draft, request, [completion] in zip(waiting, requests, results, strict=True):
            draft.prompt_tokens += completion.prompt_tokens
            draft.completion_tokens += completion.completion_tokens
            draft.cached_tokens += completion.cached_tokens
            _take(job, draft, completion.text, request)
        waiting = [draft for draft in waiting if draft.reason == Reason.NO_CHANGE]


def _request(job: Job, draft: Draft, attempt: int) -> GenerationRequest:
    editing = job.config.editing
    prompt = edit_prompt(
        draft.problem.question,
        draft.solution.text,
        draft.steps,
        draft.step.index,
        draft.kind,
        domain=job.domain,
        layout=editing.layout,
        offered=_offered(job, draft)[0],
    )
    version = EDIT_VERSIONS[editing.layout]
    return GenerationRequest(
        prompt,
        temperature=editing.temperature,
        top_p=editing.top_p,
        max_tokens=editing.max_tokens,
        seed=derive_seed(job.config.seed, version, draft.solution.text, draft.step.index, draft.kind, attempt),
    )


def _offered(job: Job, draft: Draft) -> tuple[int, int]:
    """Offsets in the solution of what the model is offered: of a long step, its last sentences."""
    if job.domain in (Domain.LOGIC, Domain.CODE):  # a JSON answer and a line of code are no sentences
        return draft.step.body_start, draft.step.end
    return offered_span(draft.solution.text, draft.step, job.config.editing.offered_sentences)


def _take(job: Job, draft: Draft, completion: str, request: GenerationRequest) -> None:
    start, end = _offered(job, draft)
    label = "" if job.config.editing.layout == "scripts" else draft.solution.text[draft.step.start : start]
    reply = parse_reply(completion, original_step=draft.original, label=label)
    draft.attempts.append({"reply": completion, "seed": request.seed})
    span = (start - draft.step.start, end - draft.step.start)
    _screen(job, draft, reply.text, None if reply.reason is None else str(reply.reason), span)


def _apply_rules(job: Job, drafts: Sequence[Draft]) -> None:
    for draft in drafts:
        seed = derive_seed(job.config.seed, "rule", draft.solution.text, draft.step.index, draft.kind)
        text, at = draft.solution.text, draft.step.index
        if job.config.editing.editor == "rules":
            edited = injection.rule_edit(text, draft.steps, at, draft.kind, seed, job.domain, draft.problem)
        else:
            edited = injection.random_token_edit(text, draft.steps, at, seed)
        draft.attempts.append({"seed": seed})
        _screen(job, draft, edited, None if edited is not None else str(Reason.NO_RULE_EDIT))


def _screen(
    job: Job, draft: Draft, edited: str | None, reason: str | None, span: tuple[int, int] | None = None
) -> None:
    draft.edited, draft.reason = edited, reason
    if edited is None:
        return
    draft.screening = screen(draft.original, edited, draft.problem.question, job.config.screening, span)
    draft.reason = None if draft.screening.kept else str(draft.screening.reason)


def _row(context: StageContext, job: Job, draft: Draft) -> dict[str, Any]:
    return {
        "id": new_id("edit"),
        "job_id": job.id,
        "shard_id": context.lease.shard_id,
        "solution_id": draft.solution.id,
        "problem_id": draft.solution.problem_id,
        "step_index": draft.step.index,
        "kind": draft.kind,
        "start": draft.step.start,
        "end": draft.step.end,
        "original": draft.original,
        "edited": draft.edited,
        "attempts": draft.attempts,
        "prompt_tokens": draft.prompt_tokens,
        "completion_tokens": draft.completion_tokens,
        "cached_tokens": draft.cached_tokens,
        "distance": None if draft.screening is None else draft.screening.distance,
        "reason": draft.reason,
    }
