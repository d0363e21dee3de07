"""Stage ``pair``: proven edits become step pairs, drawn solutions a full pair; the funnel must add up."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from errata.config import EDITORS
from errata.mined import error_rate
from errata.pairs import PairDraft, choose, full_pair, step_pair
from errata.prompts import edit_version_of, solve_version
from errata.seeds import derive_seed
from errata.types import Evidence, EvidenceKind, Reason
from models.base import new_id
from models.jobs import EditRow, PairRow, SolutionRow
from models.session import insert_ignore, update_by_key
from models.workspaces import ProblemRow
from workers.stages.base import Finish, StageContext
from workers.stages.ledger import add_counts, count_pairs, counts_of, drop_edits
from workers.stages.loading import Job, load_rows
from workers.stages.rests import MadePair, find_rests

_DRAFT_COLUMNS = (
    *("type", "question", "prefix", "chosen", "rejected"),
    *("step_index", "start", "end", "error_kind", "distance"),
)
_BY_MODEL = ("words", "slip", "mined")
_BOX = re.compile(r"\\boxed\{([^{}]*)\}")


def pair(context: StageContext) -> Finish:
    """Insert the shard's pairs under keys unique in the job. Raises FunnelError if anything went uncounted."""
    loaded = load_rows(context)
    job, edits = loaded.job, loaded.edits
    drawn: dict[str, dict[str, SolutionRow]] = defaultdict(dict)
    for solution in loaded.solutions.values():
        if solution.role:
            drawn[solution.problem_id][solution.role] = solution
    problems = list(loaded.problems.values())
    by_problem: dict[str, list[EditRow]] = defaultdict(list)
    for edit in edits:
        by_problem[edit.problem_id].append(edit)
    made: list[MadePair] = []
    dropped: list[EditRow] = []
    for problem in problems:
        mine = by_problem[problem.id]
        with context.errors.of(problem.id):
            chosen = _choose(job, problem, mine)
            made += _pairs_of(job, problem, drawn[problem.id], [edit for edit in mine if edit.id in chosen])
            dropped += [edit for edit in mine if edit.id not in chosen]
    rests = find_rests(context, job.domain, job.config.thoughts.markers, made, context.errors)
    owner = {"workspace_id": job.workspace_id, "job_id": job.id, "shard_id": context.lease.shard_id}
    rows = [
        {"id": new_id("pair"), **owner, **pair.columns, "rest": rest.as_dict()}
        for pair, rest in zip(made, rests, strict=True)
        if rest is not None and pair.problem.id not in context.errors
    ]
    dropped = [edit for edit in dropped if edit.problem_id not in context.errors]
    failed = [edit for edit in edits if edit.problem_id in context.errors]

    def write(session: Session) -> None:
        insert_ignore(session, PairRow, rows)
        update_by_key(session, EditRow, [{"id": edit.id, "reason": str(Reason.NOT_CHOSEN)} for edit in dropped])
        add_counts(session, context.lease, count_pairs(rows, dropped))
        drop_edits(session, context.lease, failed)
        # In the transaction: a shard whose counts do not add up writes nothing and fails.
        counts_of(session, context.lease).check()

    return Finish(None, write)


def _choose(job: Job, problem: ProblemRow, edits: Sequence[EditRow]) -> set[str]:
    """Which proven edits of a problem become pairs: at most N, drawn with a stream of the problem's own."""
    if not job.config.pairs.step:
        return set()
    limit, share = job.config.pairs.step_pairs_per_problem, job.config.editing.max_kind_share
    # By its question, not its id or place: the same problem in another set or job has the same draw.
    seed = derive_seed(job.config.seed, "choose", problem.question)
    return set(choose([(edit.id, edit.kind) for edit in edits], limit=limit, max_kind_share=share, seed=seed))


def _pairs_of(
    job: Job, problem: ProblemRow, roles: Mapping[str, SolutionRow], edits: Sequence[EditRow]
) -> list[MadePair]:
    """The pairs of a problem: one per edit, and the full one where the job wants it and both solutions are there."""
    made = []
    for edit in edits:
        correct = roles["correct"]
        made.append(MadePair(_step_row(job, problem, correct, edit), problem, correct, edit=edit))
    if job.config.pairs.full and {"correct", "incorrect"} <= roles.keys():
        correct, incorrect = roles["correct"], roles["incorrect"]
        made.append(MadePair(_full_row(job, problem, correct, incorrect), problem, correct, incorrect))
    return made


def _step_row(job: Job, problem: ProblemRow, solution: SolutionRow, edit: EditRow) -> dict[str, Any]:
    kind = EvidenceKind(edit.evidence_kind or EvidenceKind.UNPROVEN)
    rest = (edit.continuations or {}).get("rest")
    draft = step_pair(
        problem.question,
        edit.within(solution.text),
        edit.start,
        edit.start + len(edit.original),
        _stripped(str(edit.edited)) if job.config.screening.strip_boxed_from_rejected else str(edit.edited),
        step_index=edit.step_index,
        error_kind=edit.kind,
        distance=edit.distance or 0,
        evidence=Evidence(kind, dict(edit.evidence or {})),
        rest=(rest[0], rest[1]) if rest else ("", ""),
    )
    editor = edit.editor or EDITORS[job.config.editing.editor]  # null: of a version that did not tell them apart
    by_model = editor in _BY_MODEL
    return {
        **_columns(draft),
        "end": edit.end,  # in the drawn solution, whose step a mined error's chosen side may replace
        "problem_id": problem.id,
        "solution_id": solution.id,
        "rejected_solution_id": None,
        "edit_id": edit.id,
        "form": edit.form,
        "editor": edit.editor,
        "pair_key": f"step:{solution.id}:{edit.step_index}:{edit.kind}",
        "source": "mined" if editor == "mined" else solution.source,
        "error_rate": _error_rate(edit),
        "language_model": job.editor.name if by_model and job.editor else None,
        "prompt_version": _version(job, edit, editor),
        "seed": edit.attempts[-1]["seed"] if edit.attempts else None,
    }


def _error_rate(edit: EditRow) -> float | None:
    """How often the model errs at the step, where the job measured it."""
    counts = edit.attempts[-1].get("mined") if edit.attempts else None
    if counts is not None:
        return error_rate(counts, proven=edit.evidence_kind != EvidenceKind.UNPROVEN)
    return (edit.continuations or {}).get("error_rate")


def _version(job: Job, edit: EditRow, editor: str) -> str:
    """The version of the prompt that the edit came of; of an edit without one, the setting of its editor."""
    if editor not in _BY_MODEL:
        return next(setting for setting, name in EDITORS.items() if name == editor)
    told = edit.attempts[-1].get("version") if edit.attempts else None
    return str(told or edit_version_of(job.config.editing))


def _stripped(text: str) -> str:
    """Without the answer's box, as the released scripts do to the rejected side."""
    return _BOX.sub(r"\1", text)


def _full_row(job: Job, problem: ProblemRow, correct: SolutionRow, incorrect: SolutionRow) -> dict[str, Any]:
    sampled = job.config.sampling.source == "model"
    return {
        **_columns(full_pair(problem.question, correct.text, incorrect.text)),
        "problem_id": problem.id,
        "solution_id": correct.id,
        "rejected_solution_id": incorrect.id,
        "edit_id": None,
        "form": None,
        "editor": None,
        "error_rate": None,
        "pair_key": f"full:{problem.id}",
        "source": correct.source,
        "language_model": job.model.name if sampled and job.model else None,
        "prompt_version": solve_version(job.config.sampling) if sampled else None,
        "seed": incorrect.seed,
    }


def _columns(draft: PairDraft) -> dict[str, Any]:
    columns = {name: getattr(draft, name) for name in _DRAFT_COLUMNS}
    evidence = draft.evidence
    return {
        **columns,
        "evidence_kind": None if evidence is None else str(evidence.kind),
        "evidence": None if evidence is None else evidence.detail,
    }
