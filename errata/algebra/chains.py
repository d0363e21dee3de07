"""Chains of equations in a text, each side read as a rational expression where it can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from errata.algebra.expressions import Expression
from errata.algebra.lexing import Token, tokens
from errata.algebra.parsing import FUNCTIONS, Unread, parse_side
from errata.algebra.spans import find_spans

MAX_TEXT = 20_000
MAX_CHAINS = 200


@dataclass(frozen=True, slots=True)
class ChainSide:
    """One side of a chain. ``expression`` is None where it was not read; ``letters`` are those it may speak of."""

    start: int
    end: int
    tokens: tuple[Token, ...]
    expression: Expression | None
    letters: frozenset[str]

    @property
    def is_algebra(self) -> bool:
        """Whether it was read and speaks of single letters alone, no function."""
        return self.expression is not None and all(len(name) == 1 for name in self.expression.variables())


@dataclass(frozen=True, slots=True)
class Chain:
    """Sides with the relations between them: ``=``, or another sign as written.

    ``stated``: it stands alone, between delimiters or as a whole fragment of a line. Otherwise words around it belong
    to its sides ("a total of 3x = 12"): what it says of its letters is not known.
    """

    sides: tuple[ChainSide, ...]
    relations: tuple[str, ...]
    stated: bool = True

    @property
    def start(self) -> int:
        """The offset of its first side."""
        return self.sides[0].start

    @property
    def end(self) -> int:
        """The offset behind its last side."""
        return self.sides[-1].end


@lru_cache(maxsize=512)  # an edit is made, screened and proven in turn: the same texts come back
def find_chains(text: str) -> tuple[Chain, ...]:
    """Every chain with at least one relation sign, in order; offsets refer to ``text``.

    Text beyond ``MAX_TEXT`` characters has no chain at all: what is stated there could not be known. Never raises.
    """
    if len(text) > MAX_TEXT:
        return ()
    chains: list[Chain] = []
    for span in find_spans(text):
        read = tokens(text, span.start, span.end, delimited=span.delimited)
        found = [_chain(part) for part in _parts(read)]
        kept = [chain for chain in found if chain is not None]
        stated = span.delimited or all(side.expression for chain in kept for side in chain.sides)
        chains += kept if stated else [replace(chain, stated=False) for chain in kept]
        if len(chains) > MAX_CHAINS:
            break
    return tuple(chains)


def is_complete(text: str) -> bool:
    """Whether ``find_chains`` looks at the whole text."""
    return len(text) <= MAX_TEXT and len(find_chains(text)) <= MAX_CHAINS


def _parts(read: Sequence[Token]) -> list[list[Token]]:
    """Cut at line breaks, commas and arrows outside brackets; a line that opens with ``=`` goes on with the last."""
    parts: list[list[Token]] = [[]]
    depth = 0
    for at, token in enumerate(read):
        depth += (token.kind == "open") - (token.kind == "close")
        if token.kind == "brk":
            following = read[at + 1] if at + 1 < len(read) else None
            last = read[at - 1] if at else None
            goes_on = following is not None and following.kind in ("equals", "relation")
            hangs = last is not None and last.kind in ("equals", "relation", "operator")
            if goes_on or hangs:
                continue
            if following is not None and following.kind == "operator":
                # A sum that goes on, or a new equation with a negative side: nobody can tell.
                parts[-1].append(Token("bad", token.start, token.end, token.symbol))
                continue
            parts.append([])
        elif token.kind == "implies" and depth <= 0:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _chain(part: Sequence[Token]) -> Chain | None:
    sides: list[list[Token]] = [[]]
    relations: list[str] = []
    for token in part:
        if token.kind in ("equals", "relation"):
            relations.append(token.symbol)
            sides.append([])
        else:
            sides[-1].append(token)
    if not relations:
        return None
    # A chain that opens or ends with a sign has its other side elsewhere.
    first, last = (0 if sides[0] else 1), (len(sides) if sides[-1] else len(sides) - 1)
    kept = sides[first:last]
    if len(kept) < 2 or not all(kept):
        return None
    return Chain(tuple(_side(side) for side in kept), tuple(relations[first : last - 1]))


def _side(side: Sequence[Token]) -> ChainSide:
    try:
        expression = parse_side(side)
    except Unread:
        expression = None
    return ChainSide(side[0].start, side[-1].end, tuple(side), expression, _letters(side, expression))


def _letters(side: Sequence[Token], expression: Expression | None) -> frozenset[str]:
    if expression is not None:
        return expression.variables()
    # Long words are prose; short ones may be products, as in "xy = 12".
    spoken = "".join(t.symbol for t in side if t.symbol.isalpha() and len(t.symbol) <= 3)
    return frozenset(spoken) - FUNCTIONS
