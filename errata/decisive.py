"""What of a right solution decides whether it is right: its equations, and the step that states the answer.

Scored evaluations take the probability of these tokens alone: in which words a step is told does not matter. What a
solution says in words without an equation is not scored, and the end of the reply neither (docs/studies.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from errata.arithmetic import find_equations
from errata.steps import split_steps
from errata.thoughts import THOUGHTS, Markers
from errata.types import Domain, Step

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class DecisiveStep:
    """The spans ``text[start:end]`` of one step that decide; the last of a solution is its answer."""

    step: int
    spans: tuple[Span, ...]


def decisive_steps(text: str, domain: Domain = Domain.MATH, thoughts: Markers = THOUGHTS) -> tuple[DecisiveStep, ...]:
    """The steps of a solution that hold an equation, and the step that states its answer.

    A solution without a step that only states the answer is scored to its end: its last step counts whole. So does
    every step of a puzzle's answer and of a program, which hold no equations. ``text`` is without calculator marks
    (errata.arithmetic.strip_marks): a model would copy results from them.
    """
    steps = [step for step in split_steps(text, domain, thoughts) if not step.is_thought]
    found = []
    for step in steps:
        whole = step.is_answer or step is steps[-1] or domain in (Domain.LOGIC, Domain.CODE)
        spans = _body(text, step) if whole else _equations(text, step)
        if spans:
            found.append(DecisiveStep(step.index, spans))
    return tuple(found)


def step_count(text: str, domain: Domain = Domain.MATH) -> int:
    """How many steps a solution has, without the one that only states the answer."""
    return sum(not step.is_answer and not step.is_thought for step in split_steps(text, domain))


def covers(spans: Sequence[Span], start: int, end: int) -> bool:
    """Whether a token at ``text[start:end]`` shares a character with one of the spans."""
    return any(start < stop and end > first for first, stop in spans)


def _equations(text: str, step: Step) -> tuple[Span, ...]:
    part = text[step.start : step.end]
    return tuple((step.start + found.start, step.start + found.end) for found in find_equations(part))


def _body(text: str, step: Step) -> tuple[Span, ...]:
    body = text[step.body_start : step.end]
    start, end = step.body_start + len(body) - len(body.lstrip()), step.body_start + len(body.rstrip())
    return ((start, end),) if start < end else ()
