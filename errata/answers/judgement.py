"""What a verifier says, the errors verifiers raise, and how old judgements differ from new ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from errata.types import Verdict

MAX_ANSWER = 1000
MAX_NESTING = 24


class CodeExecutionDisabled(RuntimeError):
    """Code was to be run although the operator has not turned it on, or this machine cannot isolate it."""


class UnreadableReason(StrEnum):
    """Why a sample is ``unparsable``."""

    EMPTY = "empty"
    """Nothing was written."""
    CUT = "cut"
    """The text ended at the limit of tokens before it stated an answer."""
    THOUGHTS_ONLY = "thoughts_only"
    """All of it stands between the markers of thoughts."""
    NO_STATEMENT = "no_statement"
    """The text states no answer."""
    NOT_READ = "not_read"
    """An answer is stated, and not understood or not comparable."""
    BAD_PROBLEM = "bad_problem"
    """The problem's own gold answer, criteria or tests cannot be used."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with what it rests on. ``verifier`` is ``name/version``; ``seconds`` is filled in by the judge pool.

    ``extracted`` is the final answer as read from the text (cut at 1,000 characters), None where none was found;
    ``report`` says why, for people and as evidence (a broken clue, a failed test); ``reason`` is set where the verdict
    is ``unparsable`` for want of a readable answer.
    """

    verdict: Verdict
    extracted: str | None
    verifier: str
    report: str = ""
    seconds: float = 0.0
    reason: UnreadableReason | None = None


_WHY = {
    UnreadableReason.EMPTY: "the text is empty",
    UnreadableReason.CUT: "the text was cut at its limit before it stated an answer",
    UnreadableReason.THOUGHTS_ONLY: "the text holds thoughts only",
}


def unreadable(verifier: str, why: UnreadableReason | None) -> Judgement:
    """The judgement on a text in which no answer was found."""
    reason = why or UnreadableReason.NO_STATEMENT
    return unparsable(verifier, None, _WHY.get(reason, "no final answer is stated"), reason)


def unparsable(
    verifier: str, shown: str | None, report: str, reason: UnreadableReason = UnreadableReason.NOT_READ
) -> Judgement:
    """The judgement where nothing can be compared, and why."""
    return Judgement(Verdict.UNPARSABLE, shown, verifier, report, reason=reason)


def nesting(text: str) -> int:
    """The deepest nesting of brackets in ``text``, unmatched ones counted as open."""
    depth = deepest = 0
    for char in text:
        if char in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in ")]}":
            depth = max(depth - 1, 0)
    return deepest


def too_complex(answer: str) -> bool:
    """Whether an answer is longer or deeper than any parser should be given."""
    return len(answer) > MAX_ANSWER or nesting(answer) > MAX_NESTING


@dataclass(frozen=True, slots=True)
class VerdictChange:
    """One sample whose verdict or extracted answer differs under a newer verifier."""

    key: str
    before: Judgement
    after: Judgement


def compare_verdicts(stored: Mapping[str, Judgement], rejudged: Mapping[str, Judgement]) -> tuple[VerdictChange, ...]:
    """What differs between stored judgements and new ones, keyed by sample id, in the order stored.

    A change of the verifier's version alone is none; a changed extracted answer is one, even at an equal verdict.
    Samples that only one side has are left out.
    """
    shared = [key for key in stored if key in rejudged]
    return tuple(
        VerdictChange(key, stored[key], rejudged[key])
        for key in shared
        if (stored[key].verdict, stored[key].extracted) != (rejudged[key].verdict, rejudged[key].extracted)
    )
