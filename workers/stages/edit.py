"""Stage ``edit``: every offered step of the drawn correct solutions is edited once, on its own, and screened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from errata.arithmetic import strip_marks
from errata.carrying import Reach, carry_step
from errata.echoes import echo
from errata.frames import framing_of_attempt, unit_frame
from errata.injection import PlannedEdit
from errata.kinds import Site, kinds_of
from errata.prompts import edit_prompt, parse_reply, parse_unit_reply
from errata.rule_edits import random_token_edit, rule_edit
from errata.screening import Screening, screen
from errata.seeds import derive_seed
from errata.steps import offered_span, split_steps
from errata.types import Domain, EditorName, Form, Problem, Prompt, Reason, Step
from errata.unit_edits import splice_unit
from errata.units import whole_unit
from models.base import new_id
from models.jobs import EditRow, SolutionRow
from models.session import insert_ignore
from models.states import Stage
from workers.engines.base import Completion, GenerationRequest
from workers.stages.base import Finish, StageContext
from workers.stages.continuations import needs_continuations
from workers.stages.ledger import add_counts, count_edits
from workers.stages.loading import Job, as_problem, load_rows

_DRAFT_COLUMNS = (
    *("kind", "form", "original", "edited", "attempts", "reason"),
    *("prompt_tokens", "completion_tokens", "cached_tokens"),
)


EDITORS: dict[str, EditorName] = {"model": "words", "rules": "rule", "random-token": "random-token"}
"""How an edit's row names its editor, by the job's setting."""


@dataclass
class Draft:
    """One edit on its way: what is edited, every attempt, and the screening of the last one."""

    solution: SolutionRow
    problem: Problem
    steps: Sequence[Step]
    step: Step
    planned: PlannedEdit
    attempts: list[dict[str, Any]] = field(default_factory=list)
    edited: str | None = None
    screening: Screening | None = None
    reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0

    @property
    def kind(self) -> str:
        """The error kind that was planned."""
        return self.planned.kind

    @property
    def form(self) -> str:
        """The form that was planned."""
        return str(self.planned.form)

    @property
    def original(self) -> str:
        """The step's text, separator included."""
        return self.solution.text[self.step.start : self.step.end]


def edit(context: StageContext) -> Finish:
    """Insert one row per edited step, kept or rejected with its reason; steps not offered are counted by reason."""
    loaded = load_rows(context)
    job = loaded.job
    drafts: list[Draft] = []
    skipped: list[str] = []
    for row in loaded.solutions.values():
        if row.role == "correct" and row.plan is not None:
            drafts += _drafts(row, as_problem(loaded.problems[row.problem_id]), job)
            skipped += row.plan["skipped"]
    if job.config.editing.editor == "model":
        _ask_model(context, job, drafts)
    else:
        _apply_rules(job, drafts)
    rows = [_row(context, job, draft) for draft in drafts]
    following = _next(job, drafts)

    def write(session: Session) -> None:
        insert_ignore(session, EditRow, rows)
        add_counts(session, context.lease, count_edits(rows, skipped))

    return Finish(following, write)


def _next(job: Job, drafts: Sequence[Draft]) -> Stage:
    """Where the shard goes: an engine is not asked to continue nothing."""
    screened = [draft for draft in drafts if draft.reason is None]
    if not screened:
        return Stage.PAIR
    asks = any(
        needs_continuations(job, draft.problem, draft.solution.text, draft.step.index, str(draft.edited))
        for draft in screened
    )
    return Stage.CONTINUE if asks else Stage.PROVE


def _drafts(row: SolutionRow, problem: Problem, job: Job) -> list[Draft]:
    """The edits that ``grade`` planned for a drawn solution."""
    steps = split_steps(row.text, job.domain, job.config.thoughts.in_steps)
    planned = [PlannedEdit.from_list(stored, row.text) for stored in (row.plan or {})["edits"]]
    return [Draft(row, problem, steps, steps[edit.step], edit) for edit in planned]


def _ask_model(context: StageContext, job: Job, drafts: Sequence[Draft]) -> None:
    """Ask for all edits at once; one that came back as a no-op is asked again at once with another seed."""
    editing = job.config.editing
    # Greedy decoding would give the same reply again.
    attempts = editing.attempts if editing.temperature > 0 else 1
    if job.editor is None:
        return
    requests = [_request(job, draft, 0) for draft in drafts]

    def take(at: int, completion: Completion) -> GenerationRequest | None:
        draft = drafts[at]
        draft.prompt_tokens += completion.prompt_tokens
        draft.completion_tokens += completion.completion_tokens
        draft.cached_tokens += completion.cached_tokens
        _take(job, draft, completion.text, requests[at])
        if draft.reason != Reason.NO_CHANGE or len(draft.attempts) == attempts:
            return None
        requests[at] = _request(job, draft, len(draft.attempts))
        return requests[at]

    context.generate(job.editor, list(requests), take)


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
        unit=draft.planned.unit,
        config=editing,
        examples=editing.examples_for(job.domain, draft.problem.question),
    )
    framed = framing_of_attempt(editing, attempt) == "framed"
    return GenerationRequest(
        prompt,
        temperature=editing.temperature,
        top_p=editing.top_p,
        max_tokens=editing.max_tokens,
        seed=derive_seed(job.config.seed, prompt.version, draft.solution.text, draft.step.index, draft.kind, attempt),
        frame=_frame(job, draft, prompt) if framed else None,
    )


def _frame(job: Job, draft: Draft, prompt: Prompt) -> str:
    """What a reply is held to, by engines that can."""
    unit = draft.planned.unit or whole_unit(draft.solution.text, draft.step, _offered(job, draft)[0])
    site = Site(draft.solution.text, draft.steps, draft.step.index, draft.problem)
    return unit_frame(site, unit, kinds_of(job.domain)[draft.kind], spaced=prompt.assistant_prefix.endswith(" "))


def _offered(job: Job, draft: Draft) -> tuple[int, int]:
    """Offsets in the solution of what the model is offered: of a long step, its last sentences."""
    if job.domain in (Domain.LOGIC, Domain.CODE):  # a JSON answer and a line of code are no sentences
        return draft.step.body_start, draft.step.end
    return offered_span(draft.solution.text, draft.step, job.config.editing.offered_sentences)


def _take(job: Job, draft: Draft, completion: str, request: GenerationRequest) -> None:
    framed = {} if request.frame is None else {"framed": True}
    draft.attempts.append({"reply": completion, "seed": request.seed, **framed})
    if job.config.editing.layout == "errata":
        _take_unit(job, draft, completion, request)
        return
    start, end = _offered(job, draft)
    label = "" if job.config.editing.layout == "scripts" else draft.solution.text[draft.step.start : start]
    reply = parse_reply(completion, original_step=draft.original, label=label)
    span = (start - draft.step.start, end - draft.step.start)
    reason = reply.reason
    if reply.text is not None:
        reason = _echo(draft, request, reply.text.strip(), draft.original.strip())
    _screen(job, draft, None if reason is not None else reply.text, None if reason is None else str(reason), span)


def _echo(draft: Draft, request: GenerationRequest, reply: str, original: str) -> Reason | None:
    return echo(reply, request.prompt, draft.problem.question, draft.solution.text, original)


def _take_unit(job: Job, draft: Draft, completion: str, request: GenerationRequest) -> None:
    """Splice the reply in at its unit's offsets; in form ``consistent`` the program carries the value on."""
    text, step = draft.solution.text, draft.step
    unit = draft.planned.unit or whole_unit(text, step, _offered(job, draft)[0])
    reply = parse_unit_reply(completion, text, step, unit)
    if reply.text is None:
        _screen(job, draft, None, None if reply.reason is None else str(reply.reason))
        return
    if (echoed := _echo(draft, request, reply.text, strip_marks(text[unit.start : unit.end]))) is not None:
        _screen(job, draft, None, str(echoed))
        return
    made = splice_unit(text, step, unit, reply.text, kinds_of(job.domain)[draft.kind])
    edited, reason = made.text, made.reason
    if edited is not None and edited != draft.original and draft.planned.form is Form.CONSISTENT:
        carried = carry_step(draft.problem.question, text, step.index, edited, "step")
        edited, reason = (None, Reason.NOT_CARRIED) if carried is None else (carried.step, None)
    _screen(job, draft, edited, None if reason is None else str(reason))


def _apply_rules(job: Job, drafts: Sequence[Draft]) -> None:
    for draft in drafts:
        seed = derive_seed(job.config.seed, "rule", draft.solution.text, draft.step.index, draft.kind)
        text, at = draft.solution.text, draft.step.index
        if job.config.editing.editor == "rules":
            plan = draft.planned
            reach: Reach = "end" if job.config.carries_to_end else "step"
            edited = rule_edit(
                text, draft.steps, at, plan.kind, seed, job.domain, draft.problem, plan.unit, plan.form, reach
            )
        else:
            edited = random_token_edit(text, draft.steps, at, seed)
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
        "editor": EDITORS[job.config.editing.editor],
        "step_index": draft.step.index,
        "start": draft.step.start,
        "end": draft.step.end,
        "distance": None if draft.screening is None else draft.screening.distance,
        **{name: getattr(draft, name) for name in _DRAFT_COLUMNS},
    }
