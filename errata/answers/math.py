"""Verifier ``math``: exact typed comparison first, Math-Verify only for what is left, and never beyond its own type.

Fails closed: what cannot be shown equal is not correct. Two answers joined by "and" are both needed, a set has exactly
its members, and a number is no expression that merely rounds to it.
"""

from __future__ import annotations

from collections.abc import Sequence

from errata.answers.extraction import clean, extract_answer
from errata.answers.structure import Answer, read
from errata.answers.symbolic import Unparsable, equal_symbolic
from errata.answers.types import Judgement, too_complex
from errata.answers.values import read_number, read_text, same_number
from errata.types import Domain, Problem, Verdict

NAME = "math"
VERSION = "1"
MAX_PARTS = 32


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
    settled = _settle_plain(gold, answer)
    return settled if settled is not None else _same(read(gold), read(answer))


def _settle_plain(gold: str, answer: str) -> bool | None:
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
        settled = _settle_plain(gold.text, answer.text)
        return equal_symbolic(gold.text, answer.text) if settled is None else settled
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
