"""Error kinds of mathematics and of multiple choice, and the false edits a rule can make for each.

A rule lists the changes its kind allows. An edit is offered only if the step contradicts itself after the change and
did not before, so every rule-made edit of a calculation is proven false. ``misreading`` changes words, which no
equation can show false.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from errata.arithmetic import Equation, Token, TokenChange, apply_changes, find_equations, marks_agree, tokens_of
from errata.calculations import changes_sign, omits, reorders, substitutes
from errata.kinds.registry import Kind, ProfileRule, Site, TextEdit, usable_edits
from errata.proof import prove_contradiction
from errata.types import Domain, EvidenceKind

_BINARY = ("+", "-", "*", "/")
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_OFFERED = re.compile(r"(?<![\d.,])(?<!\d )\d+(?:,\d{3})*(?:\.\d+)?(?![ ,]?\d)")  # no part of "350 000"
# How often a new sign is drawn. With these weights as many "*" become "+" as "+" become "*", and so for any two signs
# that are as frequent as in GSM8K's reference solutions (37, 29, 18, 16 %): edits that made rare signs common would
# tell the sides apart by that alone.
_SIGN_WEIGHTS = {"*": 47.0, "+": 26.5, "-": 14.1, "/": 12.4}
_OPPOSITES = (
    ("more", "fewer"), ("more", "less"), ("before", "after"), ("older", "younger"), ("first", "last"),
    ("increase", "decrease"), ("increases", "decreases"), ("increased", "decreased"), ("buys", "sells"),
    ("buy", "sell"), ("bought", "sold"), ("spends", "earns"), ("spend", "earn"), ("spent", "earned"),
    ("gives", "receives"), ("gave", "received"), ("give", "receive"), ("adds", "removes"), ("add", "subtract"),
    ("added", "removed"), ("twice", "half"), ("double", "half"), ("largest", "smallest"), ("larger", "smaller"),
    ("longer", "shorter"), ("taller", "shorter"), ("faster", "slower"), ("even", "odd"), ("multiply", "divide"),
    ("multiplying", "dividing"), ("adding", "subtracting"), ("total", "difference"), ("sum", "difference"),
    ("day", "week"), ("daily", "weekly"), ("hour", "minute"), ("hours", "minutes"), ("days", "weeks"),
    ("week", "month"), ("weeks", "months"), ("month", "year"), ("months", "years"), ("morning", "evening"),
    ("at least", "at most"), ("with", "without"), ("all", "half of"), ("remaining", "original"), ("left", "used"),
)  # fmt: skip
_HAS_NUMBER = re.compile(r"\d")
_HAS_EQUATION = re.compile("=")
_WORDS_ONLY = re.compile(r"\A[^\d=]*\Z")
_WORD = re.compile(r"\bat (?:least|most)\b|[A-Za-z]+", re.I)


@dataclass(frozen=True, slots=True)
class Proposal:
    """Changes to one equation that a kind allows, true or false as they may be."""

    equation: Equation
    changes: tuple[TokenChange, ...]
    weight: float = 1.0


Proposals = Iterator[Proposal]
Propose = Callable[[str, str], Proposals]


def _false_edits(propose: Propose, site: Site, most: int, rng: random.Random | None) -> list[str]:
    """Up to ``most`` edits that contradict themselves as the step did not; marks and text agree where they did before.

    Empty when the kind does not apply: no false edit of it exists.
    """
    step = site.text
    # A step whose mark is odd already is not held to it: rules must not be stricter on the rejected side.
    agreeing = marks_agree(step)

    def is_error(edited: str) -> bool:
        return prove_contradiction(step, edited) is not None and (not agreeing or marks_agree(edited))

    proposals = propose(step, site.problem.question)
    return usable_edits(proposals, lambda p: apply_changes(step, p.equation, p.changes), is_error, most, rng)


def _true_equations(step: str) -> list[Equation]:
    return [e for e in find_equations(step) if e.holds and any(side.is_expression for side in e.sides)]


def _numbers(step: str, *, in_expressions: bool) -> Iterator[tuple[Equation, int, Token]]:
    """The numbers on sides that compute something, or on the others, with their place among the equation's tokens."""
    for equation in _true_equations(step):
        computed = [side.is_expression for side in equation.sides for _ in side.tokens]
        for at, token in enumerate(tokens_of(equation)):
            if token.kind == "number" and computed[at] is in_expressions:
                yield equation, at, token


def _calculation(step: str, _question: str) -> Proposals:
    """Another result: the number on a side that computes nothing."""
    for equation, at, token in _numbers(step, in_expressions=False):
        for text, weight in _other_numbers(token):
            yield Proposal(equation, (TokenChange(at, at, text),), weight)


def _substitution(step: str, question: str) -> Proposals:
    """Another operand: first the numbers that question and step themselves offer, as a careless reader would take."""
    offered = list(dict.fromkeys(_OFFERED.findall(f"{question} {step}")))
    for equation, at, token in _numbers(step, in_expressions=True):
        others = [n for n in offered if n.replace(",", "") != token.text.replace(",", "")]
        for text, weight in [*((other, 1.0) for other in others[:4]), *_other_numbers(token)]:
            yield Proposal(equation, (TokenChange(at, at, text),), weight)


def _operator(step: str, _question: str) -> Proposals:
    """Another operation sign, written as the sign it replaces was."""
    for equation in _true_equations(step):
        for at, token in enumerate(tokens_of(equation)):
            if token.kind == "operator" and token.symbol in _BINARY and len(token.text) <= 6:
                for symbol in _BINARY:
                    if symbol != token.symbol:
                        change = TokenChange(at, at, _written(symbol, token.text))
                        yield Proposal(equation, (change,), _SIGN_WEIGHTS[symbol])


def _order(step: str, _question: str) -> Proposals:
    """Two terms swapped around one operation."""
    for equation in _true_equations(step):
        tokens = tokens_of(equation)
        for at in range(1, len(tokens) - 1):
            left, sign, right = tokens[at - 1], tokens[at], tokens[at + 1]
            numbers = left.kind == right.kind == "number"
            if numbers and sign.kind == "operator" and sign.symbol in _BINARY and _in_one_side(equation, left, right):
                changes = TokenChange(at - 1, at - 1, right.text), TokenChange(at + 1, at + 1, left.text)
                yield Proposal(equation, changes)


def _omission(step: str, _question: str) -> Proposals:
    """One term of three or more dropped, with the operation before it (or behind it, for the first)."""
    for equation in _true_equations(step):
        at = 0
        for side in equation.sides:
            yield from (Proposal(equation, (change,)) for change in _drops(side.tokens, at))
            at += len(side.tokens)


def _drops(tokens: tuple[Token, ...], base: int) -> Iterator[TokenChange]:
    signs = [i for i, t in enumerate(tokens) if t.kind == "operator" and t.symbol in _BINARY]
    if len(signs) < 2:
        return
    for at in signs:
        if at + 1 < len(tokens) and tokens[at + 1].kind == "number":
            yield TokenChange(base + at, base + at + 1, "")
    if signs[0] == 1 and tokens[0].kind == "number":
        yield TokenChange(base, base + 1, "")


def _in_one_side(equation: Equation, left: Token, right: Token) -> bool:
    return any(side.start <= left.start and right.end <= side.end for side in equation.sides)


def _written(symbol: str, like: str) -> str:
    """The operation sign in the manner of the text: LaTeX, typographic or ASCII, with the same spaces."""
    latex = {"*": "\\times", "/": "\\div"}
    typographic = {"*": "×", "/": "÷"}
    bare = like.strip()
    if bare.startswith("\\"):
        sign = latex.get(symbol, symbol)
    else:
        sign = typographic.get(symbol, symbol) if bare in "×÷−–" else symbol
    lead = like[: len(like) - len(like.lstrip())]
    return lead + sign + like[len(like.rstrip()) :]


def _other_numbers(token: Token) -> list[tuple[str, float]]:
    """Numbers a slip would write instead, with weights: a digit off by one or two, a carry lost, digits swapped.

    In the token's own notation. A round number mostly stays as round as it is: solutions are full of round numbers, and
    edits that made them odd would tell the sides apart by that alone.
    """
    text = token.text
    if not _NUMBER.fullmatch(text):
        return []
    plain = text.replace(",", "")
    value = Decimal(plain)
    unit = Decimal(1).scaleb(int(value.as_tuple().exponent))
    digits = plain.replace(".", "")
    rounded = unit.scaleb(len(digits) - len(digits.rstrip("0"))) if value else unit
    found = {value + step * rounded: 1.0 if abs(step) < 10 else 0.5 for step in (1, -1, 2, -2, 10, -10)}
    for step in (1, -1):
        found.setdefault(value + step * unit, 0.5)
    for at in _swappable(plain):
        found.setdefault(Decimal(plain[:at] + plain[at + 1] + plain[at] + plain[at + 2 :]), 1.0)
    numbers = [(n.quantize(unit), weight) for n, weight in found.items() if n > 0 and n != value]
    return [(f"{n:,}" if "," in text else f"{n}", weight) for n, weight in numbers]


def _swappable(digits: str) -> list[int]:
    pairs = range(len(digits) - 1)
    return [i for i in pairs if digits[i].isdigit() and digits[i + 1].isdigit() and digits[i] != digits[i + 1]][:2]


def _misreadings(site: Site, most: int, rng: random.Random | None) -> list[str]:
    """Versions of the step with one word behind its label turned into its opposite."""
    if not _WORDS_ONLY.search(site.body):
        return []
    step = site.text
    words = _opposites(step, site.step.body_start - site.step.start)
    return usable_edits(words, lambda edit: edit.apply(step), lambda _: True, most, rng)


def _opposites(step: str, body_start: int) -> Iterator[TextEdit]:
    for found in _WORD.finditer(step, body_start):
        written = found[0]
        for pair in _OPPOSITES:
            for word, other in (pair, pair[::-1]):
                if written.lower() == word:
                    yield TextEdit(*found.span(), other.capitalize() if written[0].isupper() else other)


_DOMAINS = (Domain.MATH, Domain.CHOICE)


def _arithmetic(
    name: str, instruction: str, propose: Propose, profile: ProfileRule, pattern: re.Pattern[str] = _HAS_EQUATION
) -> Kind:
    """The entry of a kind whose edits an equation of the step can show false."""
    twin = partial(_false_edits, propose)
    return Kind(name, _DOMAINS, instruction, pattern, twin, EvidenceKind.CONTRADICTION, profile)


# The kinds of arXiv 2410.06638, section 3.1 and appendix, in our own words. The profile's ranks run from the smallest
# change to the largest, so that what can be said with less is not said with more.
KINDS = (
    _arithmetic(
        "calculation",
        "Change one number in this step so that a calculation is wrong.",
        _calculation,
        ProfileRule(rest="false"),
        _HAS_NUMBER,
    ),
    _arithmetic(
        "substitution",
        "Change one number or symbol in this step so that a wrong value is substituted.",
        _substitution,
        ProfileRule(3, substitutes),
    ),
    _arithmetic("omission", "Delete one term of a calculation in this step.", _omission, ProfileRule(4, omits)),
    _arithmetic("operator", "Change one operation sign in this step.", _operator, ProfileRule(2, changes_sign)),
    _arithmetic("order", "Swap two terms of a calculation in this step.", _order, ProfileRule(1, reorders)),
    Kind(
        "misreading",
        _DOMAINS,
        "Change a few words in this step so that it misreads the question.",
        _WORDS_ONLY,
        _misreadings,
        EvidenceKind.DIVERGENCE,
        # A true calculation that resembles nothing that was to be computed comes of a question misread.
        ProfileRule(rest="other"),
    ),
)
