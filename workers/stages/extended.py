"""What a job that extends another one knows of it: solutions it takes over, and what was drawn and edited before.

Looked up among the jobs that belong together: the job that was extended first, its extensions and retries, and theirs.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from errata.injection import EditPlan
from errata.seeds import derive_seed
from errata.types import Reason
from models.extensions import family
from models.jobs import EditRow, Shard, SolutionRow
from models.states import ShardState
from workers.stages.loading import VERDICT_COLUMNS, Job

_KEPT = ("problem_id", "sample_index", "source", "text", "label", "seed", "finish_reason", *VERDICT_COLUMNS)
_NOT_SPENT = {"prompt_tokens": 0, "completion_tokens": 0, "cached_tokens": 0}


def taken_over(session: Session, job: Job, problem_ids: Iterable[str]) -> list[dict[str, Any]]:
    """Rows of the solutions that the extended job drew, with their verdicts; their tokens were spent there."""
    query = (
        select(SolutionRow)
        .join(Shard, SolutionRow.shard_id == Shard.id)
        .where(SolutionRow.job_id == job.extends, SolutionRow.role.is_not(None), Shard.state == ShardState.DONE)
        .where(SolutionRow.problem_id.in_(list(problem_ids)))
        .order_by(SolutionRow.problem_id, SolutionRow.sample_index)
    )
    return [{**{name: getattr(row, name) for name in _KEPT}, **_NOT_SPENT} for row in session.scalars(query)]


def drawn_before(session: Session, job: Job, problem_ids: Iterable[str]) -> dict[str, set[str]]:
    """Texts of solutions that the jobs before this one drew, by problem. Empty where this one takes them over."""
    texts: dict[str, set[str]] = defaultdict(set)
    if job.extends is None or job.takes_over:
        return texts
    query = select(SolutionRow.problem_id, SolutionRow.text).where(
        SolutionRow.job_id.in_(_others(session, job)),
        SolutionRow.role.is_not(None),
        SolutionRow.problem_id.in_(list(problem_ids)),
    )
    for problem_id, text in session.execute(query):
        texts[problem_id].add(text)
    return texts


def edited_before(session: Session, job: Job, solution_ids: Iterable[str]) -> dict[str, set[int]]:
    """Steps that the jobs before this one edited, by this job's solution of the same text."""
    mine = select(SolutionRow).where(SolutionRow.id.in_(list(solution_ids)))
    named = {(row.problem_id, row.text): row.id for row in session.scalars(mine)}
    query = (
        select(SolutionRow.problem_id, SolutionRow.text, EditRow.step_index)
        .join(EditRow, EditRow.solution_id == SolutionRow.id)
        .where(EditRow.job_id.in_(_others(session, job)), EditRow.problem_id.in_([key[0] for key in named]))
    )
    steps: dict[str, set[int]] = defaultdict(set)
    for problem_id, text, step in session.execute(query):
        if (problem_id, text) in named:
            steps[named[problem_id, text]].add(step)
    return steps


def remaining_plan(plan: EditPlan, before: Collection[int], limit: int | None, seed: int) -> EditPlan:
    """What is left of a plan of all steps: up to ``limit`` edits together with the steps edited before."""
    left = [edit for edit in plan.edits if edit.step not in before]
    skipped = dict(plan.skipped) | {edit.step: Reason.EDITED_BEFORE for edit in plan.edits if edit.step in before}
    room = len(left) if limit is None else max(0, limit - len(before))
    kept = set(random.Random(derive_seed(seed, "extend")).sample([edit.step for edit in left], min(room, len(left))))
    skipped |= {edit.step: Reason.OVER_QUOTA for edit in left if edit.step not in kept}
    return EditPlan(tuple(edit for edit in left if edit.step in kept), skipped)


def _others(session: Session, job: Job) -> Sequence[str]:
    return [id_ for id_ in family(session, job.id) if id_ != job.id]
