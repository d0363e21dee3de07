"""Read the final answer from a solution: the last ``\\boxed{}``, else the last line that states the answer.

Nothing is guessed: a text that states no answer has none, whatever numbers stand in it.
"""

from __future__ import annotations

import re

from errata.answers.boxes import last_box
from errata.types import Domain

MAX_TEXT = 200_000

_STATED = re.compile(
    r"^[ \t>*_#]*(?:A|Answer|Final[ \t]+answer)[ \t*_]*[:=][ \t*_]*(?P<line>[^\n]*)"
    r"|^[ \t]*####[ \t]*(?P<hash>[^\n]*)"
    r"|\b(?:the|my|our|final)[ \t]+(?:(?:final|correct|right)[ \t]+)?answer(?:[ \t]+(?:here|then))?[ \t*_]*"
    r"(?:is|are|will[ \t]+be|:|=)[ \t*_:]*(?P<said>[^\n]*)",
    re.IGNORECASE | re.MULTILINE,
)
_FENCE = re.compile(r"^[ \t]*```[ \t]*(?P<language>[\w+-]*)[^\n]*\n(?P<body>.*?)^[ \t]*```", re.MULTILINE | re.DOTALL)
_SENTENCE_END = re.compile(r"[.!?](?=\s+[A-Z]|\s*$)")
_CHOICE = re.compile(
    r"\b(?:answer|option|choice)(?:[ \t]+(?:is|would[ \t]+be))?[ \t:*_]*(?:option[ \t]+)?"
    r"(?P<said>\(?[A-Z]\)?(?![A-Za-z])[^\n]*)"
    r"|^[ \t*_]*(?:A|####)[ \t]*:?[ \t]*(?P<line>\(?[A-Z]\)?[ \t*_.]*)$",
    re.MULTILINE,
)


def extract_answer(text: str, domain: Domain = Domain.MATH) -> str | None:
    """The final answer stated in ``text``, trimmed but otherwise as written; None where none is stated.

    ``math``: last box, else last "A: ...", "#### ..." or "the answer is ...". ``choice``: the same, and "option (C)".
    ``logic``: last box, else the last fenced block or JSON value. ``code``: the last fenced block.
    """
    text = text[-MAX_TEXT:]
    match domain:
        case Domain.CODE:
            return _last_fence(text, ("python", "py", "python3", ""))
        case Domain.LOGIC:
            return _last_box(text) or _last_fence(text, ("json", "")) or _last_json(text) or _stated(text)
        case Domain.CHOICE:
            return _last_box(text) or _stated_choice(text) or _stated(text)
        case _:
            return _last_box(text) or _stated(text)


def _last_box(text: str) -> str | None:
    box = last_box(text)
    return clean(box) if box else None


def _stated(text: str) -> str | None:
    found = None
    for match in _STATED.finditer(text):
        piece = next(group for group in match.groups() if group is not None)
        if match["said"] is not None:
            piece = _first_sentence(piece)
        cleaned = clean(piece)
        if cleaned:
            found = cleaned
    return found


def _first_sentence(text: str) -> str:
    end = _SENTENCE_END.search(text)
    return text[: end.start()] if end else text


def _stated_choice(text: str) -> str | None:
    found = None
    for match in _CHOICE.finditer(text):
        piece = match["said"] if match["said"] is not None else match["line"]
        found = clean(_first_sentence(piece)) or found
    return found


def _last_fence(text: str, languages: tuple[str, ...]) -> str | None:
    bodies = [m["body"] for m in _FENCE.finditer(text) if m["language"].lower() in languages]
    return bodies[-1].strip("\n") if bodies else None


def _last_json(text: str) -> str | None:
    """The last balanced ``{...}`` or ``[...]`` that ends the text's last JSON-looking span."""
    end = max(text.rfind("}"), text.rfind("]"))
    if end < 0:
        return None
    closing, opening = text[end], "{" if text[end] == "}" else "["
    depth = 0
    for at in range(end, -1, -1):
        if text[at] == closing:
            depth += 1
        elif text[at] == opening:
            depth -= 1
            if depth == 0:
                return text[at : end + 1]
    return None


def clean(answer: str) -> str | None:
    """``answer`` without surrounding space, mathematics delimiters, emphasis and a closing period; None if empty."""
    answer = re.sub(r"<<[^<>\n]*>>", "", answer).strip()
    while True:
        before = answer
        answer = answer.strip().removesuffix(".") if not answer.endswith("..") else answer.strip()
        for left, right in (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"), ("**", "**"), ("`", "`")):
            if len(answer) > len(left) + len(right) and answer.startswith(left) and answer.endswith(right):
                inner = answer[len(left) : -len(right)]
                answer = inner if left not in inner else answer
        answer = answer.strip().rstrip("*_") if not answer.endswith("\\_") else answer
        if answer == before:
            return answer or None
