"""Values the arithmetic room passes around: tokens, sides and equations, all as offsets into the text given."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

TokenKind = Literal["number", "operator", "paren"]


@dataclass(frozen=True, slots=True)
class Token:
    """One editable piece of a side: ``text[start:end]`` of the original text.

    ``symbol`` is the operator in canonical form (``+ - * / ^ ! neg frac sqrt``) or the bracket ``(``, ``)``; "" for
    numbers. ``value`` is a number's face value (without percent, scale word or unit), None for the others. ``unit`` is
    the phrase behind a number ("apples", "minutes/hour"), ``percent`` whether a percent sign follows, ``currency`` the
    sign in front.
    """

    kind: TokenKind
    start: int
    end: int
    text: str
    symbol: str = ""
    value: Fraction | None = None
    unit: str | None = None
    percent: bool = False
    currency: str | None = None


@dataclass(frozen=True, slots=True)
class Side:
    """One side of an equation. ``value`` is exact under the reading that was used, None where it cannot be computed.

    ``start``/``end`` run from the first to the last token, currency and percent signs included, a trailing unit
    phrase not.
    """

    start: int
    end: int
    text: str
    value: Fraction | None
    tokens: tuple[Token, ...]

    @property
    def is_expression(self) -> bool:
        """Whether the side computes something, as against a bare quantity such as ``-$5`` or ``20 %``."""
        return any(t.kind == "operator" and t.symbol not in ("neg", "frac") for t in self.tokens)


@dataclass(frozen=True, slots=True)
class Equation:
    """An equation or chain found in prose. ``holds`` is None where it cannot be judged (variables, prose, too large).

    ``broken`` is the index of the first side that differs from the one before, set exactly when ``holds`` is False.
    """

    start: int
    end: int
    sides: tuple[Side, ...]
    holds: bool | None
    broken: int | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """A calculator mark ``<<expression=result>>`` at ``text[start:end]``; ``holds`` None: it cannot be judged."""

    start: int
    end: int
    expression: str
    result: str
    holds: bool | None
