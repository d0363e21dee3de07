r"""Sets of real numbers, however written: ``-2 \le x \le 7``, ``x \in [-2,7]``, ``[-2,7]``, ``x \ne 3``, unions.

A region is compared on the cells that its end points cut the line into: at every end point, between two, and outside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cmp_to_key

from errata.answers.evaluation import equal, number
from errata.answers.expressions import Tree, parse
from errata.answers.fractional import Undefined, variables
from errata.answers.structure import Answer
from errata.answers.tokens import Unparsable

_INFINITY: Tree = ("const", "inf")
_FLIPPED = {"<": ">", ">": "<", "le": "ge", "ge": "le", "=": "=", "ne": "ne"}
_DIGITS = 60


@dataclass(frozen=True)
class Region:
    """``has(compare)`` says whether a place belongs, ``compare(end)`` being -1, 0 or 1 as it lies below, at, above."""

    name: str | None
    ends: tuple[Tree, ...]
    has: Callable[[Callable[[Tree], int]], bool] = field(compare=False)


def read_region(answer: Answer) -> Region | None:
    """The region an answer describes, None where it describes none."""
    try:
        return _region(answer)
    except (Unparsable, Undefined):
        return None


def _region(answer: Answer) -> Region | None:
    match answer.shape:
        case "tuple" if len(answer.parts) == 2:
            return _interval(answer)
        case "union" | "intersection" | "difference":
            return _combined(answer.shape, [_region(part) for part in answer.parts])
        case "set":
            return _points(answer)
        case "relation":
            return _relation(answer)
        case "builder":
            head, condition = answer.parts
            region = _region(condition)
            return region if region is not None and region.name == head.text.split("in")[0] else None
        case "list":
            if not all(part.shape in ("relation", "tuple") for part in answer.parts) or "," in answer.marks:
                return None
            mixed = set(answer.marks) - {"or", "或"} and set(answer.marks) & {"or", "或"}
            if mixed:
                return None
            joined = "union" if answer.marks[0] in ("or", "或") else "intersection"
            if any(part.shape == "tuple" for part in answer.parts):
                joined = "union"
            return _combined(joined, [_region(part) for part in answer.parts])
        case "leaf":
            return _named_set(answer)
    return None


def _named_set(answer: Answer) -> Region | None:
    if answer.text in ("set R", "all real numbers", "all reals", "allrealnumbers"):
        return Region(None, (), lambda _: True)
    if answer.text == "emptyset":
        return Region(None, (), lambda _: False)
    return None


def _end(answer: Answer) -> Tree:
    tree, ambiguous = parse(list(answer.tokens))
    if answer.shape != "leaf" or ambiguous or variables(tree):
        raise Unparsable("an end that is no number")
    return tree


def _interval(answer: Answer) -> Region | None:
    low, high = (_end(part) for part in answer.parts)
    closed = (answer.marks[0] == "[", answer.marks[1] == "]")
    if (closed[0] and _infinite(low)) or (closed[1] and _infinite(high)):
        return None  # infinity is no number that an interval could hold
    if _order(low, high) > 0 or answer.marks[0] not in "[(" or answer.marks[1] not in ")]":
        return None

    def has(compare: Callable[[Tree], int]) -> bool:
        above, below = compare(low), compare(high)
        return (above > 0 or (closed[0] and above == 0)) and (below < 0 or (closed[1] and below == 0))

    return Region(None, (low, high), has)


def _points(answer: Answer) -> Region | None:
    ends = tuple(_end(part) for part in answer.parts)
    return Region(None, ends, lambda compare: any(compare(end) == 0 for end in ends))


def _combined(shape: str, regions: list[Region | None]) -> Region | None:
    known = [region for region in regions if region is not None]
    names = {region.name for region in known if region.name}
    if len(known) < len(regions) or len(names) > 1:
        return None
    ends = tuple(end for region in known for end in region.ends)

    def has(compare: Callable[[Tree], int]) -> bool:
        inside = [region.has(compare) for region in known]
        if shape == "difference":
            return inside[0] and not any(inside[1:])
        return any(inside) if shape == "union" else all(inside)

    return Region(names.pop() if names else None, ends, has)


def _relation(answer: Answer) -> Region | None:
    """``a < x <= b`` and ``x != a`` and ``x in S``, for one name and ends without one."""
    parts, marks = answer.parts, answer.marks
    if marks == ("in",):
        region, name = _region(parts[1]), _name(parts[0])
        return Region(name, region.ends, region.has) if region is not None and name and region.name is None else None
    if any(mark not in _FLIPPED for mark in marks) or all(mark == "=" for mark in marks):
        return None
    named = [at for at, part in enumerate(parts) if _name(part)]
    if len(named) != 1 or len(parts) > 3:
        return None
    at = named[0]
    limits = [(marks[at - 1], _end(parts[at - 1]))] if at else []
    limits = [(_FLIPPED[mark], end) for mark, end in limits]
    limits += [(marks[at], _end(parts[at + 1]))] if at + 1 < len(parts) else []
    if len(limits) < len(marks):
        return None
    return Region(_name(parts[at]), tuple(end for _, end in limits), lambda compare: all(
        {"<": place < 0, ">": place > 0, "le": place <= 0, "ge": place >= 0, "=": place == 0, "ne": place != 0}[mark]
        for mark, place in ((mark, compare(end)) for mark, end in limits)
    ))  # fmt: skip


def _name(answer: Answer) -> str | None:
    return (
        answer.text if answer.shape == "leaf" and len(answer.tokens) == 1 and answer.tokens[0].kind == "var" else None
    )


def _order(one: Tree, other: Tree) -> int:
    """-1, 0, 1 as ``one`` lies below, at or above ``other``. Raises Unparsable for what is not real."""
    sizes = (_infinite(one), _infinite(other))
    if sizes[0] or sizes[1]:
        return (sizes[0] > sizes[1]) - (sizes[0] < sizes[1])
    if equal(one, other):
        return 0
    values = [number(tree, _DIGITS) for tree in (one, other)]
    if any(getattr(value, "imag", 0) for value in values):
        raise Unparsable("an end that is not real")
    return 1 if values[0].real > values[1].real else -1


def _infinite(tree: Tree) -> int:
    if tree == _INFINITY:
        return 1
    return -1 if tree == ("neg", _INFINITY) else 0


def same_region(gold: Region, answer: Region) -> bool:
    """Whether two regions hold the same numbers, and are about the same name where both have one. Raises Unparsable."""
    if gold.name and answer.name and gold.name != answer.name:
        return False
    ends = sorted({*gold.ends, *answer.ends}, key=cmp_to_key(_order))
    ranks: dict[Tree, int] = {}
    rank = 0
    for at, end in enumerate(ends):
        # Equal ends written differently (1/2 and 0.5) are one place.
        rank += 2 if at and _order(ends[at - 1], end) else 0
        ranks[end] = rank
    lowest = -1
    for place in range(lowest, rank + 2):
        if any(ranks[end] == place and _infinite(end) for end in ends):
            continue  # infinity is no number: closed or open there is a matter of spelling

        def compare(end: Tree, place: int = place) -> int:
            return (place > ranks[end]) - (place < ranks[end])

        if place % 2 and any(_infinite(end) and compare(end) * _infinite(end) > 0 for end in ends):
            continue  # nothing lies beyond infinity
        if gold.has(compare) != answer.has(compare):
            return False
    return True
