"""Where two texts differ, marked for the eye: to the character, and word-aware where single characters would confuse.

Pure: knows neither rows nor HTML. The texts are compared as tokens (numbers, words, spaces, single signs), so "48"
against "28" is one changed number. Inside a changed token the characters that differ are marked once more. Bounded:
texts of more than ``MAX_TOKENS`` differing tokens are compared by their common beginning and end alone.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import IntEnum
from itertools import groupby

Span = tuple[int, int]
Change = tuple[int, int, int, int]  # tokens a[i1:i2] against b[j1:j2]

MAX_TOKENS = 2000
EXCERPT_CONTEXT = 44  # characters kept either side of the first change in an excerpt

# Combining marks stay with the character they stand on: half a letter must never be marked.
_TOKEN = re.compile(r"(?:\d+(?:[.,]\d+)*|[^\W\d_]+|\s+|.)[\u0300-\u036f\u200d\ufe0f]*", re.DOTALL)
_CALCULATOR = re.compile(r"<<[^<>\n]{0,200}>>")


class Mark(IntEnum):
    """How strongly a run is marked. ``TOKEN``: unchanged characters of a changed word or number."""

    SAME = 0
    TOKEN = 1
    CHANGED = 2
    GAP = 3  # nothing here, but the other text has something: an empty run where a caret belongs


@dataclass(frozen=True, slots=True)
class Run:
    """A piece of one text. ``aside``: inside a calculator mark (``<<48/2=24>>``), which readers skip."""

    text: str
    mark: Mark = Mark.SAME
    aside: bool = False


@dataclass(frozen=True, slots=True)
class Diff:
    """Both texts in runs; the runs' texts joined give each text back exactly."""

    chosen: tuple[Run, ...]
    rejected: tuple[Run, ...]


@dataclass(slots=True)
class _Side:
    """One text under comparison: a mark per character, and the offsets at which the other text has more."""

    text: str
    marks: list[Mark]
    gaps: set[int]

    @classmethod
    def of(cls, text: str) -> _Side:
        return cls(text, [Mark.SAME] * len(text), set())

    def set(self, start: int, end: int, mark: Mark) -> None:
        self.marks[start:end] = [mark] * (end - start)


def diff(chosen: str, rejected: str) -> Diff:
    """Mark what ``rejected`` changed against ``chosen``. Equal texts give runs without marks."""
    left, right = _Side.of(chosen), _Side.of(rejected)
    a, b = _TOKEN.findall(chosen), _TOKEN.findall(rejected)
    changes = _slide(_swaps(_changes(a, b), a, b), a, b)
    for i1, i2, j1, j2 in _join_across_spaces(changes, a, b):
        _mark_change(left, _span(a, i1, i2), right, _span(b, j1, j2))
    return Diff(_runs(left), _runs(right))


def plain(text: str) -> tuple[Run, ...]:
    """A text without changes, with its calculator marks set aside."""
    return _runs(_Side.of(text))


def excerpt(runs: tuple[Run, ...], width: int = 120) -> tuple[Run, ...]:
    """At most ``width`` characters around the first change, cut ends shown by "…"; calculator marks left out."""
    shown = [run for run in runs if not run.aside]
    text_before = 0
    for run in shown:
        if run.mark is not Mark.SAME:
            break
        text_before += len(run.text)
    else:
        text_before = 0  # nothing is marked: show the beginning
    return _cut(shown, _word_start("".join(run.text for run in shown), text_before - EXCERPT_CONTEXT), width)


def _changes(a: list[str], b: list[str]) -> list[Change]:
    """Differing token ranges ``a[i1:i2]`` against ``b[j1:j2]``, ascending."""
    # Equal ends are taken off first: the matcher below is quadratic, and an edit leaves most of a text alone.
    head = _common(a, b)
    tail = _common(a[head:][::-1], b[head:][::-1])
    core_a, core_b = a[head : len(a) - tail], b[head : len(b) - tail]
    if not core_a and not core_b:
        return []
    if len(core_a) + len(core_b) > MAX_TOKENS:
        return [(head, len(a) - tail, head, len(b) - tail)]
    # autojunk would ignore whatever is frequent in a long text: spaces and digits, which are what changes here.
    codes = SequenceMatcher(None, core_a, core_b, autojunk=False).get_opcodes()
    return [(head + i1, head + i2, head + j1, head + j2) for tag, i1, i2, j1, j2 in codes if tag != "equal"]


def _swaps(changes: list[Change], a: list[str], b: list[str]) -> list[Change]:
    """Two terms that changed places ("2/3", "3/2") as two changed terms, wherever the comparison kept one of them."""
    found: list[Change] = []
    for change in changes:
        if found:
            i1, _, j1, _ = found[-1]
            _, i2, _, j2 = change
            old, new = a[i1:i2], b[j1:j2]
            swapped = len(old) > 1 and [new[-1:], new[1:-1], new[:1]] == [old[:1], old[1:-1], old[-1:]]
            if swapped and old[0][0].isalnum() and old[-1][0].isalnum():
                found[-1:] = [(i1, i1 + 1, j1, j1 + 1), (i2 - 1, i2, j2 - 1, j2)]
                continue
        found.append(change)
    return found


def _slide(changes: list[Change], a: list[str], b: list[str]) -> list[Change]:
    """Of the places where a lone insertion or deletion could stand, take the one that reads best.

    "16 - 3 - 4" against "16 - 4" lost " - 3", not "3 - ": a term goes with the sign before it.
    """
    slid: list[Change] = []
    floor_a = floor_b = 0  # ends of the change before: one change must not slide over another
    for i1, i2, j1, j2 in changes:
        back = 0
        if j1 == j2:
            back = _best_slide(a, i1, i2, min(i1 - floor_a, j1 - floor_b))
        elif i1 == i2:
            back = _best_slide(b, j1, j2, min(i1 - floor_a, j1 - floor_b))
        slid.append((i1 - back, i2 - back, j1 - back, j2 - back))
        floor_a, floor_b = i2 - back, j2 - back
    return slid


def _best_slide(tokens: list[str], start: int, end: int, room: int) -> int:
    """How many tokens to move ``tokens[start:end]`` back, at most ``room``, over tokens that repeat at its end."""
    best, best_score = 0, _readability(tokens[start:end])
    for back in range(1, room + 1):
        if tokens[start - back] != tokens[end - back]:
            break
        score = _readability(tokens[start - back : end - back])
        if score > best_score:
            best, best_score = back, score
    return best


def _readability(piece: list[str]) -> tuple[bool, bool]:
    """Whether a piece begins with a sign, and whether it carries its space in front."""
    visible = [token for token in piece if not token.isspace()]
    sign = bool(visible) and not visible[0][0].isalnum()
    return sign, not piece[-1].isspace()


def _join_across_spaces(changes: list[Change], a: list[str], b: list[str]) -> list[Change]:
    """Neighboring changes with only a space between become one, so that "two apples" is one mark and not two."""
    joined: list[Change] = []
    for change in changes:
        if joined:
            i1, i2, j1, j2 = joined[-1]
            between = a[i2 : change[0]]
            words = [*a[i1:i2], *a[change[0] : change[1]], *b[j1:j2], *b[change[2] : change[3]]]
            if "".join(between).isspace() and all(word[0].isalpha() or word.isspace() for word in words):
                joined[-1] = (i1, change[1], j1, change[3])
                continue
        joined.append(change)
    return joined


def _span(tokens: list[str], first: int, last: int) -> Span:
    start = sum(map(len, tokens[:first]))
    return start, start + sum(map(len, tokens[first:last]))


def _mark_change(left: _Side, a: Span, right: _Side, b: Span) -> None:
    """Mark one changed range on both sides; the characters both share at its ends are marked more lightly."""
    a, b = _without_shared_spaces(left.text, a, right.text, b)
    old, new = left.text[a[0] : a[1]], right.text[b[0] : b[1]]
    head = _common(old, new)
    tail = _common(old[head:][::-1], new[head:][::-1])
    # A combining mark belongs to the letter before it: the border must not fall between them.
    while head and (_combines(old[head : head + 1]) or _combines(new[head : head + 1])):
        head -= 1
    while tail and _combines(old[len(old) - tail]):
        tail -= 1
    if not _worth_refining(old, new, head + tail):
        head = tail = 0
    for side, (start, end) in ((left, a), (right, b)):
        side.set(start, end, Mark.TOKEN)
        side.set(start + head, end - tail, Mark.CHANGED)
        if start + head == end - tail:
            side.gaps.add(start + head)


def _without_shared_spaces(old: str, a: Span, new: str, b: Span) -> tuple[Span, Span]:
    """Both ranges without white space that they have in common at an end: a space that stays is no change."""
    (i1, i2), (j1, j2) = a, b
    while i1 < i2 and j1 < j2 and old[i1].isspace() and old[i1] == new[j1]:
        i1, j1 = i1 + 1, j1 + 1
    while i1 < i2 and j1 < j2 and old[i2 - 1].isspace() and old[i2 - 1] == new[j2 - 1]:
        i2, j2 = i2 - 1, j2 - 1
    return (i1, i2), (j1, j2)


def _combines(character: str) -> bool:
    return character != "" and unicodedata.combining(character) > 0


def _worth_refining(old: str, new: str, shared: int) -> bool:
    """Digits always: a wrong digit is the error itself. Words only where most of the word stays ("boxes", "box")."""
    if not old or not new:
        return False
    if old[0].isdigit() and new[0].isdigit():
        return True
    return 2 * shared >= max(len(old), len(new))


def _common(a: str | list[str], b: str | list[str]) -> int:
    """Length of the common beginning."""
    length = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        length += 1
    return length


def _runs(side: _Side) -> tuple[Run, ...]:
    aside = [False] * len(side.text)
    for match in _CALCULATOR.finditer(side.text):
        aside[match.start() : match.end()] = [True] * (match.end() - match.start())
    runs: list[Run] = []
    cuts = sorted({0, *side.gaps, len(side.text)})  # a gap has no characters, so it can only stand between runs
    for start, end in zip(cuts, [*cuts[1:], len(side.text)], strict=True):
        if start in side.gaps:
            runs.append(Run("", Mark.GAP, start < len(aside) and aside[start]))
        for (mark, inside), group in groupby(range(start, end), key=lambda i: (side.marks[i], aside[i])):
            runs.append(Run("".join(side.text[i] for i in group), mark, inside))
    return tuple(runs)


def _word_start(text: str, at: int) -> int:
    """``at``, moved to the beginning of the next word if one begins near."""
    if at <= 0:
        return 0
    space = text.find(" ", at, at + EXCERPT_CONTEXT // 2)
    return at if space < 0 else space + 1


def _cut(runs: list[Run], start: int, width: int) -> tuple[Run, ...]:
    total = sum(len(run.text) for run in runs)
    cut = [Run("…")] if start else []
    position = 0
    for run in runs:
        first, last = max(start - position, 0), min(start + width - position, len(run.text))
        if first < last or (run.mark is Mark.GAP and start <= position <= start + width):
            cut.append(Run(run.text[first:last].replace("\n", " "), run.mark, run.aside))
        position += len(run.text)
    if start + width < total:
        cut.append(Run("…"))
    return tuple(cut)
