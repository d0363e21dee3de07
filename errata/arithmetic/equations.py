"""Find every equation and chain in prose, and judge it.

Text is cut into clauses (lines, sentences, commas), clauses at their relation signs. Between two signs stands either
one side of a chain or the right side of one equation and the left side of the next, with prose between.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from errata.arithmetic.altering import altered_after, altered_before
from errata.arithmetic.enclosures import Enclosure, middle
from errata.arithmetic.functions import Value, distance
from errata.arithmetic.judging import Judged, Term, judge
from errata.arithmetic.lexemes import Lexeme
from errata.arithmetic.lexer import lex, mark_spans
from errata.arithmetic.matrices import Matrix
from errata.arithmetic.nodes import Equation, Side
from errata.arithmetic.parser import MAX_DEPTH, Parsed, parse
from errata.arithmetic.vocabulary import (
    APPROXIMATE,
    BEFORE_FORBIDDEN,
    CLAUSE_WORDS,
    MEAN_WORDS,
    OF_FORBIDDEN,
    VARIABLE_LETTERS_ALLOWED,
    VERBAL,
)

MAX_TEXT = 50_000
MAX_SEGMENT = 120
MAX_EQUATIONS = 500
MAX_LEAD_WORDS = 5
_RELATIONS = ("=", "≈", "≃", "≅", "\\approx", "\\simeq", "\\doteq", "＝")
# A remainder makes unequal numbers equal, so nothing in its clause is judged.
_MODULAR = re.compile(r"\\(?:pmod|bmod|mod|pod|equiv)(?![A-Za-z])|≡")
_MOST_ROUNDED = Fraction(1, 2)
_BINARY = ("+", "-", "*", "/")
_EDGE = Lexeme("brk", 0, 0, "")
_PROSE_BETWEEN = 3  # words that part a remainder from an equation in another piece of mathematics
_MODULAR_WORDS = frozenset({"mod", "modulo"})
_BASE = re.compile(
    r"\b(?:in|to|from|of|into|as|an?|the|is|and)\s+base[ -]?"
    r"(?:\d|\$|\\|two|three|four|five|six|seven|eight|nine|twelve|sixteen)"
    r"|\b(?:binary|octal|hexadecimal|ternary)\b",
    re.I,
)
_TRIANGLE = re.compile(r"triang|height|area|volume|altitude|isosceles|trapez|pyramid|log", re.I)
_SAYS_ROUNDED = re.compile(
    r"round|nearest|approx|about|roughly|almost|nearly|estimat|whole|integer|truncat|floor|ceil|at (?:least|most)"
    r"|up to|remainder|discard|ignor|\\approx|≈|约|四舍五入|取整|整数",
    re.I,
)


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
    if not any(sign in text for sign in _RELATIONS) or _other_base(text):
        return ()
    equations: list[Equation] = []
    for clause in _clauses(lex(text, mark_spans(text))):
        equations += _clause_equations(text, clause)
        if len(equations) > MAX_EQUATIONS:
            break
    return tuple(equations[:MAX_EQUATIONS])


def _other_base(text: str) -> bool:
    """Whether numbers of the text are written in another base; then nothing in it is judged."""
    return _BASE.search(text) is not None and not _TRIANGLE.search(text)


def _clauses(lexemes: Sequence[Lexeme]) -> list[list[Lexeme]]:
    """Lexemes between breaks. A line break next to a relation sign, or behind an operator, is none: it goes on."""
    clauses: list[list[Lexeme]] = [[]]
    for at, lexeme in enumerate(lexemes):
        clause = clauses[-1]
        if lexeme.kind != "brk":
            clause.append(lexeme)
            continue
        if lexeme.symbol == "\n" and clause:
            following = next((later for later in lexemes[at + 1 : at + 6] if later.symbol != "\n"), None)
            hangs = clause[-1].kind == "rel" or (clause[-1].kind == "op" and clause[-1].symbol in _BINARY)
            if hangs or (following is not None and following.kind == "rel"):
                continue
            if following is not None and following.math and following.kind == "op" and following.symbol in _BINARY:
                # "\\\\ + 5" goes on with the sum above or starts another line: the side above is not all there is.
                clause.append(Lexeme("bad", lexeme.start, lexeme.end, lexeme.text))
        clauses.append([])
    return [clause for clause in clauses if any(lexeme.kind == "rel" for lexeme in clause)]


def _modular(clause: list[Lexeme], relation: int) -> bool:
    """Whether a remainder is spoken of where the relation stands; another piece of mathematics does not count."""
    for at, lexeme in enumerate(clause):
        if not _is_modular(lexeme):
            continue
        between = clause[min(at, relation) : max(at, relation)]
        words = sum(x.kind == "word" and not x.piece for x in between)
        if not lexeme.piece or lexeme.piece == clause[relation].piece or words < _PROSE_BETWEEN:
            return True
    return False


def _is_modular(lexeme: Lexeme) -> bool:
    if lexeme.kind == "cmd":
        return _MODULAR.match(lexeme.text) is not None
    return lexeme.kind == "word" and lexeme.text.lower() in _MODULAR_WORDS


def _clause_equations(text: str, clause: list[Lexeme]) -> list[Equation]:
    relations = [at for at, lexeme in enumerate(clause) if lexeme.kind == "rel"]
    # Between two relation signs stands one side of a chain ("= 12 =") or two sides with prose between them ("= 12, and
    # 3 + 4 ="): if the side behind the first sign does not reach the second, a new chain starts.
    chains: list[list[_Found | None]] = [[_suffix(clause, 0, relations[0], 0)]]
    modular = any(map(_is_modular, clause))
    grams = _doubts_grams(clause)
    for at, relation in enumerate(relations):
        limit = relations[at + 1] if at + 1 < len(relations) else len(clause)
        approximate = clause[relation].symbol == "≈"
        right = _prefix(clause, relation + 1, limit, approximate)
        if right is not None and (grams or (modular and _modular(clause, relation))):
            right.unjudgeable = True
        chains[-1].append(right)
        if limit == len(clause) or (right is not None and right.parsed.stop == limit):
            continue
        chains.append([_suffix(clause, relation + 1, limit, right.parsed.stop if right else relation + 1)])
    return [equation for chain in chains for equation in _built(text, [side for side in chain if side is not None])]


def _doubts_grams(clause: list[Lexeme]) -> bool:
    """Whether a "g" may be a variable: a sum in which other terms have no gram, as in "2g + 3"."""
    if not any(lexeme.text == "g" and not lexeme.math for lexeme in clause):
        return False
    sums = any(lexeme.symbol in ("+", "-") for lexeme in clause)
    return sums and any(
        lexeme.kind == "num"
        and not {before.text, before.symbol, after.text, after.symbol} & {"g", "*", "/", "grams", "gram"}
        for before, lexeme, after in zip([_EDGE, *clause], clause, [*clause[1:], _EDGE], strict=False)
        if before.kind != "rel" or after.kind not in ("rel", "brk")
    )


def _suffix(clause: list[Lexeme], first: int, limit: int, earliest: int) -> _Found | None:
    """The longest side that ends where the segment does, starting no earlier than ``earliest``."""
    first = max(first, limit - MAX_SEGMENT)
    # From the left, so the longest side wins: a shorter one would drop terms and could look false.
    for at in range(max(first, earliest), limit):
        if clause[at].kind not in ("num", "open", "cur", "op", "const") or _too_deep(clause, at):
            continue
        parsed = parse(clause, at, limit)
        if parsed is not None and parsed.stop == limit:
            altered = at > first and (altered_before(clause, at) or _is_mean_of_sum(clause, at, parsed))
            return _Found(parsed, False, altered, at == first or clause[at].opens)
    return None


def _too_deep(clause: list[Lexeme], at: int) -> bool:
    """Whether more brackets open in a row than a side may nest: each of them would be tried in turn, and in vain."""
    if clause[at].kind != "open" or at + MAX_DEPTH >= len(clause):
        return False
    return all(lexeme.kind == "open" for lexeme in clause[at : at + MAX_DEPTH + 1])


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
        single = clause[at].math or (len(word) == 1 and clause[at].text not in VARIABLE_LETTERS_ALLOWED)
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
        unjudgeable or (at > first and altered_before(clause, at)) or altered_after(clause, parsed.stop, limit)
    )
    spoken = any(token.text.split()[0] in VERBAL for token in parsed.tokens if token.text.isascii())
    unjudgeable = unjudgeable or (spoken and parsed.stop < limit)  # "= 360 divided by 5 is ..."
    return _Found(parsed, approximate, unjudgeable, at == first and parsed.stop == limit)


def _built(text: str, sides: list[_Found]) -> list[Equation]:
    """The equations of a chain: its stretches of readable sides, or one that is not judged where none has two."""
    runs: list[list[_Found]] = [[]]
    if sides and "boxed" in text[sides[0].parsed.start : sides[0].parsed.end]:
        sides[0].unjudgeable = True  # an answer is boxed last; a box that is computed with stands for something else
    for side in sides:
        if side.unjudgeable or side.parsed.node is None:
            runs.append([])
        else:
            runs[-1].append(side)
    readable = [run for run in runs if len(run) > 1]
    if not readable:
        return [_made(text, sides, Judged(None, (None,) * len(sides)))] if len(sides) > 1 else []
    made: list[Equation] = []
    for run in readable:
        judged = _judge(text, run)
        computed = [side for side, value in zip(run, judged.values, strict=True) if value is not None]
        if judged.holds is None and len(computed) > 1 and len(computed) < len(run):
            # An irrational root poisons its own side; the links between the others still count.
            made += [
                equation for part in _computed(run, judged) for equation in [_made(text, part, _judge(text, part))]
            ]
        else:
            made.append(_made(text, run, judged))
    return made


def _computed(run: list[_Found], judged: Judged) -> list[list[_Found]]:
    parts: list[list[_Found]] = [[]]
    for side, value in zip(run, judged.values, strict=True):
        if value is None:
            parts.append([])
        else:
            parts[-1].append(side)
    return [part for part in parts if len(part) > 1] or [run]


def _made(text: str, sides: list[_Found], judged: Judged) -> Equation:
    made = tuple(_side(text, *pair) for pair in zip((side.parsed for side in sides), judged.values, strict=True))
    return Equation(made[0].start, made[-1].end, made, judged.holds, judged.broken, judged.rounds)


def _side(text: str, parsed: Parsed, value: Value | None) -> Side:
    exact = value if isinstance(value, Fraction) else None
    known = middle(value) if isinstance(value, Enclosure) else exact
    shown = "" if value is None else _written(value)
    written = text[parsed.start : parsed.end]
    return Side(parsed.start, parsed.end, written, exact, parsed.tokens, parsed.computes, shown, known)


def _written(value: Value) -> str:
    if isinstance(value, Matrix):
        return f"({'; '.join(', '.join(map(str, row)) for row in value.rows)})"
    return str(value)


def _gap(judged: Judged) -> Fraction:
    """How far the two sides of the broken link lie apart; only for a false chain, whose sides have values."""
    at = judged.broken or 1
    left, right = judged.values[at - 1], judged.values[at]
    return Fraction(0) if left is None or right is None else distance(left, right)[0]


def _judge(text: str, sides: list[_Found]) -> Judged:
    terms = [Term(s.parsed.node, s.approximate) for s in sides]
    units = frozenset[str]().union(*(s.parsed.units for s in sides))
    judged = judge(terms, units)
    # Most false chains are too far off for rounding, so few are judged twice.
    near = judged.holds is False and (units or len(terms) > 2 or _gap(judged) <= _MOST_ROUNDED)
    if near and (rounded := judge(terms, units, rounded=True)).holds is not False:
        # The text may say that it rounds. If it does not, the chain is neither true nor refuted.
        said = _SAYS_ROUNDED.search(text) is not None
        return rounded if said else Judged(None, rounded.values, rounds=bool(rounded.holds))
    first = sides[0]
    if judged.holds is False and not first.parsed.computes and (not first.alone or first.parsed.has_words):
        # "a square of side 4 = 16", "3 weeks = 21 days": a bare number in prose claims no equality of numbers.
        return judge([Term(None), *terms[1:]], units)
    return judged
