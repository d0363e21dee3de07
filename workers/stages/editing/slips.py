"""The editor ``slip``: errors that the model is itself likely to make, read off one forward pass per solution.

Nothing is asked in words. The model's likeliest other numbers and signs are drawn from its scores of question and
solution; a number that it only begins is completed by it; the program writes, carries and checks the rest.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from errata.arithmetic import strip_marks
from errata.injection import forms_of
from errata.prompts import SLIP_VERSION, solve_prompt
from errata.seeds import derive_seed
from errata.slip_edits import may_follow, may_stand, slip_edit
from errata.slips import KIND_OF, Begun, Slip, completed, find_slips, in_drawn_order
from errata.steps import split_steps
from errata.types import Form, Problem, Prompt, Step
from workers.engines.base import Completion, GenerationRequest, ScoreRequest, Scores
from workers.stages.base import StageContext
from workers.stages.editing.draft import NO_SLIP, Draft, calculates
from workers.stages.loading import Job

_COMPLETED = 4  # numbers of a step that the model is asked to complete, at most
_ENDS = (" ", "\n", "=", ")")  # no number holds these; servers take four strings to stop at
_UNFINISHED = re.compile(r"[\d.,{}]*\Z")


def edit_by_slips(context: StageContext, job: Job, drafts: Sequence[Draft]) -> None:
    """Score every solution once, then try each step's slips in drawn order until one is kept.

    Raises LacksCapability where the model's engine tells no log-probabilities of a given text; nothing is changed then.
    """
    by_solution: dict[str, list[Draft]] = {}
    for draft in drafts:
        by_solution.setdefault(draft.solution.id, []).append(draft)
    groups: list[list[Draft]] = []
    requests: list[ScoreRequest] = []
    for group in by_solution.values() if calculates(job.domain) and job.editor is not None else ():
        with context.errors.of(group[0].solution.problem_id):
            requests.append(_score_request(job, group[0]))
            groups.append(group)
    scores = context.score(job.editor, requests) if requests and job.editor is not None else []
    for draft in drafts:
        draft.ask("slip")
    walks: list[_Walk] = []
    for group, scored in zip(groups, scores, strict=True):
        group[0].spend(scored)  # the pass over the solution, once
        with context.errors.of(group[0].solution.problem_id):
            walks += _walks(job, group, scored)
    _walk_all(context, job, walks)
    for draft in drafts:
        if not draft.kept and draft.solution.problem_id not in context.errors:
            draft.take(job, None, NO_SLIP)
            draft.note(seed=_seed(job, draft))


def _walk_all(context: StageContext, job: Job, walks: Sequence[_Walk]) -> None:
    waiting: list[tuple[_Walk, GenerationRequest]] = []
    for walk in walks:
        with context.errors.of(walk.draft.solution.problem_id):
            request = walk.go()
            waiting += [(walk, request)] if request is not None else []
    if not waiting or job.editor is None:
        return

    def take(at: int, completion: Completion) -> GenerationRequest | None:
        walk, _ = waiting[at]
        walk.draft.spend(completion, completion.completion_tokens)
        with context.errors.of(walk.draft.solution.problem_id):
            return walk.complete(completion)
        return None

    context.generate(job.editor, [request for _, request in waiting], take)


def _score_request(job: Job, draft: Draft) -> ScoreRequest:
    """Question and solution, as if the model had just written it; without marks, from which it would copy."""
    prompt, text = _prompt(job, draft.problem, ""), strip_marks(draft.solution.text)
    return ScoreRequest(prompt, text, job.config.editing.slips.alternatives)


def _prompt(job: Job, problem: Problem, opening: str, stop: tuple[str, ...] = ()) -> Prompt:
    asked = solve_prompt(problem.question, job.domain, job.config.sampling)
    return replace(asked, assistant_prefix=opening, version=SLIP_VERSION, stop=stop)


def _walks(job: Job, group: Sequence[Draft], scored: Scores) -> list[_Walk]:
    """The slips of each step of a solution, in the order in which they are tried."""
    plain = strip_marks(group[0].solution.text)
    steps = split_steps(plain, job.domain, job.config.thoughts.in_steps)
    if len(steps) != len(group[0].steps):  # a mark decided where the text is cut
        return []
    wanted = [steps[draft.step.index] for draft in group]
    config, weights = job.config.editing.slips, _weights(job, group[0])
    found = find_slips(plain, wanted, scored.tokens, config)
    drawn = [
        in_drawn_order([s for s in found if _slip(s).step == draft.step.index], config, _seed(job, draft), weights)
        for draft in group
    ]
    shared = _shared_out(drawn, job.config.editing.max_kind_share)
    return [_Walk(job, draft, plain, wanted, order) for draft, order in zip(group, shared, strict=True)]


def _weights(job: Job, draft: Draft) -> Mapping[str, float] | None:
    """The weights of kinds: the plan's, where the error profile gave them, or else the job's."""
    profiled: Mapping[str, float] | None = (draft.solution.plan or {}).get("weights")
    return profiled or job.config.editing.kinds


def _shared_out(drawn: Sequence[Sequence[Slip | Begun]], share: float) -> list[list[Slip | Begun]]:
    """Each step's order, with slips of its own share of kinds first: no kind above ``share`` where others are left.

    Steps with the least choice of kinds are served first.
    """
    if share == 1:
        return [list(order) for order in drawn]
    cap = max(1, int(share * sum(bool(order) for order in drawn) + 1e-9))
    taken: Counter[str] = Counter()
    shared = [list(order) for order in drawn]
    for at in sorted(range(len(drawn)), key=lambda n: len({_slip(s).kind for s in drawn[n]})):
        kinds = [_slip(s).kind for s in drawn[at]]
        kind = next((kind for kind in kinds if taken[kind] < cap), None)
        if kind is not None:
            taken[kind] += 1
            shared[at] = sorted(drawn[at], key=lambda s, own=kind: _slip(s).kind != own)  # type: ignore[misc]
    return shared


@dataclass
class _Walk:
    """One step's slips, tried one after another. ``plain`` and ``steps`` are those without calculator marks."""

    job: Job
    draft: Draft
    plain: str
    steps: Sequence[Step]
    order: Sequence[Slip | Begun]
    at: int = 0
    wholes: dict[Begun, Slip | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Every slip in the planned form first, then in the other one that the job allows."""
        allowed = forms_of(self.job.config, self.job.domain)
        first = self.draft.planned.form
        forms = [form for form in (first, *(form for form in Form if form is not first)) if form in allowed]
        self.turns = [(form, slip) for form in forms for slip in self.order if self._fits(form, slip)]

    def _fits(self, form: Form, slip: Slip | Begun) -> bool:
        return form is Form.CONSISTENT or may_stand(slip)

    def go(self) -> GenerationRequest | None:
        """Try on until a slip is kept or none is left; or ask the model to complete the number that is next."""
        while self.at < len(self.turns):
            form, found = self.turns[self.at]
            if isinstance(found, Begun) and found not in self.wholes:
                if len(self.wholes) < _COMPLETED and self._is_worth(form, found):
                    return self._request(found)
                self.at += 1
                continue
            whole = self.wholes[found] if isinstance(found, Begun) else found
            self.at += 1
            if whole is not None and self._try(whole, form):
                return None
        return None

    def complete(self, completion: Completion) -> GenerationRequest | None:
        """Take the completed number, and go on."""
        _, found = self.turns[self.at]
        assert isinstance(found, Begun)
        cut = completion.finish_reason == "length" and _UNFINISHED.match(completion.text)
        self.wholes[found] = None if cut else completed(self.plain, self.steps, found, completion.text)
        return self.go()

    def _is_worth(self, form: Form, found: Begun) -> bool:
        return form is Form.STANDS or may_follow(self.draft.problem, self.draft.solution.text, found)

    def _request(self, found: Begun) -> GenerationRequest:
        room = len(found.slip.old) - len(found.slip.new) + 2  # one digit more than it had, and what ends it
        prompt = _prompt(self.job, self.draft.problem, found.opening, _ENDS)
        return GenerationRequest(prompt, max_tokens=max(room, 2), seed=_seed(self.job, self.draft))

    def _try(self, slip: Slip, form: Form) -> bool:
        draft, job = self.draft, self.job
        edited = slip_edit(draft.problem, draft.solution.text, draft.step, slip, form, job.config.reach)
        if edited is None:
            return False
        planned = draft.planned
        draft.planned = replace(planned, kind=KIND_OF[slip.position], form=form)
        if not draft.take(job, edited, None):
            draft.planned = planned
            return False
        draft.tallies[-1].kind = draft.kind  # a slip is of the kind that it turns out to be
        told = {"old": slip.old, "new": slip.new, "position": slip.position, "probability": slip.probability}
        draft.note(seed=_seed(job, draft), version=SLIP_VERSION, slip=told)
        return True


def _slip(found: Slip | Begun) -> Slip:
    return found.slip if isinstance(found, Begun) else found


def _seed(job: Job, draft: Draft) -> int:
    return derive_seed(job.config.seed, "slip", draft.solution.text, draft.step.index)
