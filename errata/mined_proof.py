"""Proof that a mined step is wrong (docs/method.md step 8): stricter than for edits, because nobody asked for an error.

A model that writes a step anew often writes another right one: it goes in smaller steps, or another way round. So a
difference from the chosen step proves nothing by itself. Pure: texts and counts in, evidence out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from errata.arithmetic import find_equations, strip_marks
from errata.identity import Context, prove_identity
from errata.mined_config import MINED_CONTINUATIONS
from errata.proof import Continuations, Outcome, Proof, prove_contradiction, prove_divergence
from errata.types import Evidence, EvidenceKind

_NUMBER = r"\d+(?:[.,]\d+)*|\.\d+"
_VALUES = re.compile(rf"(?P<number>{_NUMBER})|(?P<sign>(?<![A-Za-z])[+\-−–*×·/÷](?![A-Za-z])|(?<=\d )x(?= \d))")
_ONE_SIGN = {"−": "-", "–": "-", "×": "*", "·": "*", "x": "*", "÷": "/"}


def values_of(step: str) -> tuple[str, ...]:
    """The numbers and operation signs of a step in order, each written in one way; calculator marks are left out."""
    found = []
    for match in _VALUES.finditer(strip_marks(step)):
        text = match[0]
        found.append(_ONE_SIGN.get(text, text) if match["sign"] else text.replace(",", ""))
    return tuple(found)


def wording_of(step: str) -> str:
    """A step without its numbers and signs, white space and calculator marks aside."""
    masked = _VALUES.sub(lambda match: "#" if match["number"] else "~", strip_marks(step))
    return " ".join(masked.split())


def own_contradiction(step: str, chosen: str) -> Evidence | None:
    """Evidence that an equation of a step is false, whatever the chosen step says there; else None.

    ``original`` is the equation of the chosen step that became it, where one did, and else empty.
    """
    related = prove_contradiction(chosen, step)
    if related is not None:
        return related
    text = strip_marks(step)
    for equation in find_equations(text):
        if equation.holds is False:
            broken = equation.broken or 0  # set, because the equation is false
            detail = {
                "equation": text[equation.start : equation.end],
                "left": equation.sides[broken - 1].shown,
                "right": equation.sides[broken].shown,
                "original": "",
            }
            return Evidence(EvidenceKind.CONTRADICTION, detail)
    return None


def prove_mined(
    chosen: str,
    mined: str,
    *,
    continuations: Continuations | None = None,
    gap: float = 0.5,
    context: Context | None = None,
    replayed: Proof | None = None,
) -> Proof:
    """The verdict on a mined step beside the step that was chosen.

    A false equation of its own proves it. One that states something true and reaches gold in any continuation is a
    false negative. A replay or a broken identity proves it only where both steps are the same but for numbers and
    signs: else the same words may stand for another way of computing. What is left is proven by continuations, at
    least ``MINED_CONTINUATIONS`` on each side, whose miss rates differ by ``gap`` and whose Wilson intervals lie apart.
    """
    false = own_contradiction(mined, chosen)
    if false is not None:
        return Proof(Outcome.PROVEN, false)
    if continuations is not None and continuations.edited_hits:
        why = "the step states nothing false, and a continuation of it reaches the gold answer"
        detail = {**prove_divergence(continuations, gap).detail, "why": why}
        return Proof(Outcome.FALSE_NEGATIVE, Evidence(EvidenceKind.UNPROVEN, detail))
    if wording_of(chosen) == wording_of(mined):
        identity = prove_identity(chosen, mined, context)
        if identity is not None:
            return Proof(Outcome.PROVEN, identity)
        if replayed is not None and replayed.outcome is not Outcome.UNPROVEN:
            return replayed
    if continuations is None:
        return _unproven("no equation of the step is false, and it differs from the chosen step in more than values")
    evidence = prove_divergence(continuations, gap)
    if evidence.kind is not EvidenceKind.DIVERGENCE:
        return Proof(Outcome.UNPROVEN, evidence)
    if not lies_apart(evidence.detail):
        why = "the intervals of the continuations' miss rates overlap, or there are too few"
        return Proof(Outcome.UNPROVEN, Evidence(EvidenceKind.UNPROVEN, {**evidence.detail, "why": why}))
    return Proof(Outcome.PROVEN, evidence)


def lies_apart(detail: Mapping[str, float]) -> bool:
    """Whether stored figures of a divergence prove a mined step: enough continuations, and intervals that lie apart."""
    enough = min(detail["k"], detail["original_k"]) >= MINED_CONTINUATIONS
    return enough and detail["low"] > detail["original_high"]


def _unproven(why: str) -> Proof:
    return Proof(Outcome.UNPROVEN, Evidence(EvidenceKind.UNPROVEN, {"why": why}))
