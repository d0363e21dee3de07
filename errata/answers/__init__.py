"""Final answers: read from solutions and compared with gold by one verifier per domain.

Pure: no clock, process or network (but the verifier ``code``, which runs a guarded child). Comparison may still be slow
on hostile mathematics; ``workers.judge`` calls it in children that can be killed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from errata.answers import choice, code, exact, math
from errata.answers.extraction import READING, ReadingOptions, extract_answer
from errata.answers.judgement import (
    CodeExecutionDisabled,
    Judgement,
    UnreadableReason,
    VerdictChange,
    compare_verdicts,
)
from errata.types import Domain, Problem

__all__ = [
    "VERIFIERS",
    "CodeExecutionDisabled",
    "Judgement",
    "ReadingOptions",
    "UnreadableReason",
    "VerdictChange",
    "Verifier",
    "compare_verdicts",
    "extract_answer",
    "judge",
]


@dataclass(frozen=True, slots=True)
class Verifier:
    """A named, versioned comparison of a solution's answer with a problem's gold answer."""

    name: str
    version: str
    verify: Callable[[Problem, str, ReadingOptions], Judgement]

    @property
    def tag(self) -> str:
        """``name/version``, as stored with every verdict."""
        return f"{self.name}/{self.version}"


VERIFIERS: dict[Domain, Verifier] = {
    Domain.MATH: Verifier(math.NAME, math.VERSION, math.verify),
    Domain.CHOICE: Verifier(choice.NAME, choice.VERSION, choice.verify),
    Domain.LOGIC: Verifier(exact.NAME, exact.VERSION, exact.verify),
    Domain.CODE: Verifier(code.NAME, code.VERSION, code.verify),
}


def judge(
    problem: Problem, text: str, domain: Domain, *, allow_code: bool = False, options: ReadingOptions = READING
) -> Judgement:
    """Judge a whole solution text. May hang or exhaust memory on hostile mathematics: run it where it can be killed.

    Raises CodeExecutionDisabled for the code domain unless ``allow_code``.
    """
    if domain is Domain.CODE and not allow_code:
        raise CodeExecutionDisabled("running code is off; the operator turns it on in the worker's settings")
    return VERIFIERS[domain].verify(problem, text, options)
