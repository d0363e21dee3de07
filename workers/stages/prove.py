"""Stage ``prove``: each screened edit gets its evidence, or the reason why it yields no pair."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from errata.proof import Continuations, Outcome, Proof, prove_edit, prove_verifier
from errata.steps import splice, split_steps
from errata.types import Domain, Reason, Verdict
from models.jobs import EditRow, SolutionRow
from models.session import update_by_key
from models.states import Stage
from models.workspaces import ProblemRow
from workers.stages.base import Finish, StageContext
from workers.stages.ledger import add_counts, count_proofs
from workers.stages.loading import Job, ShardRows, judge_texts, load_rows

_BY_VERIFIER = frozenset({Domain.LOGIC, Domain.CODE})
_Rest = tuple[str, str]
"""Mode ``dynamic``: what follows the step on the chosen and on the rejected side."""


def prove(context: StageContext) -> Finish:
    """Label every edit still in the running. Unproven edits are kept or dropped by the job's policy, never silently."""
    rows = load_rows(context)
    job, edits = rows.job, rows.edits
    if job.domain in _BY_VERIFIER:
        proofs = _verify(context, rows)
        rests: list[_Rest | None] = [None] * len(edits)
    else:
        proofs, rests = _prove(context, rows)
    proven = [_row(job, edit, proof, rest) for edit, proof, rest in zip(edits, proofs, rests, strict=True)]
    kinds = [{**row, "kind": edit.kind} for row, edit in zip(proven, edits, strict=True)]

    def write(session: Session) -> None:
        update_by_key(session, EditRow, proven)
        add_counts(session, context.lease, count_proofs(kinds))

    return Finish(Stage.PAIR, write)


def _verify(context: StageContext, rows: ShardRows) -> list[Proof]:
    """Logic and code: the edited whole goes to the domain's own verifier; the original has passed it already."""
    wholes = []
    for edit in rows.edits:
        solution = rows.solutions[edit.solution_id]
        step = split_steps(solution.text, rows.job.domain)[edit.step_index]
        wholes.append((rows.problems[edit.problem_id], splice(solution.text, step, str(edit.edited))))
    judged = judge_texts(context, rows.job.domain, wholes)
    return [
        prove_verifier(Verdict(rows.solutions[edit.solution_id].verdict or ""), found.verdict, found.report)
        for edit, found in zip(rows.edits, judged, strict=True)
    ]


def _prove(context: StageContext, rows: ShardRows) -> tuple[list[Proof], list[_Rest | None]]:
    """Mathematics: by the step's own equations, then by the continuations that were made."""
    # The continuations of all edits are judged as one batch; `places` says which of its verdicts are an edit's.
    texts: list[tuple[ProblemRow, str]] = []
    places: list[tuple[slice, slice] | None] = []
    for edit in rows.edits:
        if not edit.continuations:
            places.append(None)
            continue
        problem, before = rows.problems[edit.problem_id], rows.solutions[edit.solution_id].text[: edit.start]
        cuts = [len(texts)]
        for step, side in ((str(edit.edited), "edited"), (edit.original, "original")):
            texts += [(problem, before + step + text) for text in edit.continuations[side]]
            cuts.append(len(texts))
        places.append((slice(cuts[0], cuts[1]), slice(cuts[1], cuts[2])))
    verdicts = [found.verdict for found in judge_texts(context, rows.job.domain, texts)]
    proofs: list[Proof] = []
    rests: list[_Rest | None] = []
    for edit, place in zip(rows.edits, places, strict=True):
        judged = (verdicts[place[0]], verdicts[place[1]]) if place else None
        counts = Continuations.from_verdicts(*judged) if judged else None
        gap = rows.job.config.proof.continuations.gap
        proofs.append(prove_edit(edit.original, str(edit.edited), continuations=counts, gap=gap))
        rests.append(_rest(rows.job, edit, rows.solutions[edit.solution_id], judged))
    return proofs, rests


def _rest(
    job: Job, edit: EditRow, solution: SolutionRow, judged: tuple[list[Verdict], list[Verdict]] | None
) -> _Rest | None:
    """Mode ``dynamic``: what follows on each side; on the rejected one, a continuation that misses gold."""
    if job.config.proof.mode != "dynamic" or judged is None or not edit.continuations:
        return None
    missed = [at for at, verdict in enumerate(judged[0]) if verdict is Verdict.INCORRECT]
    return (solution.text[edit.end :], edit.continuations["edited"][missed[0]]) if missed else None


def _row(job: Job, edit: EditRow, proof: Proof, rest: _Rest | None) -> dict[str, Any]:
    reason = None
    if proof.outcome is Outcome.FALSE_NEGATIVE:
        reason = Reason.FALSE_NEGATIVE
    elif proof.outcome is Outcome.UNPROVEN and job.config.proof.unproven == "drop":
        reason = Reason.UNPROVEN
    elif job.config.proof.mode == "dynamic" and rest is None and job.domain not in _BY_VERIFIER:
        reason = Reason.NO_REST
    continuations = edit.continuations
    if rest is not None and continuations is not None:
        continuations = {**continuations, "rest": list(rest)}
    return {
        "id": edit.id,
        "evidence_kind": str(proof.evidence.kind),
        "evidence": proof.evidence.detail,
        "reason": None if reason is None else str(reason),
        "continuations": continuations,
    }
