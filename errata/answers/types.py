"""What a verifier says, and the errors verifiers raise."""

from __future__ import annotations

from dataclasses import dataclass

from errata.types import Verdict

MAX_ANSWER = 1000
MAX_NESTING = 24


class CodeExecutionDisabled(RuntimeError):
    """Code was to be run although the operator has not turned it on, or this machine cannot isolate it."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with what it rests on. ``verifier`` is ``name/version``; ``seconds`` is filled in by the judge pool.

    ``extracted`` is the final answer as read from the text (cut at 1,000 characters), None where none was found;
    ``report`` says why, for people and as evidence (a broken clue, a failed test).
    """

    verdict: Verdict
    extracted: str | None
    verifier: str
    report: str = ""
    seconds: float = 0.0


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
