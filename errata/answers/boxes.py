r"""The one reader of boxes: ``\boxed{5}``, ``\fbox{5}``, ``\boxed 5``, nested ones, braces escaped or not.

Intake (``api.formats``) and grading read the same boxes, so that no gold answer is refused whose like would be judged.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

_COMMAND = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*")
_TOKEN = re.compile(rf"{_COMMAND.pattern}|\\.|[{{}}]", re.DOTALL)
_WHOLE_GROUP = re.compile(r"\A\{([^{}]*)\}\Z")
_NAME_BEFORE = re.compile(r"(?<![A-Za-z\\])([A-Za-z](?:_\{?\w{1,3}\}?)?)\s*=\s*\Z")
# Nothing but a joining word, mathematics delimiters and a name may stand between boxes that are one answer.
_BETWEEN = re.compile(
    r"[\s$,;&]{0,12}(?:\\[()\[\], ;])?[\s,;]{0,4}"
    r"(?:(?:\\(?:text|mbox)\s?\{\s?)?(?:and|or|和|或|与|、|，)(?:\s?\})?|\\q?quad)?"
    r"[\s$,;&]{0,8}(?:\n[-*•]\s{1,3})?\$?(?:\\[()\[\], ;])?\s{0,4}(?:[A-Za-z](?:_\{?\w{1,3}\}?)?\s{0,2}=\s{0,2})?"
)
_LISTED = re.compile(r"and|,(?!\s*or)|;|和|与|、|，|\n[-*•]")
_BRACKETS = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}
_MAX_BARE = 200
_BARE_END = ("\\)", "\\]", "\\\\", "\\boxed", "\\fbox")


@dataclass(frozen=True, slots=True)
class Box:
    """A complete box: ``text[start:end]`` with its command. ``content`` is trimmed, never empty, and holds no box."""

    start: int
    end: int
    content: str


def find_boxes(text: str) -> list[Box]:
    """Every complete, outermost box of ``text`` that holds something, in order. Linear in the length of the text.

    A box whose braces never close is none; boxes inside it still count.
    """
    found: list[tuple[int, int, int, int]] = []  # start and end of a box, start and end of its content
    open_braces: list[tuple[int, int] | None] = []  # where a box and its content begin; None for a plain brace
    at = 0
    while match := _TOKEN.search(text, at):
        token, at = match.group(), match.end()
        if _COMMAND.match(token):
            if text.startswith("{", at):
                at += 1
                open_braces.append((match.start(), at))
            elif bare := _bare(text, at):
                found.append((match.start(), at + len(bare), at, at + len(bare)))
        elif token == "{":
            open_braces.append(None)
        elif token == "}" and open_braces:
            opened = open_braces.pop()
            if opened is not None:
                found.append((opened[0], at, opened[1], match.start()))
    return _outermost(text, found)


def _outermost(text: str, found: list[tuple[int, int, int, int]]) -> list[Box]:
    """Boxes close from the inside out: from the end, one that starts behind its follower's start lies within it."""
    boxes: list[Box] = []
    outer_start = len(text)
    for start, end, inner_start, inner_end in sorted(found, key=lambda box: box[1], reverse=True):
        if start >= outer_start:
            continue
        outer_start = start
        content = _WHOLE_GROUP.sub(r"\1", _COMMAND.sub("", text[inner_start:inner_end]).strip()).strip()
        if content:
            boxes.append(Box(start, end, content))
    return boxes[::-1]


def _bare(text: str, at: int) -> str:
    r"""What ``\boxed 5`` holds: all up to a space or ``$`` outside brackets."""
    # TeX itself would box one digit of ``\boxed 12``; whoever writes that means the whole number.
    depth, end = 0, at
    while end < min(len(text), at + _MAX_BARE):
        char = text[end]
        if depth == 0 and (char.isspace() or char == "$" or text.startswith(_BARE_END, end)):
            break
        if char == "\\":
            end += 2
            continue
        depth += _BRACKETS.get(char, 0)
        if depth < 0:
            break
        end += 1
    return text[at:end].rstrip(".,;")


def final_boxes(text: str) -> Box | None:
    r"""The last box, joined with those before it that one sentence lists: ``\boxed{2}`` and ``\boxed{3}`` is ``2, 3``.

    Where only "or" or nothing stands between them, they are alternatives: ``2 \text{ or } 3``. Names in front of the
    boxes stay where every box has one: ``x = \boxed{2}, y = \boxed{3}`` is ``x = 2, y = 3``.
    """
    boxes = find_boxes(text)
    if not boxes:
        return None
    first = len(boxes) - 1
    while first and _BETWEEN.fullmatch(text, boxes[first - 1].end, boxes[first].start):
        first -= 1
    group = boxes[first:]
    names = [_NAME_BEFORE.search(text[max(0, box.start - 20) : box.start]) for box in group]
    contents = {box.content: None for box in group}
    if len(contents) > 1 and all(names):
        contents = {f"{name[1]} = {box.content}": None for name, box in zip(names, group, strict=True) if name}
    between = [text[one.end : other.start] for one, other in pairwise(group)]
    # Boxes that nothing lists together may be one answer in two spellings: such are alternatives.
    joiner = ", " if any(_LISTED.search(piece) for piece in between) else r" \text{ or } "
    return Box(group[0].start, group[-1].end, joiner.join(contents))
