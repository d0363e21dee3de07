"""The editor ``words``: a language model is asked for each edit, and asked again where its reply is no usable error."""

from __future__ import annotations

from collections.abc import Sequence

from errata.arithmetic import strip_marks
from errata.carrying import carry_step
from errata.echoes import echo
from errata.frames import framing_of_attempt, unit_frame
from errata.kinds import Site, kinds_of
from errata.prompts import edit_prompt, parse_reply, parse_unit_reply
from errata.seeds import derive_seed
from errata.steps import offered_span
from errata.types import Domain, Form, Prompt, Reason
from errata.unit_edits import splice_unit, step_is_of_kind
from errata.units import whole_unit
from workers.engines.base import Completion, GenerationRequest
from workers.stages.base import StageContext
from workers.stages.editing.draft import Draft
from workers.stages.loading import Job


def edit_in_words(context: StageContext, job: Job, drafts: Sequence[Draft]) -> None:
    """Ask for all edits at once; one that is rejected, for whatever reason, is asked for again with another seed."""
    editing = job.config.editing
    # Greedy decoding would give the same reply again.
    attempts = editing.attempts if editing.temperature > 0 else 1
    if job.editor is None:
        return
    asked: list[Draft] = []
    requests: list[GenerationRequest] = []
    for draft in drafts:
        draft.ask("words")
        with context.errors.of(draft.solution.problem_id):
            requests.append(_request(job, draft, 0))
            asked.append(draft)

    def take(at: int, completion: Completion) -> GenerationRequest | None:
        draft = asked[at]
        draft.spend(completion, completion.completion_tokens)
        with context.errors.of(draft.solution.problem_id):
            return go_on(at, draft, completion)
        return None

    def go_on(at: int, draft: Draft, completion: Completion) -> GenerationRequest | None:
        request, attempt = requests[at], draft.tallies[-1].attempts
        kept = _take(job, draft, completion.text, request)
        framed = {} if request.frame is None else {"framed": True}
        draft.note(reply=completion.text, seed=request.seed, version=request.prompt.version, **framed)
        if kept:
            context.meter.settle(attempt + 1)
        if kept or attempt + 1 == attempts:
            return None
        requests[at] = _request(job, draft, attempt + 1)
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


def _take(job: Job, draft: Draft, completion: str, request: GenerationRequest) -> bool:
    """Read a reply; whether it holds an edit that is kept."""
    layout = job.config.editing.layout
    if layout == "errata":
        return _take_unit(job, draft, completion, request)
    start, end = _offered(job, draft)
    label = "" if layout == "scripts" else draft.solution.text[draft.step.start : start]
    reply = parse_reply(completion, original_step=draft.original, label=label)
    span = (start - draft.step.start, end - draft.step.start)
    reason = reply.reason
    if reply.text is not None:
        reason = _echo(draft, request, reply.text.strip(), draft.original.strip())
        kind = kinds_of(job.domain)[draft.kind]
        if reason is None and job.config.screening.wrong_kind and reply.text != draft.original:
            fits = step_is_of_kind(kind, draft.original, reply.text, draft.planned.form)
            reason = None if fits else Reason.NOT_THE_KIND
    return draft.take(job, None if reason else reply.text, None if reason is None else str(reason), span)


def _echo(draft: Draft, request: GenerationRequest, reply: str, original: str) -> Reason | None:
    return echo(reply, request.prompt, draft.problem.question, draft.solution.text, original)


def _take_unit(job: Job, draft: Draft, completion: str, request: GenerationRequest) -> bool:
    """Splice the reply in at its unit's offsets; in form ``consistent`` the program carries the value on."""
    text, step = draft.solution.text, draft.step
    unit = draft.planned.unit or whole_unit(text, step, _offered(job, draft)[0])
    reply = parse_unit_reply(completion, text, step, unit)
    if reply.text is None:
        return draft.take(job, None, None if reply.reason is None else str(reply.reason))
    if (echoed := _echo(draft, request, reply.text, strip_marks(text[unit.start : unit.end]))) is not None:
        return draft.take(job, None, str(echoed))
    made = splice_unit(text, step, unit, reply.text, kinds_of(job.domain)[draft.kind])
    edited, reason = made.text, made.reason
    if edited is not None and edited != draft.original and draft.planned.form is Form.CONSISTENT:
        carried = carry_step(draft.problem.question, text, step.index, edited, "step")
        edited, reason = (None, Reason.NOT_CARRIED) if carried is None else (carried.step, None)
    return draft.take(job, edited, None if reason is None else str(reason))
