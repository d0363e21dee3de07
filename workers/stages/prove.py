"""Stage ``prove``: each screened edit gets its evidence, or the reason why it yields no pair."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sqlalchemy.orm import Session

from errata.carrying import carry_step
from errata.identity import Context
from errata.kinds import kinds_of
from errata.mined import lost_at_step
from errata.mined_proof import own_contradiction, prove_mined, wording_of
from errata.proof import Continuations, Outcome, Proof, prove_contradiction, prove_edit, prove_verifier
from errata.replay import Replay, ReplayOutcome, prove_replay, replay
from errata.steps import splice, split_steps
from errata.types import Domain, Evidence, EvidenceKind, Reason, Verdict
from models.jobs import EditRow, SolutionRow
from models.session import update_by_key
from models.states import Stage
from models.workspaces import ProblemRow
from workers.stages.base import Finish, StageContext
from workers.stages.ledger import add_counts, count_proofs, drop_edits
from workers.stages.loading import Job, ShardRows, as_problem, judge_texts, load_rows

_BY_VERIFIER = frozenset({Domain.LOGIC, Domain.CODE})
_Rest = tuple[str, str]
"""Mode ``dynamic``: what follows the step on the chosen and on the rejected side."""
_Proofs = dict[str, tuple[Proof, _Rest | None]]
"""By the id of an edit; without those of problems that were set aside."""


def prove(context: StageContext) -> Finish:
    """Label every edit still in the running. Unproven edits are kept or dropped by the job's policy, never silently."""
    rows = load_rows(context)
    job = rows.job
    found = _verify(context, rows) if job.domain in _BY_VERIFIER else _prove(context, rows)
    edits = [edit for edit in rows.edits if edit.problem_id not in context.errors]
    proven = [_row(job, edit, _held_to_check(job, edit, found[edit.id][0]), found[edit.id][1]) for edit in edits]
    kinds = [
        {**row, "kind": edit.kind, "form": edit.form, "editor": edit.editor}
        for row, edit in zip(proven, edits, strict=True)
    ]
    failed = [edit for edit in rows.edits if edit.problem_id in context.errors]

    def write(session: Session) -> None:
        update_by_key(session, EditRow, proven)
        add_counts(session, context.lease, count_proofs(kinds))
        drop_edits(session, context.lease, failed)

    return Finish(Stage.PAIR, write)


def _held_to_check(job: Job, edit: EditRow, proof: Proof) -> Proof:
    """An edit of an operator's kind is proven by the evidence that the kind names, or not at all."""
    kind = kinds_of(job.domain).get(edit.kind)
    if kind is None or kind.version is None or proof.outcome is not Outcome.PROVEN:
        return proof
    if proof.evidence.kind is kind.check:
        return proof
    why = f"kind '{kind.name}' asks for {kind.check}; found was {proof.evidence.kind}"
    return Proof(Outcome.UNPROVEN, Evidence(EvidenceKind.UNPROVEN, {"why": why}))


def _verify(context: StageContext, rows: ShardRows) -> _Proofs:
    """Logic and code: the edited whole goes to the domain's own verifier; the original has passed it already."""
    edits: list[EditRow] = []
    wholes: list[tuple[ProblemRow, str]] = []
    for edit in rows.edits:
        with context.errors.of(edit.problem_id):
            solution = rows.solutions[edit.solution_id]
            step = split_steps(solution.text, rows.job.domain, rows.job.config.thoughts.in_steps)[edit.step_index]
            wholes.append((rows.problems[edit.problem_id], splice(solution.text, step, str(edit.edited))))
            edits.append(edit)
    judged = judge_texts(context, rows.job.domain, wholes, rows.job.config.thoughts.markers)
    proofs: _Proofs = {}
    for edit, found in zip(edits, judged, strict=True):
        with context.errors.of(edit.problem_id):
            verdict = Verdict(rows.solutions[edit.solution_id].verdict or "")
            proofs[edit.id] = prove_verifier(verdict, found.verdict, found.report), None
    return proofs


def _prove(context: StageContext, rows: ShardRows) -> _Proofs:
    """Mathematics: by the step's own equations, by replay, then by the continuations that were made."""
    claims: list[tuple[EditRow, _Claim]] = []
    for edit in rows.edits:
        with context.errors.of(edit.problem_id):
            claims.append((edit, _claim(rows, edit)))
    # The continuations of all edits and the solutions that replays end in are judged as one batch; `places` says which
    # of its verdicts are an edit's.
    texts: list[tuple[ProblemRow, str]] = []
    places: list[tuple[slice, slice, slice, slice]] = []
    for edit, claim in claims:
        problem, before = rows.problems[edit.problem_id], rows.solutions[edit.solution_id].text[: edit.start]
        continued = edit.continuations or {}
        cuts = [len(texts)]
        for step, side in ((str(edit.edited), "edited"), (edit.original, "original"), ("", "before")):
            texts += [(problem, before + step + text) for text in continued.get(side, ())]
            cuts.append(len(texts))
        texts += [(problem, claim.text)] if claim.text is not None else []
        places.append((*(slice(*ends) for ends in pairwise(cuts)), slice(cuts[-1], len(texts))))  # type: ignore[arg-type]
    found = judge_texts(context, rows.job.domain, texts, rows.job.config.thoughts.markers)
    verdicts = [each.verdict for each in found]
    proofs: _Proofs = {}
    for (edit, claim), place in zip(claims, places, strict=True):
        with context.errors.of(edit.problem_id):
            edited, original, before_, answered = (verdicts[part] for part in place)
            _note_rate(edit, before_, original)
            proofs[edit.id] = _weigh(rows, edit, claim, edited, original, answered)
    return proofs


def _note_rate(edit: EditRow, before: list[Verdict], behind: list[Verdict]) -> None:
    """Keep with an edit's continuations how often the model errs at its step, where they say it."""
    rate = lost_at_step(before, behind)
    if rate is not None:
        edit.continuations = {**(edit.continuations or {}), "error_rate": rate}


def _weigh(
    rows: ShardRows,
    edit: EditRow,
    claim: _Claim,
    edited: list[Verdict],
    original: list[Verdict],
    answered: list[Verdict],
) -> tuple[Proof, _Rest | None]:
    """Verdicts: of the continuations of the edited and of the original step, and of the claim's text, if any."""
    counts = Continuations.from_verdicts(edited, original) if edit.continuations else None
    answer = answered[0] if answered else None
    replayed = None if claim.replay is None else prove_replay(claim.replay, answer)
    gap = rows.job.config.proof.continuations.gap
    solution = rows.solutions[edit.solution_id]
    around = Context(rows.problems[edit.problem_id].question, edit.within(solution.text), edit.start)
    proof = (prove_mined if edit.editor == "mined" else prove_edit)(
        edit.original, str(edit.edited), continuations=counts, gap=gap, context=around, replayed=replayed
    )
    return proof, _rest(rows.job, edit, solution, edited, claim, answer)


@dataclass(frozen=True)
class _Claim:
    """What the program says about an edit: its replay, and the whole solution that carries it to the end.

    ``text`` is the solution whose answer the verifier is asked about. None of them where there is nothing to say.
    """

    replay: Replay | None = None
    whole: str | None = None
    text: str | None = None


def _claim(rows: ShardRows, edit: EditRow) -> _Claim:
    job, edited = rows.job, str(edit.edited)
    problem, solution = as_problem(rows.problems[edit.problem_id]), rows.solutions[edit.solution_id].text
    solution = edit.within(solution)
    found = None
    if edit.editor == "mined":
        replays = own_contradiction(edited, edit.original) is None and wording_of(edited) == wording_of(edit.original)
    else:
        replays = prove_contradiction(edit.original, edited) is None
    if replays:
        found = replay(problem.question, problem.gold_answer, solution, edit.step_index, edited)
    whole = None
    if job.config.carries_to_end:
        carried = carry_step(problem.question, solution, edit.step_index, edited, "end")
        whole = carried.solution if carried is not None and carried.step == edited else None
    text = found.text if found is not None and found.outcome is not ReplayOutcome.OPEN else None
    return _Claim(found, whole, whole or text)


def _rest(
    job: Job, edit: EditRow, solution: SolutionRow, edited: list[Verdict], claim: _Claim, answer: Verdict | None
) -> _Rest | None:
    """Mode ``dynamic``: what follows on each side. On the rejected one the error is carried to a wrong answer.

    By the program, or where whole steps are edited by a continuation that misses gold.
    """
    if job.config.proof.mode != "dynamic":
        return None
    if claim.whole is not None and answer is Verdict.INCORRECT:
        return solution.text[edit.end :], claim.whole[edit.start + len(str(edit.edited)) :]
    missed = [at for at, verdict in enumerate(edited) if verdict is Verdict.INCORRECT]
    if not missed or not edit.continuations:
        return None
    return solution.text[edit.end :], edit.continuations["edited"][missed[0]]


def _row(job: Job, edit: EditRow, proof: Proof, rest: _Rest | None) -> dict[str, Any]:
    reason = None
    if proof.outcome is Outcome.FALSE_NEGATIVE:
        reason = Reason.FALSE_NEGATIVE
    elif proof.outcome is Outcome.UNPROVEN and job.config.proof.unproven == "drop":
        reason = Reason.UNPROVEN
    elif job.config.proof.mode == "dynamic" and rest is None and job.domain not in _BY_VERIFIER:
        reason = Reason.NO_REST
    continuations = edit.continuations
    if rest is not None:
        continuations = {**(continuations or {}), "rest": list(rest)}
    return {
        "id": edit.id,
        "evidence_kind": str(proof.evidence.kind),
        "evidence": proof.evidence.detail,
        "reason": None if reason is None else str(reason),
        "continuations": continuations,
    }
