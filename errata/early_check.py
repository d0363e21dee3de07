"""What the program alone can say against an edit before it is proven, so that another one can be asked for at once.

The same proofs decide as in docs/method.md step 8, without the verifier and without continuations.
"""

from __future__ import annotations

from errata.carrying import carry_step
from errata.config import InjectionConfig
from errata.identity import Context
from errata.kinds import kinds_of
from errata.mined_proof import prove_mined, wording_of
from errata.proof import Outcome, prove_edit
from errata.replay import ReplayOutcome, replay
from errata.types import Domain, EditorName, EvidenceKind, Problem, Reason, Step


def reason_against(
    problem: Problem,
    solution: str,
    step: Step,
    edited: str,
    kind: str,
    config: InjectionConfig,
    domain: Domain,
    editor: EditorName | None = None,
) -> Reason | None:
    """Why stage ``prove`` will reject the edit of a step; None where it will not, or where only others can tell.

    A mined error is held to its own rules of proof.
    """
    if domain in (Domain.LOGIC, Domain.CODE):
        return None  # their verifier decides, and it does not run where language models do
    evidence = _evidence(problem, solution, step, edited, mined=editor == "mined")
    if evidence is None:
        return Reason.FALSE_NEGATIVE
    own = kinds_of(domain).get(kind)
    if own is not None and own.version is not None and evidence is not own.check:
        evidence = EvidenceKind.UNPROVEN
    proof = config.proof
    continues = proof.continuations.when != "never" or (proof.mode == "dynamic" and not config.carries_to_end)
    if evidence is EvidenceKind.UNPROVEN and proof.unproven == "drop" and not continues:
        return Reason.UNPROVEN
    if config.carries_to_end:
        carried = carry_step(problem.question, solution, step.index, edited, "end")
        if carried is None or carried.step != edited:
            return Reason.NO_REST
    return None


def _evidence(problem: Problem, solution: str, step: Step, edited: str, *, mined: bool) -> EvidenceKind | None:
    """The evidence that proves the edit; ``unproven``; None where the edit is no error at all."""
    context, original = Context(problem.question, solution, step.start), solution[step.start : step.end]
    proof = (prove_mined if mined else prove_edit)(original, edited, context=context)
    if proof.outcome is Outcome.PROVEN:
        return proof.evidence.kind
    if mined and wording_of(original) != wording_of(edited):
        return EvidenceKind.UNPROVEN  # no replay proves or refutes it
    found = replay(problem.question, problem.gold_answer, solution, step.index, edited)
    if found.outcome is ReplayOutcome.REACHES:
        return None
    return EvidenceKind.REPLAY if found.outcome is ReplayOutcome.MISSES else EvidenceKind.UNPROVEN
