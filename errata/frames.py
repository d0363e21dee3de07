"""Frames for constrained decoding: what an edited unit must look like, and never which error it holds.

A frame is a regular expression that a whole reply must match. Of an equation it keeps what the kind leaves as it is and
opens one place: a number that may become any other number, or a sign that may become any other sign; of ``omission``
and ``order`` it lists every term that may go or move. Which place, which number and which sign is the model's choice.
Of a sentence it keeps the line. Written in the few constructs that every server's grammar reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from errata.arithmetic import Equation, Token, find_equations, strip_marks
from errata.kinds import Kind, Site
from errata.kinds.slips import sign_like
from errata.prompt_config import EditPromptConfig
from errata.units import Unit

Framing = Literal["free", "framed"]

_BINARY = ("+", "-", "*", "/")
_SPECIAL = re.compile(r"([\\.^$*+?{}()|\[\]/-])")
_WRITTEN = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+")
_TERMS = 24  # edits of one unit that a frame lists
_LINE, _WORDS, _BLOCK = "[^\\n]+", "[^\\n0-9=]+", "[^`]+"


def framing_of_attempt(config: EditPromptConfig, attempt: int) -> Framing:
    """How attempt number ``attempt``, from 0 on, is decoded where the engine can (``editing.structured``)."""
    if config.layout != "errata" or config.structured == "never":
        return "free"
    return "framed" if config.structured == "always" or attempt > 0 else "free"


def unit_frame(site: Site, unit: Unit, kind: Kind, *, spaced: bool = False) -> str:
    """The frame of an edit of ``unit`` by ``kind``: its line, or of a unit of several lines all before a fence.

    ``spaced``: the reply may begin with a space, which its opening may have left to the model.
    """
    frame = _LINE if unit.one_line else _BLOCK
    if unit.one_line and unit.kind == "equation" and kind.name in _OPENED:
        shown = strip_marks(site.solution[unit.start : unit.end])
        listed = list(dict.fromkeys(_equation_frames(site, unit, kind, shown)))
        frame = f"({'|'.join(listed)})" if listed else _LINE
    elif unit.one_line and kind.version is None and kind.name == "misreading":
        frame = _WORDS
    return f" ?{frame}" if spaced else frame


def _equation_frames(site: Site, unit: Unit, kind: Kind, shown: str) -> Iterator[str]:
    equations = find_equations(shown)
    if len(equations) != 1 or (equations[0].start, equations[0].end) != (0, len(shown)):
        return
    if kind.name in ("omission", "order"):
        yield from (_literal(text) for text in _rearranged(site, unit, kind))
        return
    for token in _open_tokens(equations[0], kind.name):
        other = (
            _other_sign(token, site.solution) if kind.name == "operator" else _other_number(token.text, site.solution)
        )
        if other is not None:
            yield _literal(shown[: token.start]) + other + _literal(shown[token.end :])


#: Whether the place that a kind opens stands on a side that computes something.
_OPENED = {"calculation": False, "substitution": True, "operator": True, "omission": True, "order": True}


def _open_tokens(equation: Equation, kind: str) -> Iterator[Token]:
    for side in equation.sides:
        if side.is_expression is _OPENED[kind]:
            for token in side.tokens:
                if token.kind == ("operator" if kind == "operator" else "number"):
                    yield token


def _rearranged(site: Site, unit: Unit, kind: Kind) -> Iterator[str]:
    """The unit with each term that can be dropped, or each two that can be swapped."""
    before, after = unit.start - site.step.start, unit.end - site.step.start
    for edited in kind.twin(site, _TERMS, None):
        tail = site.text[after:]
        if edited.startswith(site.text[:before]) and edited.endswith(tail):
            yield strip_marks(edited[before : len(edited) - len(tail)])


def _other_sign(token: Token, solution: str) -> str | None:
    if token.symbol not in _BINARY:
        return None
    latex = token.text.strip().startswith("\\")
    others = [sign_like(symbol, token, solution, latex) or _plain(symbol, token) for symbol in _BINARY]
    return f"({'|'.join(_literal(sign) for sign in dict.fromkeys(others) if sign != token.text)})"


def _plain(symbol: str, token: Token) -> str:
    """The sign as a keyboard has it, with the token's own spaces."""
    return token.text.replace(token.text.strip(), symbol)


def _other_number(text: str, solution: str) -> str | None:
    """Any other number with as many decimals and up to two digits more before them, or any that the solution writes.

    None for a number in words.
    """
    if not text or not text[0].isdigit() or not text.isascii():
        return None
    listed = []
    for at, char in enumerate(text):
        if char.isdigit():
            leading = at == 0 and text[1:2] != "."  # no number is zero, or begins with it
            digits = [d for d in "0123456789" if d != char and not (leading and d == "0")]
            rest = "".join("[0-9]" if c.isdigit() else _literal(c) for c in text[at + 1 :])
            listed.append(f"{_literal(text[:at])}[{''.join(digits)}]{rest}")
    whole, point, part = text.partition(".")
    if whole.isdigit():
        behind = _literal(point) + "[0-9]" * len(part)
        listed.append(f"[1-9][0-9]{{{len(whole)},{len(whole) + 1}}}{behind}")
        if len(whole) > 1:
            listed.append(f"[1-9][0-9]{{0,{len(whole) - 2}}}{behind}")
            listed += [f"0{behind}"] if part else []
    elif _GROUPED.fullmatch(text):
        listed.append("[1-9][0-9]{0,2}")
    written = dict.fromkeys(_WRITTEN.findall(solution))
    listed += [_literal(other) for other in written if other != text]
    return f"({'|'.join(listed)})"


def _literal(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)
