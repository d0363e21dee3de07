"""Rule-made edits of mathematical steps: each kind lists its edits, and only those proven false are offered."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from errata.arithmetic import Equation, Token, find_equations, marks_agree
from errata.proof import prove_contradiction
from errata.rules.drawing import in_order
from errata.rules.splicing import Change, apply_changes, tokens_of

_BINARY = ("+", "-", "*", "/")
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_OFFERED = re.compile(r"(?<![\d.,])(?<!\d )\d+(?:,\d{3})*(?:\.\d+)?(?![ ,]?\d)")  # no part of "350 000"
_MOST = 24  # edits looked at per step and kind: enough to choose among, bounded work
# How often a new sign is drawn. With these weights as many "*" become "+" as "+" become "*", and so for any two signs
# that are as frequent as in GSM8K's reference solutions (37, 29, 18, 16 %): edits that made rare signs common would
# tell the sides apart by that alone.
_SIGN_WEIGHTS = {"*": 47.0, "+": 26.5, "-": 14.1, "/": 12.4}


@dataclass(frozen=True, slots=True)
class Proposal:
    """Changes to one equation that a kind allows, true or false as they may be."""

    equation: Equation
    changes: tuple[Change, ...]
    weight: float = 1.0


Proposals = Iterator[Proposal]


def false_edits(
    step: str, kind: str, question: str = "", most: int = _MOST, rng: random.Random | None = None
) -> list[str]:
    """Up to ``most`` edits of ``step`` that the kind allows and that contradict themselves as the step did not.

    Drawn by weight with ``rng``, else the first ones in a fixed order. Marks and text agree after the edit where they
    did before. Empty when the kind does not apply: no false edit of it exists.
    """
    propose = _PROPOSALS.get(kind)
    if propose is None:
        return []
    found: dict[str, None] = {}
    agreeing = marks_agree(step)
    for proposal in in_order(propose(step, question), rng):
        edited = apply_changes(step, proposal.equation, proposal.changes)
        if edited is None or edited in found or prove_contradiction(step, edited) is None:
            continue
        if agreeing and not marks_agree(edited):
            continue
        found[edited] = None
        if len(found) >= most:
            break
    return list(found)


def _true_equations(step: str) -> list[Equation]:
    return [e for e in find_equations(step) if e.holds and any(side.is_expression for side in e.sides)]


def _calculation(step: str, _question: str) -> Proposals:
    """Another result: the number on a side that computes nothing."""
    for equation in _true_equations(step):
        at = 0
        for side in equation.sides:
            for offset, token in enumerate(side.tokens):
                if token.kind == "number" and not side.is_expression:
                    for text, weight in _other_numbers(token):
                        yield Proposal(equation, (Change(at + offset, at + offset, text),), weight)
            at += len(side.tokens)


def _substitution(step: str, question: str) -> Proposals:
    """Another operand: first the numbers that question and step themselves offer, as a careless reader would take."""
    offered = list(dict.fromkeys(_OFFERED.findall(f"{question} {step}")))
    for equation in _true_equations(step):
        at = 0
        for side in equation.sides:
            for offset, token in enumerate(side.tokens):
                if token.kind == "number" and side.is_expression:
                    others = [n for n in offered if n.replace(",", "") != token.text.replace(",", "")]
                    for text, weight in [*((other, 1.0) for other in others[:4]), *_other_numbers(token)]:
                        yield Proposal(equation, (Change(at + offset, at + offset, text),), weight)
            at += len(side.tokens)


def _operator(step: str, _question: str) -> Proposals:
    """Another operation sign, written as the sign it replaces was."""
    for equation in _true_equations(step):
        for at, token in enumerate(tokens_of(equation)):
            if token.kind == "operator" and token.symbol in _BINARY and len(token.text) <= 6:
                for symbol in _BINARY:
                    if symbol != token.symbol:
                        change = Change(at, at, _written(symbol, token.text))
                        yield Proposal(equation, (change,), _SIGN_WEIGHTS[symbol])


def _order(step: str, _question: str) -> Proposals:
    """Two terms swapped around one operation."""
    for equation in _true_equations(step):
        tokens = tokens_of(equation)
        for at in range(1, len(tokens) - 1):
            left, sign, right = tokens[at - 1], tokens[at], tokens[at + 1]
            numbers = left.kind == right.kind == "number"
            if numbers and sign.kind == "operator" and sign.symbol in _BINARY and _in_one_side(equation, left, right):
                changes = Change(at - 1, at - 1, right.text), Change(at + 1, at + 1, left.text)
                yield Proposal(equation, changes)


def _omission(step: str, _question: str) -> Proposals:
    """One term of three or more dropped, with the operation before it (or behind it, for the first)."""
    for equation in _true_equations(step):
        at = 0
        for side in equation.sides:
            yield from (Proposal(equation, (change,)) for change in _drops(side.tokens, at))
            at += len(side.tokens)


def _drops(tokens: tuple[Token, ...], base: int) -> Iterator[Change]:
    signs = [i for i, t in enumerate(tokens) if t.kind == "operator" and t.symbol in _BINARY]
    if len(signs) < 2:
        return
    for at in signs:
        if at + 1 < len(tokens) and tokens[at + 1].kind == "number":
            yield Change(base + at, base + at + 1, "")
    if signs[0] == 1 and tokens[0].kind == "number":
        yield Change(base, base + 1, "")


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


_PROPOSALS: dict[str, Callable[[str, str], Proposals]] = {
    "calculation": _calculation,
    "substitution": _substitution,
    "omission": _omission,
    "operator": _operator,
    "order": _order,
}
