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
from fractions import Fraction
from functools import partial
from itertools import islice

from errata.arithmetic import Equation, Token, TokenChange, apply_changes, find_equations, marks_agree, tokens_of
from errata.arithmetic.lexer import mark_spans
from errata.arithmetic.mathmode import math_spans
from errata.arithmetic.operands import begins_operand, factor_end, factors_before, product_end, signs
from errata.calculations import changes_sign, omits, reorders, substitutes
from errata.dataflow import plain_value
from errata.kinds.plausibility import agrees_in_number, sign_weights
from errata.kinds.registry import Kind, ProfileRule, Site, TextEdit, usable_edits
from errata.kinds.slips import other_numbers, sign_like, signs_written
from errata.proof import prove_contradiction
from errata.types import Domain, EvidenceKind

_BINARY = ("+", "-", "*", "/")
_JOINS = {"-": ("-", "*", "/"), "/": ("/",)}  # signs whose calculation the number behind them belongs to
_CAPPED = 0.05  # of the steps, for a kind whose edits are told apart with an AUC above errata.audit.THRESHOLD
_OFFERED = re.compile(r"(?<![\d.,])(?<!\d )\d+(?:,\d{3})*(?:\.\d+)?(?![ ,]?\d)")  # no part of "350 000"
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
_LONGEST_SIGN = 10  # characters of a sign with its spaces, "divided by" included
_UNIT_BEHIND = re.compile(r"\s*(?:[A-Za-z%¢°\u3040-\u9fff]|\\text|\\%|\^\{?\\circ)")
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
Propose = Callable[[Site], Proposals]
_MOST_READ = 1_000_000  # characters of edited steps that are judged to find one edit: a long step gets fewer tries


def _false_edits(propose: Propose, site: Site, most: int, rng: random.Random | None) -> list[str]:
    """Up to ``most`` edits that contradict themselves as the step did not; marks and text agree where they did before.

    Empty when the kind does not apply: no false edit of it exists.
    """
    step = site.text
    # A step whose mark is odd already is not held to it: rules must not be stricter on the rejected side.
    agreeing = marks_agree(step)

    def is_error(edited: str) -> bool:
        if not agrees_in_number(step, edited):
            return False
        return prove_contradiction(step, edited) is not None and (not agreeing or marks_agree(edited))

    proposals = islice(propose(site), max(1, _MOST_READ // max(1, len(step))))
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


def _calculation(site: Site) -> Proposals:
    """Another result: the number on a side that computes nothing."""
    for equation, at, token in _numbers(site.text, in_expressions=False):
        for text, weight in other_numbers(token):
            yield Proposal(equation, (TokenChange(at, at, text),), weight)


def _substitution(site: Site) -> Proposals:
    """Another operand: first the numbers that question and step themselves offer, as a careless reader would take."""
    asked = list(dict.fromkeys(_OFFERED.findall(site.problem.question)))
    # Nobody calculates with what a calculation is yet to give: "36 + 45 = 45". Of the step's numbers those are offered
    # that are no result from the edited equation on.
    result_of = {token.value: e.start for e, _, token in _numbers(site.text, in_expressions=False)}
    written = dict.fromkeys(n for n in _OFFERED.findall(site.text) if n not in asked)
    known = [(n, result_of.get(plain_value(n), -1)) for n in written]
    for equation, at, token in _numbers(site.text, in_expressions=True):
        decimals = len(token.text.partition(".")[2])
        offered = [*asked, *(n for n, start in known if start < equation.start)]
        others = [n for n in offered if n.replace(",", "") != token.text.replace(",", "")]
        # A fraction in place of a whole number, or the other way, would not pass for a slip.
        alike = [(n, 1.0) for n in others if len(n.partition(".")[2]) == decimals]
        for text, weight in [*alike[:4], *other_numbers(token)]:
            if not _cancels(equation, at, plain_value(text)):
                yield Proposal(equation, (TokenChange(at, at, text),), weight)


def _cancels(equation: Equation, at: int, value: Fraction | None) -> bool:
    """Whether this value in the place ``at`` would be divided by itself or taken from itself."""
    tokens = tokens_of(equation)
    for sign, other in ((at - 1, at - 2), (at + 1, at + 2)):
        if value is not None and 0 <= other < len(tokens) and tokens[other].value == value:
            symbol, left = tokens[sign].symbol, min(at, other)
            before = tokens[left - 1].symbol if left else ""
            # "9 - 3 - 3" takes the second from what is left, not from the first.
            if before not in _JOINS.get(symbol, (before,)):
                return True
    return False


def _operator(site: Site) -> Proposals:
    """Another operation sign, written as the solution writes it."""
    pieces = math_spans(site.text)
    for equation in _true_equations(site.text):
        latex = any(start <= equation.start < end for start, end in pieces)
        counts = signs_written(site.solution, latex)
        tokens = tokens_of(equation)
        for at, token in enumerate(tokens):
            if token.kind != "operator" or token.symbol not in _BINARY or len(token.text) > _LONGEST_SIGN:
                continue
            around = (tokens[at - 1] if at else None, tokens[at + 1] if at + 1 < len(tokens) else None)
            weights = sign_weights(*around, counts, latex)
            written = {symbol: sign_like(symbol, token, site.solution, latex) for symbol in _BINARY}
            others = {symbol: sign for symbol, sign in written.items() if sign is not None and symbol != token.symbol}
            # Divided by their sum, so that no sign is more likely to be replaced than another.
            total = sum(weights[symbol] for symbol in others)
            for symbol, sign in others.items():
                yield Proposal(equation, (TokenChange(at, at, sign),), weights[symbol] / total)


def _order(site: Site) -> Proposals:
    """Two terms swapped around one operation, or the two parts of a fraction; powers and brackets go with them."""
    step = site.text
    for equation in _true_equations(step):
        marked = any(equation.start <= start < equation.end for start, _ in mark_spans(step))
        base = 0
        for side in equation.sides:
            for left, right in _swaps(side.tokens):
                single = left[0] == left[1] and right[0] == right[1]
                texts = [step[side.tokens[a].start : side.tokens[b].end] for a, b in (left, right)]
                # A mark writes brackets and fractions in its own way, and "\\left" stays with its "\\right".
                if (single or not marked) and all(map(_keeps_brackets, texts)):
                    first = TokenChange(base + left[0], base + left[1], texts[1])
                    yield Proposal(equation, (first, TokenChange(base + right[0], base + right[1], texts[0])))
            base += len(side.tokens)


def _swaps(tokens: tuple[Token, ...]) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """The first and last token of both factors around each sign, and of both parts of each fraction."""
    before = factors_before(tokens)
    for at in signs(tokens):
        start, end = before.get(at - 1), factor_end(tokens, at + 1)
        if start is None or end is None:
            continue
        joined = begins_operand(tokens, end + 1) or (start > 0 and not _parts(tokens[start - 1]))
        if not joined:  # "2(3) - 4" would become "24 - (3)"
            yield (start, at - 1), (at + 1, end)
    for at, token in enumerate(tokens):
        if token.symbol == "frac" and begins_operand(tokens, at) and at + 1 < len(tokens):
            above = factor_end(tokens, at + 1) if tokens[at + 1].symbol == "(" else None
            below = factor_end(tokens, above + 1) if above is not None else None
            if above is not None and below is not None and tokens[above + 1].symbol == "(":
                yield (at + 1, above), (above + 1, below)


def _parts(token: Token) -> bool:
    """Whether what follows a token is not its factor: a sign, or a bracket that opens."""
    return (token.kind == "operator" and token.symbol != "!") or token.symbol == "("


def _omission(site: Site) -> Proposals:
    """One term of three or more dropped, with the operation before it (or behind it, for the first)."""
    step = site.text
    for equation in _true_equations(step):
        at = 0
        for side in equation.sides:
            yield from (Proposal(equation, (change,)) for change in _drops(step, side.tokens, at))
            at += len(side.tokens)


def _drops(step: str, tokens: tuple[Token, ...], base: int) -> Iterator[TokenChange]:
    """What can be dropped from a side: a term with all its factors, powers and brackets, or one factor."""
    places = signs(tokens)
    fractions = sum(token.symbol == "frac" and token.text != "/" for token in tokens)
    if not places or len(places) + fractions < 2:
        return
    for at in places:
        end = product_end(tokens, at + 1, signed=tokens[at].symbol in "+-")
        if end is None:
            continue
        if not _keeps_brackets(step[tokens[at].start : tokens[end].end]):
            continue
        following = tokens[end + 1].start if end + 1 < len(tokens) else len(step)
        behind = _UNIT_BEHIND.match(step, tokens[end].end, following)
        if behind is None:
            yield TokenChange(base + at, base + end, "")
        elif end + 1 < len(tokens) and "\\" not in behind[0]:
            yield TokenChange(base + at, base + end, "", following)
    first = product_end(tokens, 0, signed=tokens[places[0]].symbol in "+-")
    if first is not None and first + 1 < len(tokens) and first + 1 in places:
        between = step[tokens[first + 1].end : tokens[first + 2].start]
        # "\\left(" stays with its bracket; a currency sign goes, because the one in front stays.
        kept = between.lstrip() if "\\" in between else ""
        if _keeps_brackets(step[tokens[0].start : tokens[first + 1].end]):
            yield TokenChange(base, base + first + 1, "", tokens[first + 2].start - len(kept))


def _keeps_brackets(dropped: str) -> bool:
    return dropped.count("\\left") == dropped.count("\\right")


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
    name: str,
    instruction: str,
    of_equation: str,
    propose: Propose,
    profile: ProfileRule,
    pattern: re.Pattern[str] = _HAS_EQUATION,
    audited: str = "",
) -> Kind:
    """The entry of a kind whose edits an equation of the step can show false; capped where the audit found a style."""
    twin = partial(_false_edits, propose)
    share, check = _CAPPED if audited else 1.0, EvidenceKind.CONTRADICTION
    return Kind(name, _DOMAINS, instruction, pattern, twin, check, profile, share, audited, of_equation=of_equation)


# The kinds of arXiv 2410.06638, section 3.1 and appendix, in our own words. The profile's ranks run from the smallest
# change to the largest, so that what can be said with less is not said with more.
KINDS = (
    _arithmetic(
        "calculation",
        "Change one number in this step so that a calculation is wrong.",
        "Change the result to a wrong number.",
        _calculation,
        ProfileRule(rest="false"),
        _HAS_NUMBER,
        # The operands before a result say much about its digits: 20 * 3 ends in a nought.
        audited="AUC 0.67 on 1,000 reference solutions of GSM8K",
    ),
    _arithmetic(
        "substitution",
        "Change one number or symbol in this step so that a wrong value is substituted.",
        "Calculate with one wrong number: replace it by another number.",
        _substitution,
        ProfileRule(3, substitutes),
    ),
    _arithmetic(
        "omission",
        "Delete one term of a calculation in this step.",
        "Leave out one of the numbers that are calculated with.",
        _omission,
        ProfileRule(4, omits),
        # What is left is shorter, and its result has more digits than its terms.
        audited="AUC 0.88 on 1,000 reference solutions of GSM8K",
    ),
    _arithmetic(
        "operator",
        "Change one operation sign in this step.",
        "Change one operation sign.",
        _operator,
        ProfileRule(2, changes_sign),
        # Some numbers call for a sign: who sees "+ 100 * 20" knows that a division stood there.
        audited="AUC 0.72 on 1,000 reference solutions of GSM8K",
    ),
    _arithmetic(
        "order",
        "Swap two terms of a calculation in this step.",
        "Swap two of the numbers that are calculated with.",
        _order,
        ProfileRule(1, reorders),
        # What is subtracted or divided mostly stands behind what is larger, and a swap turns that around.
        audited="AUC 0.83 on 1,000 reference solutions of GSM8K",
    ),
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
