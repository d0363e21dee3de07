"""Rule-made edits of identities: one sign, number, exponent or term of an algebraic step changed, and proven false.

Only digits and signs that the solution has written itself are changed, so the notation stays the solution's own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from errata.algebra import Chain, ChainSide, find_chains
from errata.algebra.lexing import Token
from errata.identity import Context, identities, prove_identity
from errata.kinds.registry import Site, TextEdit, usable_edits

MAX_NUMBER = 4  # digits of a coefficient that a slip changes
Propose = Callable[[str], Iterator[TextEdit]]


def _twin(propose: Propose, site: Site, most: int, rng: random.Random | None) -> list[str]:
    """Up to ``most`` edits of the step after which one of its identities is none."""
    step = site.text
    if "=" not in step or not any(identities(chain) for chain in find_chains(step)):
        return []
    context = Context(site.problem.question, site.solution, site.step.start)

    def is_error(edited: str) -> bool:
        return prove_identity(step, edited, context) is not None

    return usable_edits(propose(step), lambda edit: edit.apply(step), is_error, most, rng)


def _chains(step: str) -> Iterator[tuple[Chain, list[int]]]:
    """Chains that hold an identity, with the places of the sides that are equal to the one before."""
    for chain in find_chains(step):
        places = [at + 1 for at, _ in identities(chain)]
        if places:
            yield chain, places


def _results(step: str) -> Iterator[ChainSide]:
    return (chain.sides[at] for chain, places in _chains(step) for at in places)


def _computed(step: str) -> Iterator[ChainSide]:
    return (chain.sides[at - 1] for chain, places in _chains(step) for at in places)


def _is_exponent(side: ChainSide, at: int) -> bool:
    tokens = side.tokens
    before = tokens[at - 1] if at else None
    if before is not None and before.kind == "open" and before.symbol == "{":
        before = tokens[at - 2] if at > 1 else None
    return before is not None and before.kind == "power"


def _slips(token: Token) -> list[tuple[str, float]]:
    """Whole numbers near a number, two or more where it is: nobody writes ``1x`` or ``0x``."""
    if not token.symbol.isdigit() or len(token.symbol) > MAX_NUMBER:
        return []
    value = int(token.symbol)
    near = {value + step: weight for step, weight in ((1, 1.0), (-1, 1.0), (2, 0.6), (-2, 0.6))}
    if value >= 10:
        near |= {value + 10: 0.6, value - 10: 0.6, int(token.symbol[::-1]): 0.6}
    return [(str(n), weight) for n, weight in near.items() if n != value and n >= min(2, value) and n > 0]


def _numbers(side: ChainSide, *, exponents: bool) -> Iterator[TextEdit]:
    for at, token in enumerate(side.tokens):
        # \frac12 holds two numbers in one token: left alone.
        after_fraction = at > 0 and side.tokens[at - 1].kind == "fraction"
        if token.kind != "number" or after_fraction:
            continue
        raised = _is_exponent(side, at)
        if raised and exponents and token.symbol in ("2", "3", "4", "5"):
            other = "3" if token.symbol == "2" else str(int(token.symbol) - 1)
            yield TextEdit(token.start, token.end, other, 0.5)
        elif not raised:
            yield from (TextEdit(token.start, token.end, text, weight) for text, weight in _slips(token))


def _calculation(step: str) -> Iterator[TextEdit]:
    """Another coefficient in what was worked out."""
    return (edit for side in _results(step) for edit in _numbers(side, exponents=False))


def _substitution(step: str) -> Iterator[TextEdit]:
    """Another coefficient or exponent in what is worked out."""
    return (edit for side in _computed(step) for edit in _numbers(side, exponents=True))


def _operator(step: str) -> Iterator[TextEdit]:
    """A plus for a minus, or a minus for a plus, between two terms."""
    for side in _results(step):
        for at, token in enumerate(side.tokens):
            inner = at > 0 and side.tokens[at - 1].kind not in ("operator", "open", "power")
            written = {"+": "-", "-": "+", "−": "+", "–": "+"}
            if token.kind == "operator" and token.symbol in "+-" and inner:
                yield TextEdit(token.start, token.end, "-" if token.symbol == "+" else written["-"])


def _omission(step: str) -> Iterator[TextEdit]:
    """One term of a sum of three or more left out, with the sign before it."""
    for side in _results(step):
        signs = _outer_signs(side)
        if len(signs) < 2:
            continue
        for place, at in enumerate(signs):
            # A term ends where the next begins; the last one ends with the side.
            until = side.tokens[signs[place + 1] - 1].end if place + 1 < len(signs) else side.end
            start = side.tokens[at - 1].end
            yield TextEdit(start, until, "")


def _outer_signs(side: ChainSide) -> list[int]:
    """Places of the plus and minus signs between terms, outside every bracket."""
    depth, found = 0, []
    for at, token in enumerate(side.tokens):
        depth += (token.kind == "open") - (token.kind == "close")
        between = at > 0 and side.tokens[at - 1].kind != "operator"
        if depth == 0 and between and token.kind == "operator" and token.symbol in "+-":
            found.append(at)
    return found


#: By the name of the kind whose rule-made edits these complete, where a step has no arithmetic to edit.
TWINS: Mapping[str, Callable[[Site, int, random.Random | None], list[str]]] = {
    "calculation": partial(_twin, _calculation),
    "substitution": partial(_twin, _substitution),
    "omission": partial(_twin, _omission),
    "operator": partial(_twin, _operator),
}
