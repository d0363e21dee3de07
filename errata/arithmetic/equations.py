"""Find every equation and chain in prose, and judge it.

Text is cut into clauses (lines, sentences, commas), clauses at their relation signs. Between two signs stands either
one side of a chain or the right side of one equation and the left side of the next, with prose between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from errata.arithmetic.judging import Judged, Term, judge
from errata.arithmetic.lexer import VERBAL, Lexeme, lex, mark_spans
from errata.arithmetic.nodes import Equation, Side
from errata.arithmetic.parser import Parsed, parse
from errata.arithmetic.vocabulary import (
    AFTER_FORBIDDEN,
    APPROXIMATE,
    BEFORE_FORBIDDEN,
    CLAUSE_WORDS,
    MEAN_WORDS,
    OF_FORBIDDEN,
    VARIABLE_LETTERS_ALLOWED,
)

MAX_TEXT = 50_000
MAX_SEGMENT = 120
MAX_EQUATIONS = 500
MAX_LEAD_WORDS = 5


@dataclass(slots=True)
class _Found:
    """A side in its clause; ``alone``: nothing but the side stands in its segment."""

    parsed: Parsed
    approximate: bool = False
    unjudgeable: bool = False
    alone: bool = True


@lru_cache(maxsize=4096)  # an edit is judged, proven and screened in turn: the same few texts come back
def find_equations(text: str) -> tuple[Equation, ...]:
    """Every equation or chain visible in ``text``, in order; offsets refer to ``text`` as given.

    Calculator marks are looked through. Text beyond ``MAX_TEXT`` characters and segments beyond ``MAX_SEGMENT`` lexemes
    are not read. Never raises; time is linear in the text for any fixed cap.
    """
    text = text[:MAX_TEXT]
    if not any(sign in text for sign in ("=", "≈", "≃", "≅", "\\approx", "\\simeq")):
        return ()
    equations: list[Equation] = []
    for clause in _clauses(lex(text, mark_spans(text))):
        equations += _clause_equations(text, clause)
        if len(equations) > MAX_EQUATIONS:
            break
    return tuple(equations[:MAX_EQUATIONS])


def _clauses(lexemes: Sequence[Lexeme]) -> list[list[Lexeme]]:
    """Lexemes between breaks. A line break next to a relation sign is none: the chain goes on."""
    clauses: list[list[Lexeme]] = [[]]
    for at, lexeme in enumerate(lexemes):
        if lexeme.kind != "brk":
            clauses[-1].append(lexeme)
            continue
        following = next((later for later in lexemes[at + 1 : at + 6] if later.symbol != "\n"), None)
        goes_on = following is not None and following.kind == "rel"
        hangs = bool(clauses[-1]) and clauses[-1][-1].kind == "rel"
        if lexeme.symbol == "\n" and clauses[-1] and (goes_on or hangs):
            continue
        clauses.append([])
    return [clause for clause in clauses if any(lexeme.kind == "rel" for lexeme in clause)]


def _clause_equations(text: str, clause: list[Lexeme]) -> list[Equation]:
    relations = [at for at, lexeme in enumerate(clause) if lexeme.kind == "rel"]
    unreadable = any(lexeme.kind == "cmd" for lexeme in clause)
    # Between two relation signs stands one side of a chain ("= 12 =") or two sides with prose between them ("= 12, and
    # 3 + 4 ="): if the side behind the first sign does not reach the second, a new chain starts.
    chains: list[list[_Found | None]] = [[_suffix(clause, 0, relations[0], 0)]]
    for at, relation in enumerate(relations):
        limit = relations[at + 1] if at + 1 < len(relations) else len(clause)
        approximate = clause[relation].symbol == "≈"
        right = _prefix(clause, relation + 1, limit, approximate)
        chains[-1].append(right)
        if limit == len(clause) or (right is not None and right.parsed.stop == limit):
            continue
        chains.append([_suffix(clause, relation + 1, limit, right.parsed.stop if right else relation + 1)])
    built = [_build(text, [side for side in chain if side is not None], unreadable) for chain in chains]
    return [equation for equation in built if equation is not None]


def _suffix(clause: list[Lexeme], first: int, limit: int, earliest: int) -> _Found | None:
    """The longest side that ends where the segment does, starting no earlier than ``earliest``."""
    first = max(first, limit - MAX_SEGMENT)
    # From the left, so the longest side wins: a shorter one would drop terms and could look false.
    for at in range(max(first, earliest), limit):
        if clause[at].kind not in ("num", "open", "cur", "op"):
            continue
        parsed = parse(clause, at, limit)
        if parsed is not None and parsed.stop == limit:
            altered = at > first and (_altered_before(clause, at) or _is_mean_of_sum(clause, at, parsed))
            return _Found(parsed, False, altered, at == first)
    return None


def _altered_before(clause: list[Lexeme], at: int) -> bool:
    """Whether what stands before a side changes its meaning: an operator, a function, "half of", a variable."""
    here, before = clause[at], clause[at - 1]
    if before.kind == "open":
        return at > 1 and clause[at - 2].kind != "word" and _altered_before(clause, at - 1)
    if before.kind in ("op", "bad", "num", "close", "pct", "cmd"):
        return True
    if before.kind != "word":
        return False
    if here.glued and here.kind in ("open", "num", "op"):
        return True
    word = before.text.lower()
    if word == "and" and at > 1:
        return clause[at - 2].kind == "num" and at + 1 < len(clause) and clause[at + 1].text == "/"  # "1 and 1/4"
    if word == "of" and at > 1:
        return _names_a_share(clause[at - 2])
    return word in BEFORE_FORBIDDEN or (len(word) == 1 and before.text not in VARIABLE_LETTERS_ALLOWED)


def _names_a_share(lexeme: Lexeme) -> bool:
    return lexeme.kind in ("pct", "num") or lexeme.text.lower() in OF_FORBIDDEN


def _is_mean_of_sum(clause: list[Lexeme], at: int, parsed: Parsed) -> bool:
    """Whether a side is the list in "the average of 3 + 5"."""
    named = at > 1 and clause[at - 1].text == "of" and clause[at - 2].text.lower() in MEAN_WORDS
    return named and any(token.symbol == "+" for token in parsed.tokens)


def _prefix(clause: list[Lexeme], first: int, limit: int, approximate: bool) -> _Found | None:
    """The side that starts behind a relation sign, after a few words at most ("a total of")."""
    at = first
    unjudgeable = False
    while at < limit and at - first < MAX_LEAD_WORDS and clause[at].kind == "word":
        word = clause[at].text.lower()
        approximate = approximate or word in APPROXIMATE
        single = len(word) == 1 and clause[at].text not in VARIABLE_LETTERS_ALLOWED
        unjudgeable = unjudgeable or single or word in BEFORE_FORBIDDEN or word in OF_FORBIDDEN
        if word in CLAUSE_WORDS:
            return None
        at += 1
    if at >= limit:
        return None
    parsed = parse(clause, at, min(limit, at + MAX_SEGMENT))
    if parsed is None:
        return None
    unjudgeable = (
        unjudgeable or (at > first and _altered_before(clause, at)) or _altered_after(clause, parsed.stop, limit)
    )
    spoken = any(token.text.split()[0] in VERBAL for token in parsed.tokens if token.text.isascii())
    unjudgeable = unjudgeable or (spoken and parsed.stop < limit)  # "= 360 divided by 5 is ..."
    return _Found(parsed, approximate, unjudgeable, at == first and parsed.stop == limit)


def _altered_after(clause: list[Lexeme], stop: int, limit: int) -> bool:
    """Whether what follows a side changes its meaning: a dangling operator, "remainder", a bracket, an unknown sign."""
    if stop >= limit:
        return False
    after = clause[stop]
    if after.kind in ("op", "bad", "cmd", "num"):
        return True
    if after.kind == "open":
        return after.glued
    if after.kind != "word":
        return False
    if after.text == "of":
        return any(lexeme.kind in ("num", "cur") for lexeme in clause[stop + 1 : min(stop + 4, limit)])
    return after.text in AFTER_FORBIDDEN


def _build(text: str, sides: list[_Found], unreadable: bool) -> Equation | None:
    if len(sides) < 2:
        return None
    judged = _judge(sides, unreadable)
    made = tuple(
        Side(s.parsed.start, s.parsed.end, text[s.parsed.start : s.parsed.end], value, s.parsed.tokens)
        for s, value in zip(sides, judged.values, strict=True)
    )
    return Equation(made[0].start, made[-1].end, made, judged.holds, judged.broken)


def _judge(sides: list[_Found], unreadable: bool) -> Judged:
    terms = [Term(None if s.unjudgeable or unreadable else s.parsed.node, s.approximate) for s in sides]
    units = frozenset[str]().union(*(s.parsed.units for s in sides))
    judged = judge(terms, units)
    first = sides[0]
    if judged.holds is False and not _computes(first) and (not first.alone or first.parsed.has_words):
        # "a square of side 4 = 16", "3 weeks = 21 days": a bare number in prose claims no equality of numbers.
        return judge([Term(None), *terms[1:]], units)
    return judged


def _computes(side: _Found) -> bool:
    return any(t.kind == "operator" and t.symbol not in ("neg", "frac") for t in side.parsed.tokens)
