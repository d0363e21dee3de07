"""The editors that ask no model: a kind's rule, and the control that replaces a token at random."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from errata.injection import PlannedEdit, other_edits
from errata.kinds import Site
from errata.rule_edits import random_token_edit, rule_edit
from errata.seeds import derive_seed
from workers.stages.base import StageContext
from workers.stages.editing.draft import NO_RULE, Draft
from workers.stages.loading import Job


def edit_by_rules(context: StageContext, job: Job, drafts: Sequence[Draft]) -> None:
    """Each edit by the rule of its kind. Behind another editor, by the first kind whose edit is kept."""
    behind = job.config.editing.editor != "rules"
    for draft in drafts:
        if draft.solution.problem_id in context.errors:
            continue
        draft.ask("rule")
        with context.errors.of(draft.solution.problem_id):
            for planned in _plans(job, draft, behind):
                draft.planned = planned
                draft.tallies[-1].kind = draft.kind
                if _by_rule(job, draft):
                    break


def edit_at_random(context: StageContext, job: Job, drafts: Sequence[Draft]) -> None:
    """The control: one token of each step is another token of its solution."""
    for draft in drafts:
        if draft.solution.problem_id in context.errors:
            continue
        draft.ask("random-token")
        with context.errors.of(draft.solution.problem_id):
            seed = _seed(job, draft)
            edited = random_token_edit(draft.solution.text, draft.steps, draft.step.index, seed)
            draft.take(job, edited, None if edited is not None else NO_RULE)
            draft.note(seed=seed)


def _plans(job: Job, draft: Draft, behind: bool) -> Iterator[PlannedEdit]:
    planned = draft.planned
    yield planned
    if behind:
        site = Site(draft.solution.text, draft.steps, draft.step.index, draft.problem)
        others = other_edits(site, job.config, job.domain, _seed(job, draft))
        yield from (other for other in others if other != planned)


def _by_rule(job: Job, draft: Draft) -> bool:
    plan, seed = draft.planned, _seed(job, draft)
    reach = job.config.reach
    edited = rule_edit(
        draft.solution.text, draft.steps, draft.step.index, plan.kind, seed, job.domain, draft.problem, plan.unit,
        plan.form, reach,
    )  # fmt: skip
    kept = draft.take(job, edited, None if edited is not None else NO_RULE)
    draft.note(seed=seed)
    return kept


def _seed(job: Job, draft: Draft) -> int:
    return derive_seed(job.config.seed, "rule", draft.solution.text, draft.step.index, draft.kind)
