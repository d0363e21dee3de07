"""Steps of a solution, as character offsets into its text (docs/method.md step 5).

The released scripts split on ``\\nStep k:`` alone. Here the first of these that the text has decides: "Step k:"
labels, a numbered list, paragraphs, lines, sentences. No cut falls inside display mathematics, a code fence or a
calculator mark. Thoughts are steps of their own, or part of the preamble. The time grows with the text's length alone.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from errata.blocks import Blocks, find_blocks
from errata.json_cells import find_json
from errata.labels import is_heading, list_item, step_label
from errata.thoughts import THOUGHTS, Markers, blanked, thought_spans
from errata.types import Domain, Step

_VISIBLE_LINE = re.compile(r"^[^\S\n]*(\S[^\n]*)", re.M)
_BLANK = re.compile(r"\n[^\S\n]*\n")
_BULLET = re.compile(r"[-*+•][ \t]")
_INNER = re.compile(r"\\\[|\$\$|\\begin\{|\||```|[-*+•][ \t]")  # such a line belongs to the text before it
_LOWER = re.compile(r"[a-zà-öø-ÿ]{2}")  # a line that goes on in lower case
_VISIBLE = re.compile(r"\S")
_OPEN_END = re.compile(
    r"(?:[,:，：=+*×<>(&]|[-−]|\\(?:cdot|times|div|quad|le|ge)|\b(?:is|are|of|the|to|and|by))[ \t]*\Z"
)
_SENTENCE_END = re.compile(r"[.!?。！？:：;；](?:\*\*|[\"'”’)\]$}])*[ \t]*\Z")
_SENTENCE = re.compile(
    r"(?<=[.!?])[\"')\]]?(?=[ \t\n])[ \t]*+(?:\n[ \t]*+)?(?=[\"'(\[$\\A-Z0-9])"
    r"|(?<=[.!?])(?:\$|\\\))[ \t\n]{1,9}(?=[A-Z])"
    r"|(?<=[.!?])[ \t\n]{0,3}(?:\$\$|\\\]|\\end\{\w{1,20}\*?\}(?:\\\])?)[ \t\n]{0,9}(?=[A-Z])"
    r"|(?<=[。！？])[”’」』）】\"')]{0,3}\s*(?=\S)"
)
_ABBREVIATION = re.compile(r"(?:\b(?:[A-Z]|e\.g|i\.e|Mr|Mrs|Ms|Dr|St|vs|etc|approx|No|Fig|Eq))\.$")
_FENCE = re.compile(r"^[ \t]*```[ \t]*(?P<language>[\w+-]*)[^\n]*$", re.M)
_PYTHON = ("python", "py", "python3", "")  # the fences the verifier of code reads (errata.answers)
_ANSWER = re.compile(
    r"(?:A|Answer|Final answer)[ \t]*:|####|\\boxed\{|(?:所以|因此|故)?(?:最终|正确)?答案?[ \t]*[:：是为]"
    r"|(?:(?:So|Thus|Hence|Therefore|Finally)[, ]+)?(?:the|our|my)[ \t]+(?:final[ \t]+)?answer[ \t]+(?:is|will be|:)",
    re.I,
)
_CALCULATION = re.compile(r"[\d)}%][ \t]*(?:[-+*/×÷=^]|\\times|\\div|\\cdot|x(?=[ \t]*[\d(]))|\\frac")
_BOX = re.compile(r"\\boxed\{[^{}]*\}")

Cut = tuple[int, int]  # where a step starts, and where the body behind its label does


@dataclass(frozen=True, slots=True)
class _Line:
    """A line with something visible: where it starts, where its first visible character stands, and what is there."""

    start: int
    visible: int
    text: str
    after_blank: bool

    @property
    def indent(self) -> int:
        return self.visible - self.start


def split_steps(text: str, domain: Domain = Domain.MATH, thoughts: Markers = THOUGHTS) -> tuple[Step, ...]:
    """The steps of ``text``; preamble and steps joined give the text back. Empty where nothing but thoughts is visible.

    A thought (text between two markers of ``thoughts``) is a step of its own with ``is_thought``; one that stands
    before the first step belongs to the preamble. Without ``thoughts`` the markers are text like any other.

    For ``code`` the steps are the lines of the last fenced block; the fence that ends it, and what follows, is a last
    step that is never offered. For ``logic`` the JSON of the answer is never cut, and its step is no mere answer: its
    cells are what can be wrong.
    """
    spans = thought_spans(text, thoughts)
    said = blanked(text, spans)
    if not said.strip():
        return ()
    if domain is Domain.CODE and (block := _last_fence(said)) is not None:
        return _code_steps(said, *block)
    answer = find_json(said) if domain is Domain.LOGIC else None
    kept_whole = [] if answer is None else [(answer.start, answer.end)]
    steps = _steps(said, _prose_cuts(said, kept_whole), spans)
    if answer is None:
        return steps
    return tuple(replace(s, is_answer=s.is_answer and not s.start <= answer.start < s.end) for s in steps)


def splice(text: str, step: Step, new_step_text: str) -> str:
    """``text`` with exactly one step replaced, by offsets: an equal text elsewhere is never touched."""
    return text[: step.start] + new_step_text + text[step.end :]


def separator(step_text: str) -> str:
    """The white space that ends a step's text."""
    return step_text[len(step_text.rstrip()) :]


def offered_span(text: str, step: Step, sentences: int) -> tuple[int, int]:
    """Offsets of what a long step offers for editing: its last ``sentences`` sentences (scripts: four)."""
    body = text[step.body_start : step.end]
    starts = [0, *_sentence_starts(body, Blocks(find_blocks(body)))]
    return step.body_start + starts[max(0, len(starts) - sentences)], step.end


def _prose_cuts(text: str, kept_whole: Sequence[tuple[int, int]]) -> list[Cut]:
    blocks = Blocks([*kept_whole, *find_blocks(text)])
    lines = [line for line in _lines(text) if not blocks.holds(line.visible)]
    for cuts in (_labelled(text, lines), _numbered(text, lines)):
        if cuts:
            return [*cuts, *_behind(text, lines, cuts)]
    paragraphs = _joined(lines, paragraphs=True)
    if len(paragraphs) > 1:
        return [(line.visible, _body(lines, at)) for at, line in paragraphs]
    joined = _joined(lines, paragraphs=False)
    first = len(text) - len(text.lstrip())
    sentences = [first, *_sentence_starts(text, blocks)]
    # Where lines go on with a sentence, they are as wide as a page, and sentences are the finer cut.
    wrapped = any(_continues(before, line) for before, line in pairwise(lines))
    if len(joined) > (len(sentences) if wrapped else 1):
        return [
            (line.start, line.start if _body(lines, at) == line.visible else _body(lines, at)) for at, line in joined
        ]
    return [(at, at) for at in sentences]


def _lines(text: str) -> list[_Line]:
    found: list[_Line] = []
    end = 0
    for match in _VISIBLE_LINE.finditer(text):
        after_blank = not found or text.count("\n", end, match.start()) > 1
        found.append(_Line(match.start(), match.start(1), match[1].rstrip(), after_blank))
        end = match.end()
    return found


def _labelled(text: str, lines: Sequence[_Line]) -> list[Cut]:
    labels = [step_label(text, line.visible) for line in lines]
    return [
        (line.start, _behind_label(lines, at, label, is_label=at + 1 < len(lines) and labels[at + 1] is not None))
        for at, (line, label) in enumerate(zip(lines, labels, strict=True))
        if label is not None
    ]


def _numbered(text: str, lines: Sequence[_Line]) -> list[Cut]:
    """Labels of a list counted from 1 without gaps; "3. and 4." in running text is no list.

    Items of one list are written alike and indented alike, so that a list within an item is not taken for it.
    """
    lists: dict[tuple[str, int], list[Cut]] = {}
    for at, line in enumerate(lines):
        item = list_item(text, line.visible)
        if item is None:
            continue
        found = lists.setdefault((item.style, line.indent // 2), [])
        if item.number == len(found) + 1 or (found and not item.number):
            found.append((line.start, _behind_label(lines, at, item.end, is_label=False)))
    whole = [found for found in lists.values() if len(found) > 1]
    return min(whole, default=[])


def _behind_label(lines: Sequence[_Line], at: int, label_end: int, *, is_label: bool) -> int:
    """Where the body behind a label starts: on the next line, where the label stands alone on its own."""
    line = lines[at]
    alone = label_end >= line.visible + len(line.text)
    return lines[at + 1].visible if alone and at + 1 < len(lines) and not is_label else label_end


def _behind(text: str, lines: Sequence[_Line], cuts: Sequence[Cut]) -> list[Cut]:
    """The cut before what follows the last labelled step: a title, an answer, or text beyond the other steps' shape.

    Where each other step is one line, so is the last; where each is one paragraph, likewise.
    """
    start, body = cuts[-1]
    bodies = [text[one[1] : other[0]].strip() for one, other in pairwise(cuts)]
    one_line = bool(bodies) and not any("\n" in each for each in bodies)
    one_paragraph = bool(bodies) and not any(_BLANK.search(each) for each in bodies)
    labels = {cut[0] for cut in cuts}
    titled = any(cuts[0][0] < line.start < start and line.start not in labels and _is_title(line) for line in lines)
    indent = next(line.indent for line in lines if line.start == start)
    for at, line in enumerate(lines):
        if line.start <= start or line.visible <= body or _is_title(lines[at - 1]):
            continue
        beyond = one_line or (one_paragraph and line.after_blank)
        goes_on = line.indent > indent or bool(_INNER.match(line.text)) or _continues(lines[at - 1], line)
        own = _is_title(line) and not titled
        if own or _is_rule(line) or _ANSWER.match(line.text.lstrip("*$ ")) or (beyond and not goes_on):
            return [(line.start, _body(lines, at))]
    return []


def _joined(lines: Sequence[_Line], *, paragraphs: bool) -> list[tuple[int, _Line]]:
    """The paragraphs or lines that start a step, with their index.

    A title goes with what follows it, a row of a table and a nested bullet with what precedes it, and so does a line
    that goes on with the sentence of the line before.
    """
    indents = [line.indent for line in lines if _BULLET.match(line.text)]
    # Bullets nest where several stand at the outermost level; else their levels are steps.
    outer = min(indents) if indents and indents.count(min(indents)) > 1 else None
    found: list[tuple[int, _Line]] = []
    for at, line in enumerate(lines):
        if paragraphs and not line.after_blank:
            continue
        before = lines[at - 1] if at else None
        nested = outer is not None and line.indent > outer and bool(_BULLET.match(line.text))
        if before is None or not (
            nested
            or _is_title(before)
            or (line.text.startswith("|") and before.text.startswith("|"))
            or (not paragraphs and _continues(before, line))
        ):
            found.append((at, line))
    return found


def _body(lines: Sequence[_Line], at: int) -> int:
    """Where the body of a step that starts at line ``at`` starts: behind its titles, where something follows them."""
    last = next((i for i in range(at, len(lines)) if not _is_title(lines[i])), None)
    return lines[at if last is None else last].visible


def _is_title(line: _Line) -> bool:
    return is_heading(line.text)


def _is_rule(line: _Line) -> bool:
    return line.text.startswith("---") and not line.text.strip("-")


def _continues(before: _Line, line: _Line) -> bool:
    """Whether a line goes on with the sentence of the one before it."""
    if _BULLET.match(line.text) or line.text.startswith("```"):
        return False
    tail = before.text[-16:]
    return bool(_OPEN_END.search(tail)) or bool(_LOWER.match(line.text) and not _SENTENCE_END.search(tail))


def _sentence_starts(text: str, blocks: Blocks) -> list[int]:
    # A match's end is where the next sentence starts; what stands before its own start may be "e.g." or "Mr.".
    return [
        match.end()
        for match in _SENTENCE.finditer(text)
        if not blocks.holds(match.end()) and not _ABBREVIATION.search(text[max(0, match.start() - 12) : match.start()])
    ]


def _steps(text: str, cuts: Sequence[Cut], thoughts: Sequence[tuple[int, int]]) -> tuple[Step, ...]:
    """Steps from cuts and the spans of thoughts, which are blank in ``text``."""
    # Each step ends where the next begins, so nothing between two labels is lost and offsets add up to the text.
    starts = _with_thoughts(text, cuts, thoughts) if thoughts else [(start, body, False) for start, body in cuts]
    ends = [start for start, _, _ in starts[1:]] + [len(text)]
    return tuple(
        Step(index, start, end, min(body, end), not thought and _is_answer(text[body:end]), thought)
        for index, ((start, body, thought), end) in enumerate(zip(starts, ends, strict=True))
    )


def _with_thoughts(text: str, cuts: Sequence[Cut], thoughts: Sequence[tuple[int, int]]) -> list[tuple[int, int, bool]]:
    """The cuts, and one where each thought starts and one where the text goes on behind it."""
    thought_starts = [start for start, _ in thoughts]
    found: list[tuple[int, int, bool]] = []
    for start, body in cuts:
        visible = _next_visible(text, start)
        before = bisect_left(thought_starts, visible) - 1
        # A line may open with a thought: what is said on it starts behind that.
        start = max(start, thoughts[before][1]) if before >= 0 else start
        found.append((start, max(start, body), False))
    first = found[0][0]
    borders = sorted([*(start for start, _, _ in found), *thought_starts, len(text)])
    for start, end in thoughts:
        if start < first:
            continue
        found.append((start, start, True))
        following = borders[bisect_left(borders, end)]
        visible = _next_visible(text, end)
        if visible < following:
            found.append((visible, visible, False))
    return sorted(found)


def _next_visible(text: str, at: int) -> int:
    match = _VISIBLE.search(text, at)
    return match.start() if match else len(text)


def _is_answer(body: str) -> bool:
    """Whether a step only states the answer: it says so, and holds no calculation outside the box."""
    return bool(_ANSWER.match(body.strip().lstrip("*$ "))) and not _CALCULATION.search(_BOX.sub("", body))


def _last_fence(text: str) -> tuple[int, int] | None:
    """The block that the verifier judges: an output shown behind it is not code. One fence opens, the next closes."""
    found: tuple[int, int] | None = None
    opened: re.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        if opened is None:
            opened = fence
            continue
        if opened["language"].lower() in _PYTHON:
            found = opened.end() + 1, fence.start()
        opened = None
    return found if found and text[slice(*found)].strip() else None


def _code_steps(text: str, start: int, stop: int) -> tuple[Step, ...]:
    cuts = [(start + line.start, start + line.visible) for line in _lines(text[start:stop])]
    # The fence that closes the block starts the last step: the lines before it are exactly what the verifier runs.
    *lines, tail = _steps(text, [*cuts, (stop, stop)], ())
    # "answer: int = 0" is a line like any other.
    return (*(replace(line, is_answer=False) for line in lines), replace(tail, is_answer=True))
