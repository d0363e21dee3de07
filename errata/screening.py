"""Screening edits before proof (docs/method.md step 7): each rejection has a named reason, and nothing is repaired."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from errata.arithmetic import marks_agree
from errata.config import ScreeningConfig
from errata.selection import admits_mistake
from errata.steps import split_steps
from errata.types import Reason

_TOKEN = re.compile(r"\d+(?:\.\d+)?|\w+|\S")
_FENCE = "```"
_NEAR = 31
_SAYS_SO = re.compile(
    r"\b(?:error|mistake|incorrect|wrong|erroneous|subtle(?:ly)?)\b|\b(?:instead of|should (?:be|have been))\b", re.I
)
_BOX = re.compile(r"\\boxed\{")


@dataclass(frozen=True, slots=True)
class Screening:
    """Whether an edit is kept, the first reason against it, and its Levenshtein distance to the original."""

    kept: bool
    reason: Reason | None
    distance: int


def distance(original: str, edited: str, unit: str) -> int:
    """Levenshtein distance in ``characters`` or ``tokens`` (numbers, words, signs)."""
    # The hint makes it look along the diagonal first: edits are near, and the whole table is quadratic.
    if unit == "tokens":
        return Levenshtein.distance(_TOKEN.findall(original), _TOKEN.findall(edited), score_hint=_NEAR)
    return Levenshtein.distance(original, edited, score_hint=_NEAR)


def screen(
    original_step: str,
    edited_step: str,
    question: str,
    config: ScreeningConfig,
    offered_span: tuple[int, int] | None = None,
) -> Screening:
    """Keep or reject one edit. ``offered_span`` are offsets into ``original_step``: nothing outside may change."""
    far = distance(original_step, edited_step, config.distance_unit)
    reason = _reason(original_step, edited_step, question, config, offered_span)
    if reason is None and config.max_distance is not None and far >= config.max_distance:
        reason = Reason.TOO_FAR
    return Screening(reason is None, reason, far)


def _reason(
    original: str, edited: str, question: str, config: ScreeningConfig, offered: tuple[int, int] | None
) -> Reason | None:
    if not edited.strip():
        return Reason.EMPTY
    # The presets of paper and scripts screen less, but no preset trains on a pair of equals.
    if _squeeze(original) == _squeeze(edited):
        return Reason.NO_CHANGE
    if _admits(original, edited, question):
        return Reason.ADMITS_ERROR
    if not config.structural:
        return None
    if len(split_steps(edited)) != len(split_steps(original)) or edited.count("\n") != original.count("\n"):
        return Reason.ADDED_STEP
    if _broken(original, edited):
        return Reason.BROKEN_FORMAT
    if offered and _left(original, edited, offered):
        return Reason.LEFT_SPAN
    return Reason.MARK_MISMATCH if marks_agree(original) and not marks_agree(edited) else None


def _squeeze(text: str) -> str:
    return " ".join(text.split())


# The checks compare the edit with its original: what the original has already (an open brace, the word "error") does
# not tell the sides of a pair apart.
def _admits(original: str, edited: str, question: str) -> bool:
    """Whether the edit says that it is one, in words neither the original nor the question uses."""
    known = f"{question}\n{original}"
    if admits_mistake(edited, known):
        return True
    lowered = known.lower()
    return any(phrase not in lowered for phrase in {match[0].lower() for match in _SAYS_SO.finditer(edited)})


def _balance(text: str) -> tuple[int, int, int]:
    return text.count("{") - text.count("}"), text.count(_FENCE), text.count("<<") - text.count(">>")


def _broken(original: str, edited: str) -> bool:
    """Braces, fences and calculator marks as balanced as they were; as many boxes as there were."""
    boxes = len(_BOX.findall(original)), len(_BOX.findall(edited))
    return _balance(original) != _balance(edited) or boxes[0] != boxes[1]


def _left(original: str, edited: str, offered: tuple[int, int]) -> bool:
    before, after = original[: offered[0]], original[offered[1] :]
    return not (edited.startswith(before) and edited[len(before) :].endswith(after))
