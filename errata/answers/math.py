"""Verifier ``math``: exact typed comparison first, Math-Verify only for what is left, and never beyond its own type.

Fails closed: what cannot be shown equal is not correct. Two answers joined by "and" are both needed, a set has exactly
its members, and a number is no expression that merely rounds to it.

"3 and 5", ``3, 5`` and ``\\{3, 5\\}`` are collections without order; ``(3, 5)`` is a tuple (or an open interval: they
look the same); ``[3, 5)`` an interval. A collection never equals one of its members.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from errata.answers.extraction import clean, extract_answer
from errata.answers.judgement import Judgement, too_complex
from errata.answers.symbolic import Unparsable, equal_symbolic
from errata.answers.values import read_number, read_text, same_number
from errata.types import Domain, Problem, Verdict

NAME = "math"
VERSION = "1"
MAX_PARTS = 32

Shape = Literal["leaf", "list", "set", "tuple", "union"]

_OPEN, _CLOSE = "([{", ")]}"
_THOUSANDS = re.compile(r"[-+−]?\s*\\?[$€£]?\s*\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)\s*(?:\\?%|[A-Za-z .$]*)")
_NOISE = re.compile(r"\\(?:left|right|displaystyle|[bB]igg?[lr]?)(?![A-Za-z])|\\[,;:!]|\\q?quad|~")
_NAME = re.compile(r"\s*(?P<name>\\?[A-Za-z]\w*(?:_\{?\w+\}?)?(?:\([A-Za-z]\))?)\s*=\s*(?!=)(?P<value>[^=<>]+)")
_JOIN = re.compile(r"(?:\\text\s*\{\s*)?\b(?:and|or)\b(?:\s*\})?")
_DELIMITED = re.compile(r"\$([^$]+)\$")


def verify(problem: Problem, text: str) -> Judgement:
    """Compare the answer stated in ``text`` with the problem's gold answer. Never raises for any text."""
    extracted = extract_answer(text, Domain.MATH)
    verifier = f"{NAME}/{VERSION}"
    if extracted is None:
        return Judgement(Verdict.UNPARSABLE, None, verifier, "no final answer is stated")
    shown = extracted[:1000]
    gold = extract_answer(problem.gold_answer, Domain.MATH) or clean(problem.gold_answer)
    if gold is None:
        return Judgement(Verdict.UNPARSABLE, shown, verifier, "the gold answer is empty")
    if too_complex(extracted) or too_complex(gold):
        return Judgement(Verdict.UNPARSABLE, shown, verifier, "too long or too deeply nested")
    try:
        same = same_answer(gold, extracted)
    except Unparsable as error:
        return Judgement(Verdict.UNPARSABLE, shown, verifier, f"not readable as mathematics: {error}"[:300])
    return Judgement(Verdict.CORRECT if same else Verdict.INCORRECT, shown, verifier)


def same_answer(gold: str, answer: str) -> bool:
    """Whether two final answers are equal, both already bounded in length and nesting.

    Raises Unparsable when the answer cannot be read. Only what plain comparison cannot settle reaches sympy.
    """
    plain = _compare_plain(gold, answer)
    return plain if plain is not None else _same(read(gold), read(answer))


def _compare_plain(gold: str, answer: str) -> bool | None:
    """Equality of two plain numbers or two plain texts; None where at least one side is neither."""
    if gold == answer:
        return True
    gold_number, answer_number = read_number(gold), read_number(answer)
    if gold_number is not None and answer_number is not None:
        return same_number(gold_number, answer_number)
    gold_text, answer_text = read_text(gold), read_text(answer)
    if gold_text is not None and answer_text is not None:
        return gold_text == answer_text
    if (gold_number is not None and answer_text) or (gold_text and answer_number is not None):
        return False
    return None


def _same(gold: Answer, answer: Answer) -> bool:
    if gold.name and answer.name and gold.name != answer.name:
        return False
    if len(gold.parts) > MAX_PARTS or len(answer.parts) > MAX_PARTS:
        return False
    unordered = ("list", "set")
    if gold.shape != answer.shape and not (gold.shape in unordered and answer.shape in unordered):
        return False
    if gold.shape == "leaf":
        if "=" in gold.text or "=" in answer.text:
            return equal_symbolic(_in_full(gold), _in_full(answer))
        plain = _compare_plain(gold.text, answer.text)
        return equal_symbolic(gold.text, answer.text) if plain is None else plain
    if gold.shape == "tuple":
        return gold.brackets == answer.brackets and _same_in_order(gold.parts, answer.parts)
    if gold.shape == "list" and answer.shape == "list":
        return len(gold.parts) == len(answer.parts) and _same_members(gold.parts, answer.parts)
    return _same_members(gold.parts, answer.parts)


def _in_full(answer: Answer) -> str:
    return f"{answer.name}={answer.text}" if answer.name else answer.text


def _same_in_order(gold: Sequence[Answer], answer: Sequence[Answer]) -> bool:
    return len(gold) == len(answer) and all(_same(g, a) for g, a in zip(gold, answer, strict=True))


def _same_members(gold: Sequence[Answer], answer: Sequence[Answer]) -> bool:
    """Every member of one is a member of the other, named members under their names."""
    if any(g.name for g in gold) and any(a.name for a in answer) and {g.name for g in gold} != {a.name for a in answer}:
        return False
    return all(any(_same(g, a) for a in answer) for g in gold) and all(any(_same(g, a) for g in gold) for a in answer)


@dataclass(frozen=True, slots=True)
class Answer:
    """A parsed answer. ``brackets`` are those of a tuple or interval, ``name`` that of ``x = ...``."""

    shape: Shape
    text: str
    parts: tuple[Answer, ...] = ()
    brackets: str = ""
    name: str | None = None


def read(answer: str) -> Answer:
    """The shape of ``answer``; anything without one is a leaf. Length and nesting are the caller's to cap."""
    text = _DELIMITED.sub(r"\1", answer)
    text = _NOISE.sub(" ", text.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")).strip()
    return _read(text, nested=False)


def _read(text: str, nested: bool) -> Answer:
    text = text.strip().removesuffix(".").strip()
    pieces = [text] if not nested and _THOUSANDS.fullmatch(text) else _split(text)
    if len(pieces) > 1:
        return Answer("list", text, tuple(_read(piece, nested=True) for piece in pieces))
    unions = _split_on(text, ("\\cup",))
    if len(unions) > 1:
        return Answer("union", text, tuple(_read(piece, nested=True) for piece in unions))
    named = _NAME.fullmatch(text)
    if named:
        inner = _read(named["value"], nested)
        return Answer(inner.shape, inner.text, inner.parts, inner.brackets, named["name"].removeprefix("\\"))
    bracketed = _bracketed(text)
    if bracketed is not None:
        return bracketed
    signs = re.split(r"\\pm(?![A-Za-z])|±", text)
    if len(signs) == 2 and signs[1].strip():
        both = tuple(Answer("leaf", f"{signs[0]}{sign}{signs[1]}".strip()) for sign in "+-")
        return Answer("list", text, both)
    return Answer("leaf", text)


def _bracketed(text: str) -> Answer | None:
    if text.startswith("\\{") and text.endswith("\\}"):
        return Answer("set", text, _members(text[2:-2]))
    if len(text) < 2 or text[0] not in _OPEN or _partner(text) != len(text) - 1:
        return None
    inner = text[1:-1]
    if text[0] == "{":
        members = _members(inner)
        return Answer("set", text, members) if len(members) > 1 else _read(inner, nested=True)
    pieces = _split_on(inner, (",",))
    if len(pieces) > 1:
        parts = tuple(_read(piece, nested=True) for piece in pieces)
        return Answer("tuple", text, parts, text[0] + text[-1])
    return _read(inner, nested=True) if text[0] == "(" and not _split(inner)[1:] else None


def _members(inner: str) -> tuple[Answer, ...]:
    return tuple(_read(piece, nested=True) for piece in _split(inner)) if inner.strip() else ()


def _partner(text: str) -> int:
    """Where the bracket that opens ``text`` closes; brackets of different kinds may pair, as intervals do."""
    depth, at = 0, 0
    while at < len(text):
        char = text[at]
        if char == "\\":
            at += 2
            continue
        if char in _OPEN:
            depth += 1
        elif char in _CLOSE:
            depth -= 1
            if depth == 0:
                return at
        at += 1
    return -1


def _split(text: str) -> list[str]:
    """Pieces between commas, semicolons, "and", "or" at the top level."""
    pieces: list[str] = []
    for piece in _split_on(text, (",", ";")):
        joined = [part for part in _split_words(piece) if part.strip()]
        pieces += joined
    return pieces or [text]


def _split_words(text: str) -> list[str]:
    depths = _depths(text)
    cuts = [m.span() for m in _JOIN.finditer(text) if depths[m.start()] == 0]
    pieces, last = [], 0
    for start, end in cuts:
        pieces.append(text[last:start])
        last = end
    return [*pieces, text[last:]]


def _depths(text: str) -> list[int]:
    depths, depth = [], 0
    for at, char in enumerate(text):
        escaped = at > 0 and text[at - 1] == "\\" and char not in _OPEN + _CLOSE
        if char in _CLOSE and not escaped:
            depth = max(depth - 1, 0)
        depths.append(depth)
        if char in _OPEN and not escaped:
            depth += 1
    return [*depths, 0]


def _split_on(text: str, separators: tuple[str, ...]) -> list[str]:
    depths = _depths(text)
    pieces, last, at = [], 0, 0
    while at < len(text):
        found = next((s for s in separators if text.startswith(s, at)), None)
        group = text[at - 1 : at + 2] == "{,}"
        if found and depths[at] == 0 and not group:
            pieces.append(text[last:at])
            last = at + len(found)
            at = last
        else:
            at += 1
    return [*pieces, text[last:]]
