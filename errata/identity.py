"""Evidence ``identity``: two sides equal for all values of their variables in the original step, not in the edited one.

An identity needs no context to be true, so its breach needs none to be an error, except where the context makes the
changed equation true again: a value or a relation that question or solution states. What of that cannot be read
counts as if it did (errata.algebra.statements). An equation that is introduced as a condition ("let", "if", "solve")
claims nothing and proves nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from errata.algebra import Chain, ChainSide, TooLarge, difference, find_chains
from errata.algebra.polynomials import Polynomial
from errata.algebra.spans import math_spans, prose
from errata.algebra.statements import a_point, may_hold, statements_of
from errata.types import Evidence, EvidenceKind

POINTS = 8
_MOST_TRIED = 40
_BEFORE = re.compile(
    r"\b(?:let|letting|if|suppose|supposing|given|solve|solving|where|when|whenever|assume|assuming|assumed"
    r"|define|defined|definition|denote|set|setting|consider|considering|find|equation|equations|want"
    r"|wanted|need|needs|must|require|requires|satisfy|satisfies|satisfying|satisfied|such|check|whether"
    r"|would|could|should|guess|try|trying|provided|unless|until|condition|conditions|constraint"
    r"|constraints|solution|solutions|root|roots|hypothesis|instead|claim|call|called|not|never|no|cannot"
    r"|impossible|contradiction|false|wrong|equating|substitute|substituting|plugging|hope|make|makes|know"
    r"|known|which|what"
    r")\b",
    re.I,
)
_BEHIND = re.compile(
    r"\b(?:if|when|whenever|unless|provided|only|not|never|no|impossible|contradiction|false|wrong|cannot|where"
    r"|has|have|is|holds|must|mod|modulo|at"
    r")\b",
    re.I,
)
_DENIED = re.compile(r"\b(?:if|not|contradiction|impossible)\b", re.I)
_SENTENCE_END = re.compile(r"[.?!](?=\s|\Z|[A-Z])")


@dataclass(frozen=True, slots=True)
class Context:
    """What stands around a step: the question, the solution as it was, and the step's offset in it."""

    question: str
    solution: str
    start: int


@dataclass(frozen=True, slots=True)
class Link:
    """Two neighbouring sides of a chain, joined by ``=``."""

    left: ChainSide
    right: ChainSide


def prove_identity(original_step: str, edited_step: str, context: Context | None) -> Evidence | None:
    """Evidence that an identity of the original step is none in the edited one, at the same place; else None.

    Steps correspond only if they have the same number of chains, each with the same relations; so an edit that adds or
    removes an equation proves nothing. None without ``context``, or if the original does not stand there. Never raises.
    """
    if context is None or "=" not in original_step or "=" not in edited_step:
        return None
    if not _stands_whole(original_step, context):
        return None
    before, after = find_chains(original_step), find_chains(edited_step)
    if len(before) != len(after):
        return None
    for old, new in zip(before, after, strict=True):
        if old.relations != new.relations:
            return None
        for at, _ in identities(old):
            edited = Link(new.sides[at], new.sides[at + 1])
            if _same(original_step, Link(old.sides[at], old.sides[at + 1]), edited_step, edited):
                continue
            gap = _refuted(edited, context)
            if gap is not None and _claimed(original_step, old, context) and _claimed(edited_step, new, context):
                return _evidence(original_step, old, edited_step, edited, gap, at, context)
    return None


def _stands_whole(step: str, context: Context) -> bool:
    """Whether the step stands at its place and cuts no mathematics in two: its delimiters would be misread."""
    stop = context.start + len(step)
    if not context.solution.startswith(step, context.start):
        return False
    return not any(a < cut < b for a, _, _, b in math_spans(context.solution) for cut in (context.start, stop))


def identities(chain: Chain) -> list[tuple[int, Link]]:
    """The links of a chain that are equal for all values of their variables, with the place of each left side."""
    found = []
    if not chain.stated:
        return []
    for at, sign in enumerate(chain.relations):
        link = Link(chain.sides[at], chain.sides[at + 1])
        if sign == "=" and _is_identity(link):
            found.append((at, link))
    return found


def _is_identity(link: Link) -> bool:
    """Equal as rational functions, and at ``POINTS`` points: the expanded form and the values must agree on it."""
    left, right = link.left.expression, link.right.expression
    if left is None or right is None or not (link.left.is_algebra and link.right.is_algebra):
        return False
    names = sorted(left.variables() | right.variables())
    if not names:
        return False  # plain arithmetic is judged elsewhere
    try:
        if difference(left, right):
            return False
        equal = 0
        for attempt in range(_MOST_TRIED):
            point = {name: Fraction(3 + 7 * attempt + 5 * at, 2 + (attempt + at) % 3) for at, name in enumerate(names)}
            try:
                if left.at(point) != right.at(point):
                    return False
            except ZeroDivisionError:
                continue
            equal += 1
            if equal == POINTS:
                return True
    except (TooLarge, ZeroDivisionError):
        return False
    return False


def _refuted(link: Link, context: Context) -> Polynomial | None:
    """What the sides differ by, if nothing that is stated can make them equal; None where they may be equal."""
    left, right = link.left.expression, link.right.expression
    if left is None or right is None or not (link.left.is_algebra and link.right.is_algebra):
        return None
    try:
        gap = difference(left, right)
    except (TooLarge, ZeroDivisionError):
        return None
    if not gap or may_hold(gap, statements_of(context.question, context.solution)):
        return None
    return gap


def _same(original_step: str, old: Link, edited_step: str, new: Link) -> bool:
    return original_step[old.left.start : old.right.end].split() == edited_step[new.left.start : new.right.end].split()


def _claimed(step: str, chain: Chain, context: Context) -> bool:
    """Whether the step states the chain as true: no word of its sentence makes it a condition, a task or a denial."""
    head = context.solution[: context.start]
    whole = prose(head + step)
    start, end = len(head) + chain.start, len(head) + chain.end
    sentence = max((m.end() for m in _SENTENCE_END.finditer(whole, 0, start)), default=0)
    if _BEFORE.search(whole, sentence, start):
        return False
    stop = _SENTENCE_END.search(whole, end)
    behind = whole[end : stop.start() if stop else len(whole)]
    near = " ".join(behind.split()[:4])
    return not (_BEHIND.search(near) or _DENIED.search(behind) or (stop is not None and stop[0] == "?"))


def _evidence(
    original_step: str, old: Chain, edited_step: str, new: Link, gap: Polynomial, at: int, context: Context
) -> Evidence | None:
    left, right = new.left.expression, new.right.expression
    if left is None or right is None:
        return None
    names = left.variables() | right.variables()
    point = a_point(gap, names, statements_of(context.question, context.solution))
    try:
        values = [str(side.at(point)) for side in (left, right)]
    except (ZeroDivisionError, TooLarge):
        return None
    if values[0] == values[1]:
        return None
    return Evidence(
        EvidenceKind.IDENTITY,
        {
            "equation": edited_step[new.left.start : new.right.end],
            "original": original_step[old.sides[at].start : old.sides[at + 1].end],
            "at": {name: str(value) for name, value in sorted(point.items())},
            "left": values[0],
            "right": values[1],
            "points": POINTS,
            "start": new.left.start,
            "end": new.right.end,
        },
    )
