"""Slips: the errors a model is itself likeliest to make in a correct solution, without asking it for any.

One forward pass over question and solution tells at every token what else the model would have written. At each number
and each sign of a calculation that holds, those alternatives that make another number or another sign there are its own
likeliest errors. This module finds and draws them. It asks no model: a number that is only begun comes back as a
``Begun``, with the text that the model is to complete. It changes one place; the value is carried and proven elsewhere.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Annotated, Literal, Protocol

from pydantic import Field, field_validator, model_validator

from errata.arithmetic import Equation, Token, TokenChange, apply_changes, find_equations, tokens_of
from errata.arithmetic.lexer import mark_spans
from errata.strict import Strict
from errata.types import Step

Position = Literal["result", "operand", "sign"]
KIND_OF: Mapping[Position, str] = {"result": "calculation", "operand": "substitution", "sign": "operator"}

_NUMBER = re.compile(r"(?:\d+|\d{1,3}(?:(?:,|\{,\})\d{3})+)(?:\.\d+)?|\.\d+")
_BEGUN = re.compile(r"[\d.][\d.,{}]*")  # the beginning of a number; whether it becomes one is seen when it is whole
_NOT_WRITTEN = re.compile(r"0\d|0+(?:\.0*)?\Z")  # leading zeros; and a zero is no number to compute with
_SIGNS = {"+": "+", "-": "-", "−": "-", "–": "-", "*": "*", "×": "*", "·": "*", "/": "/", "÷": "/"}
#: Signs of multiplication and division that are written in one text: "×" goes with "÷", "*" with "/".
_STYLES = ({"*", "/"}, {"×", "÷"}, {"·", "/"})


class Scored(Protocol):
    """One token of a scored solution: its offsets, and what else could stand there (text and log-probability)."""

    @property
    def start(self) -> int:
        """Where it begins."""

    @property
    def end(self) -> int:
        """Where it ends."""

    @property
    def alternatives(self) -> Sequence[tuple[str, float]]:
        """Other tokens."""


class SlipsConfig(Strict):
    """How slips are drawn (docs/method.md step 6)."""

    temperature: float = Field(
        1.0, ge=0.0, le=4.0, description="Above 1 flattens the model's probabilities; 0 takes the likeliest slip."
    )
    min_probability: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        1e-4, description="A less likely alternative is no likely error."
    )
    max_probability: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        1.0, description="A likelier alternative is left out: the model may mean another right way."
    )
    positions: tuple[Position, ...] = Field(
        ("result", "operand", "sign"),
        min_length=1,
        max_length=3,
        description="Where in a calculation errors are wanted.",
    )
    alternatives: int = Field(15, ge=1, le=19, description="Other tokens asked for at each place of the solution.")

    @field_validator("positions")
    @classmethod
    def _once(cls, value: tuple[Position, ...]) -> tuple[Position, ...]:
        if len(set(value)) != len(value):
            raise ValueError("each position may occur once")
        return value

    @model_validator(mode="after")
    def _some_range(self) -> SlipsConfig:
        if self.min_probability > self.max_probability:
            raise ValueError("min_probability is above max_probability: no slip lies between them")
        return self


@dataclass(frozen=True, slots=True)
class Slip:
    """``solution[start:end]``, which is ``old``, becomes ``new``: an error of ``kind`` in step ``step``."""

    step: int
    start: int
    end: int
    old: str
    new: str
    position: Position
    probability: float

    @property
    def kind(self) -> str:
        """The error kind that a change at this position is."""
        return KIND_OF[self.position]


@dataclass(frozen=True, slots=True)
class Begun:
    """A number that differs before its last token. ``slip.new`` is its beginning; the model writes the rest.

    It is asked greedily, for a few tokens, behind ``opening`` as its reply (``completed``).
    """

    slip: Slip
    opening: str


@dataclass(frozen=True, slots=True)
class _Place:
    """A number or a sign of a calculation, by offsets into the solution."""

    step: Step
    equation: Equation
    at: int  # among the equation's tokens
    start: int
    end: int
    position: Position


def find_slips(
    solution: str, steps: Sequence[Step], scored: Sequence[Scored], settings: SlipsConfig
) -> list[Slip | Begun]:
    """Every slip of the solution that changes a value, in the order of places; those of one place likeliest first.

    ``scored`` are the tokens of the whole solution. Only calculations that hold are changed. Nothing is found inside a
    calculator mark; a number behind one is mostly copied from it, so score solutions without marks.
    """
    found: list[Slip | Begun] = []
    for place in _places(solution, steps):
        if place.position in settings.positions:
            found += _at_place(solution, place, scored, settings)
    return found


def completed(solution: str, steps: Sequence[Step], begun: Begun, reply: str) -> Slip | None:
    """The slip with the number that the model wrote on; None where that is no number, or no error."""
    rest = re.match(r"[\d.,{}]*", reply)
    whole = _NUMBER.match(begun.slip.new + (rest[0] if rest else ""))
    if whole is None or len(whole[0]) < len(begun.slip.new):
        return None
    slip = replace(begun.slip, new=whole[0])
    place = next((p for p in _places(solution, steps) if (p.start, p.end) == (slip.start, slip.end)), None)
    return slip if place is not None and _is_error(solution, place, slip.new) else None


def in_drawn_order(
    slips: Sequence[Slip | Begun], settings: SlipsConfig, seed: int, weights: Mapping[str, float] | None = None
) -> list[Slip | Begun]:
    """The slips as they are drawn one after another, without putting back; the first is the draw.

    By probability, times the weight of the kind where ``weights`` are given; a kind without one is left out. The others
    stand in where a slip cannot be carried or proven.
    """
    wanted = [s for s in slips if weights is None or weights.get(_slip(s).kind, 0.0) > 0]
    if settings.temperature == 0:
        return sorted(wanted, key=lambda slip: -_slip(slip).probability)
    rng = random.Random(seed)
    keys = []
    for slip in map(_slip, wanted):
        weight = 1.0 if weights is None else weights[slip.kind]
        # Gumbel noise on log-weights: the order of the sums is the order of such draws.
        noise = -math.log(-math.log(rng.random() or 0.5))
        keys.append(math.log(slip.probability) / settings.temperature + math.log(weight) + noise)
    return [wanted[at] for at in sorted(range(len(wanted)), key=lambda at: -keys[at])]


def in_marked(solution: str, slip: Slip) -> Slip:
    """The slip of a solution without calculator marks, at its place in the solution that has them."""
    start, end = slip.start, slip.end
    for mark_start, mark_end in mark_spans(solution):
        # Both count along the text so far: what stands at the mark's own place stands behind it.
        if mark_start <= start:
            start, end = start + mark_end - mark_start, end + mark_end - mark_start
    return replace(slip, start=start, end=end)


def _slip(found: Slip | Begun) -> Slip:
    return found.slip if isinstance(found, Begun) else found


def _places(solution: str, steps: Sequence[Step]) -> list[_Place]:
    places = []
    for step in steps:
        for equation in find_equations(solution[step.start : step.end]):
            if equation.holds and any(side.is_expression for side in equation.sides):
                places += _places_of(step, equation)
    return places


def _places_of(step: Step, equation: Equation) -> list[_Place]:
    found, at = [], 0
    for side in equation.sides:
        for token in side.tokens:
            position = _position(token, computed=side.is_expression)
            if position is not None and step.start + token.start >= step.body_start:
                start, end = step.start + token.start, step.start + token.end
                found.append(_Place(step, equation, at, start, end, position))
            at += 1
    return found


def _position(token: Token, *, computed: bool) -> Position | None:
    if token.kind == "number":
        return "operand" if computed else "result"
    return "sign" if token.symbol in ("+", "-", "*", "/") else None


def _at_place(solution: str, place: _Place, scored: Sequence[Scored], settings: SlipsConfig) -> list[Slip | Begun]:
    best: dict[tuple[str, bool], Slip | Begun] = {}
    for token in scored:
        # The tokens of a sign are one decision, made at the first; of a number each may be where it goes wrong.
        if token.start >= place.end or token.end <= place.start or (place.position == "sign" and best):
            continue
        for text, logprob in token.alternatives:
            probability = math.exp(logprob)
            new = _written(solution, place, token, text)
            if new is None or not probability:
                continue
            if not settings.min_probability <= probability <= settings.max_probability:
                continue
            slip = Slip(
                place.step.index, place.start, place.end, solution[place.start : place.end], new, place.position,
                probability,
            )  # fmt: skip
            is_begun = place.position != "sign" and token.end < place.end
            if is_begun:
                found: Slip | Begun = Begun(slip, solution[: place.start] + new)
            elif _is_error(solution, place, new):
                found = slip
            else:
                continue
            known = best.get((new, is_begun))
            # The same number may be reached at several tokens; the likelier way counts.
            if known is None or _slip(known).probability < probability:
                best[new, is_begun] = found
    return sorted(best.values(), key=lambda slip: -_slip(slip).probability)


def _written(solution: str, place: _Place, token: Scored, text: str) -> str | None:
    """What stands at the place if the model writes ``text`` for the token; None where that is no number or sign.

    What the token holds besides the place (a space before, a space behind) must be the same.
    """
    before, behind = solution[token.start : place.start], solution[place.end : token.end]
    if not text.startswith(before) or not text.endswith(behind) or len(text) <= len(before) + len(behind):
        return None
    new = solution[place.start : token.start] + text[len(before) : len(text) - len(behind)]
    if place.position == "sign":
        return _sign_like(solution, solution[place.start : place.end], new)
    if token.end < place.end:  # only the beginning is known
        return new if _BEGUN.fullmatch(new) and not _NOT_WRITTEN.match(new[:2] if new[:1] == "0" else new) else None
    return new if _NUMBER.fullmatch(new) else None


def _sign_like(solution: str, old: str, new: str) -> str | None:
    """The sign where it is another and fits the signs that the solution writes."""
    if new not in _SIGNS or old not in _SIGNS or _SIGNS[new] == _SIGNS[old]:
        return None
    if _SIGNS[new] in "+-":
        return new
    used = {sign for sign in "*×·/÷" if sign in solution}
    # A sign of another style would tell the sides of a pair apart by itself.
    return new if not used or new in used or any(new in style and used & style for style in _STYLES) else None


def _is_error(solution: str, place: _Place, new: str) -> bool:
    """Whether the place with ``new`` makes the calculation false, in a way that people write."""
    old = solution[place.start : place.end]
    if place.position != "sign":
        plain = new.replace("{,}", "").replace(",", "")
        if _NOT_WRITTEN.match(plain) or _decimal(plain) == _decimal(old.replace("{,}", "").replace(",", "")):
            return False
    text = solution[place.step.start : place.step.end]
    edited = apply_changes(text, place.equation, [TokenChange(place.at, place.at, new)])
    if edited is None:
        return False
    moved = next((e for e in find_equations(edited) if e.start == place.equation.start), None)
    same_shape = moved is not None and len(tokens_of(moved)) == len(tokens_of(place.equation))
    return same_shape and moved is not None and moved.holds is False


def _decimal(text: str) -> Decimal | None:
    return Decimal(text) if re.fullmatch(r"\d+(?:\.\d+)?|\.\d+", text) else None
