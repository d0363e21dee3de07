"""What question and solution state about their letters, so that a refutation can be kept from what they allow.

``may_hold`` fails closed: what was not read counts as if it could make any equation of its letters true.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from errata.algebra.chains import Chain, ChainSide, find_chains, is_complete
from errata.algebra.expressions import Expression, difference
from errata.algebra.polynomials import (
    Polynomial,
    TooLarge,
    degree,
    have_common_root,
    solve_linear,
    substitute,
    variables,
)
from errata.algebra.spans import math_spans

MAX_RELATIONS = 60
# Congruences make equations true that are not; so may an operation of the question's own.
_OTHER_RULES = re.compile(
    r"\\p?mod|\\bmod|\bmod(?:ulo)?\b|congruen|remainder|\\equiv|\boperation\b|\boperator\b|\bbinary\b|greatest integer",
    re.I,
)
_COUNTED = re.compile(
    r"\b(?:integers?|digits?|primes?|whole|natural|odd|even|multiple|divisors?|divides|divisible)\b", re.I
)
_SENTENCE = re.compile(r"[^.?!\n]*(?:[.?!](?!\s|\Z)[^.?!\n]*)*[.?!\n]?")
# "x is 3", "$a$ and $b$ are opposites", "x equals twice y": values and relations in words.
_VALUED = re.compile(
    r"(?<![A-Za-z\\])[A-Za-z](?:\)|\\\)|\$)*\s+"
    r"(?:is|are|be|being|was|equals?|becomes?|has|takes|exceeds|denotes?|represents?|gives?|makes?|yields?)"
    r"\s(?P<what>[^.;?!\n]{1,80})"
)
_VALUE = re.compile(
    r"\d|\$|\\\(|\b(?:that|those|zero|one|two|three|four|five|six|seven|eight|nine|ten|half|twice|double|triple|times|opposites?|same"
    r"|reciprocals?|inverses?|equal|negatives?|more|less|sum|difference|product|quotient|roots?|zeros|solutions?"
    r"|consecutive|square|cube)\b",
    re.I,
)
_SINGLE = re.compile(r"(?<![A-Za-z\\])[A-Za-z](?![A-Za-z])")
_UNORDERED = frozenset({"\\ne", "\\neq", "≠"})
_ORDERS = frozenset({"<", ">", "≤", "≥", "\\le", "\\leq", "\\ge", "\\geq", "\\lt", "\\gt"})


@dataclass(frozen=True, slots=True)
class Statements:
    """Relations ``p = 0`` that were read, and the letters of which something is said that was not read.

    ``closed``: something is said about all letters, or the text is too long to know.
    """

    relations: tuple[Polynomial, ...] = ()
    unread: frozenset[str] = frozenset()
    closed: bool = False


@lru_cache(maxsize=256)  # every edit of a problem's solution asks the same
def statements_of(question: str, solution: str) -> Statements:
    """What both texts state."""
    if _OTHER_RULES.search(question) or _OTHER_RULES.search(solution):
        return Statements(closed=True)
    if not (is_complete(question) and is_complete(solution)):
        return Statements(closed=True)
    counted = _COUNTED.search(question) is not None or _COUNTED.search(solution) is not None
    chains = (*find_chains(question), *find_chains(solution))
    relations: list[Polynomial] = []
    # f(2) = 7 says something of the letters that f(x) = ax + b is made of.
    unread = _tied_by_functions(chains)
    unread |= set(_valued_in_words(question)) | set(_valued_in_words(solution))
    for chain in chains:
        for left, sign, right in zip(chain.sides, chain.relations, chain.sides[1:], strict=False):
            stated = _stated(chain, left, sign, right, counted=counted)
            if isinstance(stated, dict):
                relations += [stated] if variables(stated) and stated not in relations else []
            else:
                unread |= stated
        if len(relations) > MAX_RELATIONS:
            return Statements(closed=True)
    return Statements(tuple(relations), frozenset(unread))


def _stated(
    chain: Chain, left: ChainSide, sign: str, right: ChainSide, *, counted: bool
) -> Polynomial | frozenset[str]:
    """The relation that a link states; or the letters of which it states something that cannot be used."""
    letters = left.letters | right.letters
    if sign in _UNORDERED:
        return frozenset()
    if sign in _ORDERS:
        # An order leaves room, except for whole numbers: between 1 and 3 there is one.
        return letters if counted else frozenset()
    if sign != "=" or not chain.stated:
        return letters
    sides = [_named(side) for side in (left, right)]
    if sides[0] is None or sides[1] is None:
        return letters
    try:
        return difference(sides[0], sides[1])
    except (TooLarge, ZeroDivisionError):
        return letters


def _tied_by_functions(chains: Sequence[Chain]) -> set[str]:
    """The letters of chains with a function that is applied to more than one argument."""
    applied: dict[str, set[str]] = defaultdict(set)
    for chain in chains:
        for name in frozenset[str]().union(*(side.letters for side in chain.sides)):
            if "(" in name:
                applied[name[0]].add(name)
    several = frozenset[str]().union(*(names for names in applied.values() if len(names) > 1))
    tied: set[str] = set()
    for chain in chains:
        letters = frozenset[str]().union(*(side.letters for side in chain.sides))
        tied |= letters if letters & several else set()
    return tied


def _named(side: ChainSide) -> Expression | None:
    """The side's expression; a quantity named in words is a variable of its own."""
    if side.expression is None and not side.letters and any(t.kind == "text" for t in side.tokens):
        return Expression("variable", name=" ".join(t.symbol for t in side.tokens))
    return side.expression


def _valued_in_words(text: str) -> Iterator[str]:
    """The letters of every sentence that gives a value or a relation of a letter in words."""
    if not any(_VALUE.search(found["what"]) for found in _VALUED.finditer(text)):
        return
    plain = _without_delimiters(text)
    for sentence in _SENTENCE.finditer(plain):
        if any(_VALUE.search(found["what"]) for found in _VALUED.finditer(sentence[0])):
            yield from _SINGLE.findall(sentence[0])


def _without_delimiters(text: str) -> str:
    parts: list[str] = []
    done = 0
    for outer, start, end, stop in math_spans(text):
        parts += [text[done:outer], text[start:end]]
        done = stop
    return "".join([*parts, text[done:]])


def may_hold(gap: Polynomial, statements: Statements) -> bool:
    """Whether ``gap = 0`` could be true under what is stated. ``gap`` is not zero itself. Fails closed."""
    # Under a congruence even a constant gap may be none.
    if statements.closed:
        return True
    names = variables(gap)
    if not names:
        return False
    try:
        return _may_hold(gap, names, statements)
    except (TooLarge, ZeroDivisionError):
        return True


def _may_hold(gap: Polynomial, names: frozenset[str], statements: Statements) -> bool:
    relations = _without_definitions(statements, names)
    reached, relations = _connected(names, relations)
    if reached & statements.unread:
        return True
    linear = [relation for relation in relations if degree(relation) == 1]
    for relation in relations:
        if degree(relation) > 1 and not _excludes(relation, gap):
            return True
    solved = solve_linear(linear)
    if solved is not None:
        return not substitute(gap, solved)
    # Alternatives (x = 1 or x = 3), or a case shown to be impossible: each is looked at by itself.
    if any(len(variables(relation)) > 1 for relation in linear):
        return True
    cases = [solve_linear([relation]) or {} for relation in linear]
    return any(not substitute(gap, case) for case in cases)


def _excludes(relation: Polynomial, gap: Polynomial) -> bool:
    """Whether a relation in one variable has no root in common with ``gap``, of the same variable."""
    names = variables(relation) | variables(gap)
    if len(names) != 1:
        return False
    return not have_common_root(relation, gap, next(iter(names)))


def _without_definitions(statements: Statements, names: frozenset[str]) -> list[Polynomial]:
    """The relations but those that only name something: a variable that occurs nowhere else says nothing of others."""
    relations = list(statements.relations)
    while True:
        naming = next((r for r in relations if _names(r, relations, names | statements.unread)), None)
        if naming is None:
            return relations
        relations.remove(naming)


def _names(relation: Polynomial, relations: Sequence[Polynomial], asked: frozenset[str]) -> bool:
    elsewhere = asked | variables(*(other for other in relations if other is not relation))
    return any(_is_linear_in(relation, name) for name in variables(relation) - elsewhere)


def _is_linear_in(relation: Polynomial, name: str) -> bool:
    return all(monomial == ((name, 1),) for monomial in relation if any(name == n for n, _ in monomial))


def _connected(names: frozenset[str], relations: Iterable[Polynomial]) -> tuple[frozenset[str], list[Polynomial]]:
    """The letters that relations tie to ``names``, and those relations."""
    reached, rest, kept = names, list(relations), list[Polynomial]()
    while touching := [relation for relation in rest if variables(relation) & reached]:
        kept += touching
        reached = reached | variables(*touching)
        rest = [relation for relation in rest if not any(relation is other for other in touching)]
    return reached, kept


def a_point(gap: Polynomial, names: frozenset[str], statements: Statements) -> dict[str, Fraction]:
    """Values for ``names`` where ``gap`` is not zero: those stated where they are, small primes elsewhere."""
    linear = [r for r in statements.relations if degree(r) == 1]
    solved = (solve_linear(linear) if linear else {}) or {}
    fixed = {name: value.get((), Fraction(0)) for name, value in solved.items() if not variables(value)}
    primes = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29)
    for shift in range(len(primes)):
        free = {n: Fraction(primes[(at + shift) % len(primes)]) for at, n in enumerate(sorted(names))}
        point = {name: fixed.get(name, free[name]) for name in names}
        if substitute(gap, {name: {(): value} if value else {} for name, value in point.items()}):
            return point
        fixed = {} if shift > 4 else fixed
    return free
