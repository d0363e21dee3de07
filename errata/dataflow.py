"""The data flow of a solution: its calculations in order, and where each of their numbers comes from.

What the solution says is read once, exactly or not at all: a calculation has one computed side and one number as its
result, equal as fractions without rounding. Whatever looks like a calculation, a rounding or a comparison and is not
read so is listed in ``unread``, so that nobody follows a value through it. Pure; knows no edits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Literal

from errata.arithmetic import Equation, Token, find_equations, tokens_of
from errata.arithmetic.lexer import MAX_DIGITS
from errata.evaluation import NotEvaluable, evaluate_tokens
from errata.language import follows_in_english
from errata.steps import split_steps
from errata.types import Domain, Step

Source = int | Literal["question"]
"""Where a number comes from: the index of an earlier calculation whose result it is, or the question."""

MAX_NODES = 300  # calculations of a solution: each looks for its numbers among all before it
_NUMBER = re.compile(r"(?<![\w.,])\d+(?:(?:,|\{,\})\d{3})*(?:\.\d+)?(?![\w]|[.,]\d)")
_THOUSANDS = re.compile(r"\{,\}|,\\!|\\[,!]|[,\u202f\u2009]")
_DECIMAL = re.compile(r"-?(?:\d+(?:\.\d*)?|\.\d+)")
_DIGITS = re.compile(r"\d+")
_WORDS = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17, "eighteen": 18, "nineteen": 19, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50,
    "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90, "hundred": 100, "thousand": 1000, "once": 1, "twice": 2,
    "double": 2, "doubled": 2, "doubles": 2, "half": 2, "triple": 3, "tripled": 3, "thrice": 3, "third": 3,
    "quarter": 4, "dozen": 12, "pair": 2, "both": 2, "couple": 2,
}  # fmt: skip
_WORD = re.compile(r"[A-Za-z]+")
_MARK = re.compile(r"<<[^<>\n]*>>")
_RELATION = re.compile(r"=+|[<>≤≥≠≈≃≅]|\\(?:approx|simeq|leq?|geq?|neq?|lt|gt)(?![A-Za-z])")
# Outside the calculations that were read, these say that something is computed, rounded, chosen or compared.
_COMPUTES = re.compile(
    r"[\d)}%]\s*(?:[-+*/×÷^−–·⋅]|\\(?:times|div|cdot)|x(?=\s*\d))\s*\$?[\d({\\]|\\(?:[dt]?frac|sqrt|binom|sum|prod)|√|[⁰¹²³⁴-⁹]"
)
_DECIDES = re.compile(
    r"\b(?:round\w*|nearest|approx\w*|about|roughly|almost|nearly|at (?:most|least)|max(?:imum)?|min(?:imum)?|smallest"
    r"|largest|greatest|lowest|highest|cheap(?:er|est)|compar\w+|whichever|remainder|whole number|exceed\w*"
    r"|enough|(?:is|are|was|were) (?:more|less|fewer)(?: \w+)? than"
    r"|(?:greater|less|larger|smaller|bigger|higher|lower) than)\b",
    re.I,
)
_SPACE = " \t\n$€£~*_:"


@dataclass(frozen=True, slots=True)
class Operand:
    """The number at ``place`` among its equation's tokens. ``value``: what it counts in the calculation, percent
    included. ``sources``: everything it may come from; empty for a constant, more than one where it is ambiguous."""

    place: int
    value: Fraction
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class FlowNode:
    """One calculation that was read. ``equation`` has offsets into its step; ``at`` is its place among the step's
    equations; ``first`` and ``last`` bound the computed side's tokens, ``result`` is the token of its result."""

    step: int
    at: int
    equation: Equation
    first: int
    last: int
    result: int
    value: Fraction
    operands: tuple[Operand, ...]

    def evaluate(self, step_text: str, values: Mapping[int, Fraction]) -> Fraction:
        """The computed side with other operand values by place. Raises NotEvaluable."""
        return evaluate_tokens(step_text, tokens_of(self.equation)[self.first : self.last + 1], values, self.first)


@dataclass(frozen=True, slots=True)
class ProseNumber:
    """A number outside calculations and marks, as offsets into the solution. ``value`` None: digits that are no plain
    number, such as "3rd"."""

    step: int
    start: int
    end: int
    value: Fraction | None


@dataclass(frozen=True, slots=True)
class Flow:
    """A solution's calculations in order, its other numbers, and the offsets where something was not read."""

    solution: str
    steps: tuple[Step, ...]
    nodes: tuple[FlowNode, ...]
    prose: tuple[ProseNumber, ...]
    words: tuple[tuple[int, Fraction], ...]
    unread: tuple[int, ...]
    given: frozenset[Fraction]

    def text(self, step: int) -> str:
        """A step's text, label and separator included."""
        return self.solution[self.steps[step].start : self.steps[step].end]

    def sources(self, value: Fraction, before: int) -> tuple[Source, ...]:
        """What a number of this value may come from, among the question and the first ``before`` calculations."""
        found: list[Source] = [at for at in range(before) if self.nodes[at].value == value]
        return (*found, *(("question",) if value in self.given else ()))


@lru_cache(maxsize=512)  # all edits of a solution read the same flow
def read_flow(solution: str, question: str) -> Flow:
    """Read a solution of mathematics. Never raises.

    Not read at all: one of more than ``MAX_NODES`` calculations, and one in another language than English, whose words
    for numbers and roundings are not known (errata.language).
    """
    steps = split_steps(solution, Domain.MATH)
    flow = Flow(solution, steps, (), (), (), (), given_values(question))
    if not follows_in_english(question, solution):
        return replace(flow, unread=(0,))
    nodes: list[FlowNode] = []
    prose: list[ProseNumber] = []
    words: list[tuple[int, Fraction]] = []
    unread: list[int] = []
    for step in steps:
        text = flow.text(step.index)
        spans: list[tuple[int, int]] = []
        for at, equation in enumerate(find_equations(text)):
            before = Flow(solution, steps, tuple(nodes), (), (), (), flow.given)
            found = _node(before, step.index, at, equation, text)
            if found is not None and len(nodes) == MAX_NODES:
                return replace(flow, unread=(0,))
            if found is not None:
                nodes.append(found)
                spans.append((equation.start, equation.end))
        plain = _blank(text, spans, step.body_start - step.start)
        unread += [step.start + offset for offset in _unread(text, plain, spans)]
        prose += _prose(step, plain)
        words += [(step.index, Fraction(_WORDS[w.lower()])) for w in _WORD.findall(plain) if w.lower() in _WORDS]
    return Flow(solution, steps, tuple(nodes), tuple(prose), tuple(words), tuple(sorted(unread)), flow.given)


def given_values(question: str) -> frozenset[Fraction]:
    """Every number a question gives, in digits or words; percentages also as shares, fractions also as such."""
    found: set[Fraction] = set()
    for match in _NUMBER.finditer(question):
        value = plain_value(match[0])
        if value is None:
            continue
        found |= {value, value / 100} if question[match.end() :].lstrip()[:1] == "%" else {value}
    for top, bottom in re.findall(r"(?<![\d.,/])(\d{1,9})\s*/\s*(\d{1,9})(?![\d.,/])", question):
        if int(bottom):
            found.add(Fraction(int(top), int(bottom)))
    found |= {Fraction(_WORDS[w.lower()]) for w in _WORD.findall(question) if w.lower() in _WORDS}
    lowered = question.lower()
    found |= {share for word, share in (("half", Fraction(1, 2)), ("quarter", Fraction(1, 4))) if word in lowered}
    return frozenset(found)


def plain_value(text: str) -> Fraction | None:
    """The value of a decimal number with or without thousands separators (LaTeX's too); None for anything else.

    Nor is a number of more than ``MAX_DIGITS`` digits read: the reader of arithmetic knows none either.
    """
    plain = _THOUSANDS.sub("", text)
    return Fraction(plain) if len(plain) <= MAX_DIGITS and _DECIMAL.fullmatch(plain) else None


def _node(flow: Flow, step: int, at: int, equation: Equation, text: str) -> FlowNode | None:
    """An equation as a calculation: one computed side, one number as result, exactly equal; else None."""
    if not equation.holds or len(equation.sides) != 2:
        return None
    tokens, head = tokens_of(equation), len(equation.sides[0].tokens)
    spans = [(0, head - 1), (head, len(tokens) - 1)]
    bare = [n for n, (a, b) in enumerate(spans) if a == b and tokens[a].kind == "number"]
    if len(bare) != 1:
        return None
    result, (first, last) = spans[bare[0]][0], spans[1 - bare[0]]
    try:
        value = evaluate_tokens(text, tokens[result : result + 1], {}, result)
        computed = evaluate_tokens(text, tokens[first : last + 1], {}, first)
        operands = _operands(flow, text, tokens, first, last)
    except NotEvaluable:
        return None
    # Exactly equal: a rounded result cannot be carried on, since nobody knows how the next one would be rounded.
    if value != computed:
        return None
    return FlowNode(step, at, equation, first, last, result, value, operands)


def _operands(flow: Flow, text: str, tokens: Sequence[Token], first: int, last: int) -> tuple[Operand, ...]:
    found = []
    for place in range(first, last + 1):
        if tokens[place].kind == "number":
            value = evaluate_tokens(text, tokens[place : place + 1], {}, place)
            sources = flow.sources(value, len(flow.nodes))
            found.append(Operand(place, value, sources))
    return tuple(found)


def _blank(text: str, spans: Sequence[tuple[int, int]], body: int) -> str:
    """The text with label, calculations, and the marks within or right behind them replaced by spaces."""
    for start, end in (*spans, (0, body)):
        text = text[:start] + " " * (end - start) + text[end:]
    for mark in _MARK.finditer(text):
        if any(0 <= mark.start() - end <= 2 for _, end in spans):
            text = text[: mark.start()] + " " * len(mark[0]) + text[mark.end() :]
    return text


def _unread(text: str, plain: str, spans: Sequence[tuple[int, int]]) -> list[int]:
    """Offsets of what computes, rounds, chooses or compares in the text that is left."""
    found = [m.start() for pattern in (_COMPUTES, _DECIDES) for m in pattern.finditer(plain)]
    for relation in _RELATION.finditer(plain):
        behind = relation.end() + len(text[relation.end() :]) - len(text[relation.end() :].lstrip(_SPACE))
        # "Total cost = 5 + 3 = 8": the first sign only names what is calculated.
        names = relation[0] == "=" and any(start <= behind <= start + 1 for start, _ in spans)
        if not (names and text[: relation.start()].rstrip()[-1:].isalpha()):
            found.append(relation.start())
    return found


def _prose(step: Step, plain: str) -> list[ProseNumber]:
    found = {m.start(): m for m in _NUMBER.finditer(plain)}
    numbers, reached = [], 0
    for digits in _DIGITS.finditer(plain):
        if digits.start() < reached:
            continue
        match = found.get(digits.start())
        end = match.end() if match else digits.end()
        value = plain_value(match[0]) if match else None
        numbers.append(ProseNumber(step.index, step.start + digits.start(), step.start + end, value))
        reached = end
    return numbers
