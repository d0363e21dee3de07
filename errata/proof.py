"""Proof that an edit is wrong (docs/method.md step 8, ours): contradiction, identity, divergence, verifier, or none.

Pure: texts, counts and verdicts in, evidence out. Continuations and verdicts are made elsewhere (workers). Calculator
marks are looked through, so proof never rests on a mark alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum
from fractions import Fraction

from errata.arithmetic import Equation, find_equations, strip_marks, tokens_of
from errata.identity import Context, prove_identity
from errata.statistics import proportion_interval
from errata.types import Evidence, EvidenceKind, Verdict


class Outcome(StrEnum):
    """What is known about an edit: it is wrong, nothing shows it, or it is not wrong at all."""

    PROVEN = "proven"
    UNPROVEN = "unproven"
    FALSE_NEGATIVE = "false_negative"


@dataclass(frozen=True, slots=True)
class Proof:
    """The label of an edit. ``evidence`` of a false negative is ``unproven`` with the reason in ``why``."""

    outcome: Outcome
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Continuations:
    """How many of ``k`` continuations reached gold, from the edited and from the original step.

    ``original_k`` differs from ``k`` where fewer were judged (a timeout is no miss and is left out); None: the same.
    """

    edited_hits: int
    original_hits: int
    k: int
    original_k: int | None = None

    @classmethod
    def from_verdicts(cls, edited: Sequence[Verdict], original: Sequence[Verdict]) -> Continuations | None:
        """Counts from verdicts; a timeout counts neither way. None where one side has no verdict left."""
        judged = [[v for v in side if v is not Verdict.TIMEOUT] for side in (edited, original)]
        if not all(judged):
            return None
        hits = [sum(v is Verdict.CORRECT for v in side) for side in judged]
        return cls(hits[0], hits[1], len(judged[0]), len(judged[1]))


def is_consistent(step: str) -> bool:
    """Whether no equation visible in ``step`` is false, or rounds to a whole number without a word ("7/2 = 3").

    Equations that cannot be judged do not count against it.
    """
    return all(equation.holds is not False and not equation.rounds for equation in find_equations(step))


def prove_contradiction(original_step: str, edited_step: str) -> Evidence | None:
    """Evidence that an equation of the edited step is false whose counterpart in the original is true; else None.

    Counterparts: equations equal in both texts pair up from both ends; what lies between pairs up in order, and only
    if its number is the same. An equation that the edit merely adds proves nothing.
    """
    edited = find_equations(edited_step)
    if all(equation.holds is not False for equation in edited):
        return None
    originals = find_equations(original_step)
    head, tail = _unchanged(original_step, originals, edited_step, edited)
    before, after = originals[head : len(originals) - tail], edited[head : len(edited) - tail]
    # Unequal numbers leave open which equation replaced which: an edit that adds a false one changed no true one.
    if len(before) != len(after):
        return None
    for old, new in zip(before, after, strict=True):
        if new.holds is False and old.holds and _related(old, new):
            return _contradiction(original_step, old, edited_step, new)
    return None


def _related(old: Equation, new: Equation) -> bool:
    """Whether the new equation is the old one with a change in it: half of its numbers and signs still stand in order.

    A false equation that merely takes a true one's place says nothing about it.
    """
    before, after = ([(t.kind, t.symbol, t.value) for t in tokens_of(e)] for e in (old, new))
    # Most edits leave every other token in its place, which is far quicker to see than the best alignment.
    if 2 * sum(a == b for a, b in zip(before, after, strict=False)) >= min(len(before), len(after)):
        return True
    blocks = SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks()
    return 2 * sum(block.size for block in blocks) >= min(len(before), len(after))


def _shown(step: str, equation: Equation) -> str:
    return strip_marks(step[equation.start : equation.end])


def _unchanged(
    original_step: str, originals: Sequence[Equation], edited_step: str, edited: Sequence[Equation]
) -> tuple[int, int]:
    """How many equations at the head and at the tail are the same in both steps."""
    old = [(_shown(original_step, e), e.holds) for e in originals]
    new = [(_shown(edited_step, e), e.holds) for e in edited]
    most = min(len(old), len(new))
    head = 0
    while head < most and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < most - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    return head, tail


def _contradiction(original_step: str, old: Equation, edited_step: str, new: Equation) -> Evidence:
    broken = new.broken or 0  # set, because the equation is false; a chain is refuted at its first false link
    left, right = new.sides[broken - 1].shown, new.sides[broken].shown
    return Evidence(
        EvidenceKind.CONTRADICTION,
        {
            "equation": _shown(edited_step, new),
            "left": left,
            "right": right,
            "original": _shown(original_step, old),
            "start": new.start,
            "end": new.end,
        },
    )


def prove_divergence(counts: Continuations, gap: float = 0.5) -> Evidence:
    """Divergence if continuing from the edit misses gold more often than from the original by at least ``gap``.

    Rates are miss rates, each with its 95 % Wilson interval. ``unproven`` otherwise, with the same figures. Raises
    ValueError unless ``0 <= hits <= k`` and ``k > 0`` on both sides.
    """
    k, base_k = counts.k, counts.k if counts.original_k is None else counts.original_k
    missed, base_missed = k - counts.edited_hits, base_k - counts.original_hits
    rate, base = proportion_interval(missed, k), proportion_interval(base_missed, base_k)
    detail = {
        "rate": rate.estimate,
        "low": rate.low,
        "high": rate.high,
        "original_rate": base.estimate,
        "original_low": base.low,
        "original_high": base.high,
        "k": k,
        "original_k": base_k,
        "gap": gap,
    }
    # Exact counts decide: 1 - 0.5 must not miss a gap of 0.5 by a rounding error.
    if Fraction(missed, k) - Fraction(base_missed, base_k) >= Fraction(str(gap)):
        return Evidence(EvidenceKind.DIVERGENCE, detail)
    return Evidence(EvidenceKind.UNPROVEN, {"why": "continuations do not diverge far enough", **detail})


def prove_verifier(original: Verdict, edited: Verdict, report: str = "") -> Proof:
    """Logic and code: the edited whole fails its checker or its tests, the original passes.

    A timeout or an unreadable whole proves nothing; an edited whole that still passes is a false negative.
    """
    if original is not Verdict.CORRECT:
        return _unproven(f"the original is {original}")
    if edited is Verdict.INCORRECT:
        return Proof(Outcome.PROVEN, Evidence(EvidenceKind.VERIFIER, {"report": report}))
    if edited is Verdict.CORRECT:
        return _unproven("the edited whole still passes", Outcome.FALSE_NEGATIVE)
    return _unproven(f"the edited whole is {edited}")


def prove_edit(
    original_step: str,
    edited_step: str,
    *,
    continuations: Continuations | None = None,
    gap: float = 0.5,
    context: Context | None = None,
    replayed: Proof | None = None,
) -> Proof:
    """The verdict on an edit of a mathematical step.

    A contradiction needs nothing else, a broken identity the step's ``context``. Without either, ``replayed`` decides
    where it proves anything (errata.replay), then diverging continuations do; continuations of which at least half
    reach gold, from a step without a false equation, make the edit a false negative (docs/method.md step 8).
    """
    contradiction = prove_contradiction(original_step, edited_step)
    if contradiction is not None:
        return Proof(Outcome.PROVEN, contradiction)
    identity = prove_identity(original_step, edited_step, context)
    if identity is not None:
        return Proof(Outcome.PROVEN, identity)
    if replayed is not None and (replayed.outcome is not Outcome.UNPROVEN or continuations is None):
        return replayed
    if continuations is None:
        return _unproven("no equation of the step became false")
    evidence = prove_divergence(continuations, gap)
    if evidence.kind is EvidenceKind.DIVERGENCE:
        return Proof(Outcome.PROVEN, evidence)
    if is_consistent(edited_step) and 2 * continuations.edited_hits >= continuations.k:
        why = {"why": "the step is still true and its continuations reach the gold answer"}
        return Proof(Outcome.FALSE_NEGATIVE, Evidence(EvidenceKind.UNPROVEN, {**evidence.detail, **why}))
    return Proof(Outcome.UNPROVEN, evidence)


def _unproven(why: str, outcome: Outcome = Outcome.UNPROVEN) -> Proof:
    return Proof(outcome, Evidence(EvidenceKind.UNPROVEN, {"why": why}))
