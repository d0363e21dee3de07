"""Stage ``prove``: each screened edit gets its evidence, or the reason why it yields no pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from errata.proof import Continuations, Outcome, Proof, prove_edit, prove_verifier
from errata.reasons import Reason
from errata.steps import splice, split_steps
from errata.types import Domain, Verdict
from models.jobs import EditRow, SolutionRow
from models.session import update_by_key
from models.states import Stage
from models.workspaces import ProblemRow
from workers.stages.base import Finish, StageContext
from workers.stages.ledger import add_proofs
from workers.stages.loading import Job, judge_texts, load_edits, load_job, load_problems, load_solutions

_BY_VERIFIER = frozenset({Domain.LOGIC, Domain.CODE})


def prove(context: StageContext) -> Finish:
    """Label every edit still in the running. Unproven edits are kept or dropped by the job's policy, never silently."""
    with context.db.read() as session:
        job = load_job(session, context.lease)
        problems = {p.id: p for p in load_problems(session, job.problem_set_id, context.lease)}
        solutions = {row.id: row for row in load_solutions(session, context.lease)}
        edits = load_edits(session, context.lease)
    if job.domain in _BY_VERIFIER:
        proofs = _verify(context, job, problems, solutions, edits)
        rests: list[tuple[str, str] | None] = [None] * len(edits)
    else:
        proofs, rests = _prove(context, job, problems, solutions, edits)
    rows = [_row(job, edit, proof, rest) for edit, proof, rest in zip(edits, proofs, rests, strict=True)]
    kinds = [{**row, "kind": edit.kind} for row, edit in zip(rows, edits, strict=True)]

    def write(session: Session) -> None:
        update_by_key(session, EditRow, rows)
        add_proofs(session, context.lease, kinds)

    return Finish(Stage.PAIR, write)


def _verify(
    context: StageContext,
    job: Job,
    problems: dict[str, ProblemRow],
    solutions: dict[str, SolutionRow],
    edits: Sequence[EditRow],
) -> list[Proof]:
    """Logic and code: the edited whole goes to the domain's own verifier; the original has passed it already."""
    wholes = []
    for edit in edits:
        solution = solutions[edit.solution_id]
        step = split_steps(solution.text, job.domain)[edit.step_index]
        wholes.append((problems[edit.problem_id], splice(solution.text, step, str(edit.edited))))
    judged = judge_texts(context, job.domain, wholes)
    return [
        prove_verifier(Verdict(solutions[edit.solution_id].verdict or ""), found.verdict, found.report)
        for edit, found in zip(edits, judged, strict=True)
    ]


def _prove(
    context: StageContext,
    job: Job,
    problems: dict[str, ProblemRow],
    solutions: dict[str, SolutionRow],
    edits: Sequence[EditRow],
) -> tuple[list[Proof], list[tuple[str, str] | None]]:
    """Mathematics: by the step's own equations, then by the continuations that were made."""
    # The continuations of all edits are judged as one batch; `places` says which of its verdicts are an edit's.
    texts: list[tuple[ProblemRow, str]] = []
    places: list[tuple[slice, slice] | None] = []
    for edit in edits:
        if not edit.continuations:
            places.append(None)
            continue
        problem, before = problems[edit.problem_id], solutions[edit.solution_id].text[: edit.start]
        cuts = [len(texts)]
        for step, side in ((str(edit.edited), "edited"), (edit.original, "original")):
            texts += [(problem, before + step + text) for text in edit.continuations[side]]
            cuts.append(len(texts))
        places.append((slice(cuts[0], cuts[1]), slice(cuts[1], cuts[2])))
    verdicts = [found.verdict for found in judge_texts(context, job.domain, texts)]
    proofs: list[Proof] = []
    rests: list[tuple[str, str] | None] = []
    for edit, place in zip(edits, places, strict=True):
        judged = (verdicts[place[0]], verdicts[place[1]]) if place else None
        counts = Continuations.from_verdicts(*judged) if judged else None
        gap = job.config.proof.continuations.gap
        proofs.append(prove_edit(edit.original, str(edit.edited), continuations=counts, gap=gap))
        rests.append(_rest(job, edit, solutions[edit.solution_id], judged))
    return proofs, rests


def _rest(
    job: Job, edit: EditRow, solution: SolutionRow, judged: tuple[list[Verdict], list[Verdict]] | None
) -> tuple[str, str] | None:
    """Mode ``dynamic``: what follows on each side; on the rejected one, a continuation that misses gold."""
    if job.config.proof.mode != "dynamic" or judged is None or not edit.continuations:
        return None
    missed = [at for at, verdict in enumerate(judged[0]) if verdict is Verdict.INCORRECT]
    return (solution.text[edit.end :], edit.continuations["edited"][missed[0]]) if missed else None


def _row(job: Job, edit: EditRow, proof: Proof, rest: tuple[str, str] | None) -> dict[str, Any]:
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
