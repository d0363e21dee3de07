"""Choosing the verifier for a domain, and comparing old verdicts with new ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from errata.answers import choice, code, exact, math
from errata.answers.types import CodeExecutionDisabled, Judgement
from errata.types import Domain, Problem, Verdict


@dataclass(frozen=True, slots=True)
class Verifier:
    """A named, versioned comparison of a solution's answer with a problem's gold answer."""

    name: str
    version: str
    verify: Callable[[Problem, str], Judgement]

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


def judge(problem: Problem, text: str, domain: Domain, *, allow_code: bool = False) -> Judgement:
    """Judge a whole solution text. May hang or exhaust memory on hostile mathematics: run it where it can be killed.

    Raises CodeExecutionDisabled for the code domain unless ``allow_code``.
    """
    if domain is Domain.CODE and not allow_code:
        raise CodeExecutionDisabled("running code is off; the operator turns it on in the worker's settings")
    return VERIFIERS[domain].verify(problem, text)


@dataclass(frozen=True, slots=True)
class VerdictChange:
    """One sample whose verdict or extracted answer differs under a newer verifier."""

    key: str
    before: Judgement
    after: Judgement


@dataclass(frozen=True, slots=True)
class VerdictDiff:
    """Stored against new verdicts: what changed, how often each way, and which samples only one side has."""

    changes: tuple[VerdictChange, ...]
    same: int
    transitions: dict[tuple[Verdict, Verdict], int]
    only_stored: tuple[str, ...]
    only_rejudged: tuple[str, ...]


def compare_verdicts(stored: Mapping[str, Judgement], rejudged: Mapping[str, Judgement]) -> VerdictDiff:
    """The difference between stored judgements and new ones, keyed by sample id, in the order stored.

    A change of the verifier's version alone is none; a changed extracted answer is one, even at an equal verdict.
    """
    shared = [key for key in stored if key in rejudged]
    changes = tuple(
        VerdictChange(key, stored[key], rejudged[key])
        for key in shared
        if (stored[key].verdict, stored[key].extracted) != (rejudged[key].verdict, rejudged[key].extracted)
    )
    moved = Counter((c.before.verdict, c.after.verdict) for c in changes if c.before.verdict is not c.after.verdict)
    return VerdictDiff(
        changes,
        len(shared) - len(changes),
        dict(moved),
        tuple(key for key in stored if key not in rejudged),
        tuple(key for key in rejudged if key not in stored),
    )
