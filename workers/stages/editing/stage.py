"""Stage ``edit``: every offered step of the drawn correct solutions is edited once, on its own, and screened."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sqlalchemy.orm import Session

from errata.types import EditorName, Reason
from models.jobs import EditRow
from models.session import insert_ignore
from models.states import Stage
from workers.engines.base import LacksCapability
from workers.stages.base import Finish, StageContext
from workers.stages.continuations import is_measured, needs_continuations
from workers.stages.editing.draft import Draft, calculates, drafts_of
from workers.stages.editing.mined import edit_by_mining
from workers.stages.editing.rules import edit_at_random, edit_by_rules
from workers.stages.editing.slips import edit_by_slips
from workers.stages.editing.words import edit_in_words
from workers.stages.ledger import add_counts, count_edits, record_editor_unavailable
from workers.stages.loading import Job, as_problem, load_rows

Editor = Callable[[StageContext, Job, Sequence[Draft]], None]
_EDITORS: Mapping[EditorName, Editor] = {
    "words": edit_in_words,
    "slip": edit_by_slips,
    "mined": edit_by_mining,
    "rule": edit_by_rules,
    "random-token": edit_at_random,
}


def edit(context: StageContext) -> Finish:
    """Insert one row per edited step, kept or rejected with its reason; steps not offered are counted by reason."""
    loaded = load_rows(context)
    job = loaded.job
    drafts: list[Draft] = []
    skipped: list[str] = []
    for row in loaded.solutions.values():
        if row.role == "correct" and row.plan is not None:
            planned: Sequence[Draft] = ()
            with context.errors.of(row.problem_id):
                planned = drafts_of(row, as_problem(loaded.problems[row.problem_id]), job)
            skipped += row.plan["skipped"]
            skipped += [str(Reason.ERROR)] * (len(row.plan["edits"]) - len(planned))
            if job.stopped:  # nothing more is spent: the solutions are there, and a further job may edit them
                skipped += [str(Reason.STOPPED)] * len(planned)
            else:
                drafts += planned
    missing = _ask_editors(context, job, drafts)
    following = _next(context, job, drafts)
    # Of a problem set aside, steps that no editor was asked for have no edit.
    skipped += [str(Reason.ERROR)] * sum(not draft.tallies for draft in drafts)
    drafts = [draft for draft in drafts if draft.tallies]
    for draft in drafts:
        if draft.solution.problem_id in context.errors:
            draft.reason = str(Reason.ERROR)
    rows = [draft.row(job.id, context.lease.shard_id) for draft in drafts]
    tallies = [draft.tallies for draft in drafts]

    def write(session: Session) -> None:
        insert_ignore(session, EditRow, rows)
        add_counts(session, context.lease, count_edits(rows, skipped, tallies))
        for editor, why in missing.items():
            record_editor_unavailable(session, context.lease, editor, why)

    return Finish(following, write)


def _ask_editors(context: StageContext, job: Job, drafts: Sequence[Draft]) -> dict[EditorName, str]:
    """Ask one editor after another for the edits that are not kept yet; why some could not be asked.

    Raises LacksCapability where that leaves no editor at all.
    """
    missing: dict[EditorName, str] = {}
    first, *behind = job.config.editing.editors
    editors = [first, *(editor for editor in behind if editor != "slip" or calculates(job.domain))]
    in_words = first == "words" and job.config.editing.temperature > 0
    context.meter.expect(len(drafts), job.config.editing.attempts if in_words else 2)
    for editor in editors:
        waiting = _in_work(context, [draft for draft in drafts if not draft.kept])
        if not waiting:
            break
        try:
            _EDITORS[editor](context, job, waiting)
        except LacksCapability as error:
            missing[editor] = str(error)
            if len(missing) == len(editors):
                raise
        for draft in waiting:
            # Those that are kept in words are settled as their replies come.
            if editor != "words" if draft.kept else editor == editors[-1]:
                context.meter.settle(0)
    return missing


def _in_work(context: StageContext, drafts: Sequence[Draft]) -> list[Draft]:
    """Those of problems that are not set aside."""
    return [draft for draft in drafts if draft.solution.problem_id not in context.errors]


def _next(context: StageContext, job: Job, drafts: Sequence[Draft]) -> Stage:
    """Where the shard goes: an engine is not asked to continue nothing."""
    asks = False
    for draft in _in_work(context, [draft for draft in drafts if draft.reason is None]):
        with context.errors.of(draft.solution.problem_id):
            of = (draft.text, draft.step.index, draft.original, str(draft.edited), draft.tallies[-1].editor)
            asks = asks or is_measured(job, of[-1]) or needs_continuations(job, draft.problem, *of)
    if not _in_work(context, [draft for draft in drafts if draft.reason is None]):
        return Stage.PAIR
    return Stage.CONTINUE if asks else Stage.PROVE
