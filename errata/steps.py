"""Steps of a solution, as character offsets into its text (docs/method.md step 5).

The released scripts split on ``\\nStep k:`` alone. Here the first of these that the text has decides: "Step k:"
labels, a numbered list, paragraphs, lines, sentences. No cut falls inside display mathematics, a code fence or a
calculator mark.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from errata.json_cells import find_json
from errata.types import Domain, Step

_STEP_LABEL = re.compile(r"^[ \t]*(?:#{1,6}[ \t]*|\*\*[ \t]*)?Step[ \t]+\d+[ \t]*[:.)](?:\*\*)?[ \t]*", re.M | re.I)
_LIST_LABEL = re.compile(r"^[ \t]*(?:\*\*)?(\d{1,3})[.)](?:\*\*)?[ \t]+", re.M)
_LINE = re.compile(r"^(?=[^\n]*\S)", re.M)
_PARAGRAPH = re.compile(r"(?:\A|\n[ \t]*\n)\s*(?=\S)")
_SENTENCE = re.compile(r"(?<=[.!?])[\"')\]]?[ \t]+(?=[\"'(\[$\\A-Z0-9])")
_ABBREVIATION = re.compile(r"(?:\b(?:[A-Z]|e\.g|i\.e|Mr|Mrs|Ms|Dr|St|vs|etc|approx|No|Fig|Eq))\.$")
_PROTECTED = re.compile(
    r"```.*?(?:```|\Z)|\$\$.*?\$\$|\\\[.*?\\\]|<<[^<>\n]*>>|\\begin\{(\w+\*?)\}.*?\\end\{\1\}", re.S
)
_FENCED = re.compile(r"^[ \t]*```[ \t]*(?P<language>[\w+-]*)[^\n]*\n(?P<body>.*?)^[ \t]*```", re.S | re.M)
_PYTHON = ("python", "py", "python3", "")  # the fences the verifier of code reads (errata.answers)
_ANSWER = re.compile(
    r"(?:A|Answer|Final answer)[ \t]*:|####|\\boxed\{"
    r"|(?:(?:So|Thus|Hence|Therefore|Finally)[, ]+)?(?:the|our|my)[ \t]+(?:final[ \t]+)?answer[ \t]+(?:is|will be|:)",
    re.I,
)
_CALCULATION = re.compile(r"[\d)}%][ \t]*(?:[-+*/×÷=^]|\\times|\\div|\\cdot|x(?=[ \t]*[\d(]))|\\frac")
_BOX = re.compile(r"\\boxed\{[^{}]*\}")


def split_steps(text: str, domain: Domain = Domain.MATH) -> tuple[Step, ...]:
    """The steps of ``text``; preamble and steps joined give the text back. Empty for a text without visible characters.

    For ``code`` the steps are the lines of the last fenced block; the fence that ends it, and what follows, is a last
    step that is never offered. For ``logic`` the JSON of the answer is never cut, and its step is no mere answer: its
    cells are what can be wrong.
    """
    if not text.strip():
        return ()
    if domain is Domain.CODE and (block := _last_fence(text)) is not None:
        return _code_steps(text, *block)
    answer = find_json(text) if domain is Domain.LOGIC else None
    if answer is None:
        return _prose_steps(text, [])
    steps = _prose_steps(text, [(answer.start, answer.end)])
    return tuple(replace(s, is_answer=s.is_answer and not s.start <= answer.start < s.end) for s in steps)


def _prose_steps(text: str, kept_whole: Sequence[tuple[int, int]]) -> tuple[Step, ...]:
    protected = [*kept_whole, *(match.span() for match in _PROTECTED.finditer(text))]
    for cuts in (_labels(text, protected), _numbered(text, protected)):
        if cuts:
            return _steps(text, cuts)
    for pattern in (_PARAGRAPH, _LINE):
        starts = [m.end() for m in pattern.finditer(text) if not _inside(m.end(), protected)]
        if len(starts) > 1:
            return _steps(text, [(start, start) for start in starts])
    starts = [_first_visible(text), *_sentence_starts(text, protected)]
    return _steps(text, [(start, start) for start in starts])


def splice(text: str, step: Step, new_step_text: str) -> str:
    """``text`` with exactly one step replaced, by offsets: an equal text elsewhere is never touched."""
    return text[: step.start] + new_step_text + text[step.end :]


def separator(step_text: str) -> str:
    """The white space that ends a step's text."""
    return step_text[len(step_text.rstrip()) :]


def offered_span(text: str, step: Step, sentences: int) -> tuple[int, int]:
    """Offsets of what a long step offers for editing: its last ``sentences`` sentences (scripts: four)."""
    body = text[step.body_start : step.end]
    protected = [match.span() for match in _PROTECTED.finditer(body)]
    starts = [0, *_sentence_starts(body, protected)]
    return step.body_start + starts[max(0, len(starts) - sentences)], step.end


def _inside(at: int, spans: Sequence[tuple[int, int]]) -> bool:
    # A cut at a span's own start is no cut inside it: a fence may open a step.
    return any(start < at < stop for start, stop in spans)


def _labels(text: str, protected: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    return [m.span() for m in _STEP_LABEL.finditer(text) if not _inside(m.start(), protected)]


def _numbered(text: str, protected: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Labels of a list counted from 1 without gaps; "3. and 4." in running text is no list."""
    found: list[tuple[int, int]] = []
    for match in _LIST_LABEL.finditer(text):
        if int(match[1]) == len(found) + 1 and not _inside(match.start(), protected):
            found.append(match.span())
    return found if len(found) > 1 else []


def _sentence_starts(text: str, protected: Sequence[tuple[int, int]]) -> Iterator[int]:
    for match in _SENTENCE.finditer(text):
        before = text[: match.start()]
        # The pattern's end is where the next sentence starts; what stands before its own start may be "e.g." or "Mr.".
        if not _inside(match.end(), protected) and not _ABBREVIATION.search(before[-12:]):
            yield match.end()


def _first_visible(text: str) -> int:
    return len(text) - len(text.lstrip())


def _steps(text: str, cuts: Sequence[tuple[int, int]]) -> tuple[Step, ...]:
    """Steps from (start, body start) pairs; a piece without visible characters joins the one before it."""
    # Each step ends where the next begins, so nothing between two labels is lost and offsets add up to the text.
    ends = [start for start, _ in cuts[1:]] + [len(text)]
    return tuple(
        Step(index, start, end, body, _is_answer(text[body:end]))
        for index, ((start, body), end) in enumerate(zip(cuts, ends, strict=True))
    )


def _is_answer(body: str) -> bool:
    """Whether a step only states the answer: it says so, and holds no calculation outside the box."""
    return bool(_ANSWER.match(body.strip().lstrip("*$ "))) and not _CALCULATION.search(_BOX.sub("", body))


def _last_fence(text: str) -> tuple[int, int] | None:
    """The block that the verifier judges: an output shown behind it is not code."""
    spans = [m.span("body") for m in _FENCED.finditer(text) if m["language"].lower() in _PYTHON]
    return spans[-1] if spans and text[slice(*spans[-1])].strip() else None


def _code_steps(text: str, start: int, stop: int) -> tuple[Step, ...]:
    starts = [start + m.start() for m in _LINE.finditer(text[start:stop])]
    bodies = [at + len(text[at:stop]) - len(text[at:stop].lstrip(" \t")) for at in starts]
    # The fence that closes the block starts the last step: the lines before it are exactly what the verifier runs.
    *lines, tail = _steps(text, [*zip(starts, bodies, strict=True), (stop, stop)])
    # "answer: int = 0" is a line like any other.
    return (*(replace(line, is_answer=False) for line in lines), replace(tail, is_answer=True))
