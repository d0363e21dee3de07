"""What a model thinks before it answers: text between markers such as ``<think>`` and ``</think>``.

Verdicts, selection and steps leave thoughts out alike. The markers are a setting of the job (``thoughts`` in
errata.config); a thought whose closing marker is missing goes to the text's end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

Markers = Sequence[tuple[str, str]]
THOUGHTS: tuple[tuple[str, str], ...] = (("<think>", "</think>"), ("<thinking>", "</thinking>"))

_NOT_NEWLINE = re.compile(r"[^\n]")


def thought_spans(text: str, markers: Markers = THOUGHTS) -> list[tuple[int, int]]:
    """Offsets of the thoughts in ``text``, markers included, in order and apart.

    A closing marker with no opening one before it ends a thought that the prompt opened, which starts at 0.
    """
    found: list[tuple[int, int]] = []
    for opening, closing in markers:
        end, start = text.find(closing), text.find(opening)
        at = 0
        if end >= 0 and (start < 0 or end < start):
            at = end + len(closing)
            found.append((0, at))
        # Every search starts behind the last find, so the text is read once per pair of markers.
        while (start := text.find(opening, at)) >= 0:
            end = text.find(closing, start + len(opening))
            at = len(text) if end < 0 else end + len(closing)
            found.append((start, at))
    return joined(found)


def joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans in order, those that overlap made one."""
    apart: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if apart and start < apart[-1][1]:
            apart[-1] = apart[-1][0], max(end, apart[-1][1])
        else:
            apart.append((start, end))
    return apart


def without_thoughts(text: str, markers: Markers = THOUGHTS) -> str:
    """``text`` without its thoughts."""
    kept: list[str] = []
    at = 0
    for start, end in thought_spans(text, markers):
        kept.append(text[at:start])
        at = end
    return "".join([*kept, text[at:]])


def blanked(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """``text`` with spaces in place of ``spans``: as long as before, with the same lines, so that offsets hold."""
    pieces: list[str] = []
    at = 0
    for start, end in spans:
        pieces += [text[at:start], _NOT_NEWLINE.sub(" ", text[start:end])]
        at = end
    return "".join([*pieces, text[at:]])


def after_thoughts(text: str, markers: Markers = THOUGHTS) -> str:
    """``text`` without its thoughts and without the white space that parted them from it; as it is without thoughts."""
    kept = without_thoughts(text, markers)
    return text if kept == text else kept.strip()


def open_thought(text: str, markers: Markers = THOUGHTS) -> str | None:
    """The marker that would close a text's last thought; None where it is closed already.

    A text without any marker is a thought that the prompt opened: the first pair's marker closes it.
    """
    last = max(((text.rfind(opening), closing) for opening, closing in markers), default=(-1, ""))
    if last[0] >= 0:
        return last[1] if text.find(last[1], last[0]) < 0 else None
    return markers[0][1] if markers and not any(closing in text for _, closing in markers) else None
