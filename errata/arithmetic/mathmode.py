"""Where mathematics stands in a text, and full-width signs read as plain ones; offsets stay those of the text.

Inside ``$...$``, ``\\[...\\]``, ``\\(...\\)`` and aligned environments a letter is a variable, a space means nothing
and "!" is a factorial. A dollar sign may also be money: "$5 + $3 = $8" holds no mathematics mode.
"""

from __future__ import annotations

import re

# One character for one, so that offsets hold. Chinese commas and stops part clauses as ";" does and never join digits.
_FOLDED = str.maketrans(
    "＝＋－＊／（）％．０１２３４５６７８９［］｛｝，。；、！？＜＞＄﹣﹢",
    "=+-*/()%.0123456789[]{};;;;;;<>$-+",
)
_WIDE = re.compile("[\u3001\u3002\ufe62\ufe63\uff01-\uff5d]")
_ALIGNED = r"(?:align|aligned|alignat|eqnarray|equation|flalign|gather|gathered|multline|split)\*?"
_DELIMITER = re.compile(
    rf"\\\\|\\[\[\]()$]|\$\$|\$|\\(?P<end>begin|end)\{{(?P<name>{_ALIGNED})\}}|(?P<blank>\n[ \t]*\n)"
)
_MONEY_AHEAD = re.compile(r"(?:<<[^<>\n]{0,200}>>)?[.]?\d")
_SPACED_MONEY_AHEAD = re.compile(r"[ \t]+\d")
_PROSE_WORD = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{3,}")
_CLOSING = {"$$": "$$", "\\[": "\\]", "\\(": "\\)"}


def fold(text: str) -> str:
    """``text`` with full-width digits, signs and stops replaced one by one by plain ones."""
    return text.translate(_FOLDED) if _WIDE.search(text) else text


def math_spans(text: str) -> list[tuple[int, int]]:
    """Spans of mathematics with their delimiters, sorted and disjoint. Linear in the length of the text.

    What is opened and not closed ends at the next blank line or with the text; a lone ``$`` opens nothing.
    """
    if "$" not in text and "\\" not in text:
        return []
    found = list(_DELIMITER.finditer(text))
    spans: list[tuple[int, int]] = []
    at = 0
    while at < len(found):
        opening = found[at][0]
        last = _closing(text, found, at) if _opens(opening) else None
        if last is None:
            at += 1
            continue
        end = len(text)
        if last < len(found):
            end = found[last].start() if found[last]["blank"] else found[last].end()
        spans.append((found[at].start(), end))
        at = last + 1
    return spans


def _opens(delimiter: str) -> bool:
    return delimiter == "$" or delimiter in _CLOSING or delimiter.startswith("\\begin")


def _closing(text: str, found: list[re.Match[str]], at: int) -> int | None:
    """The index of the delimiter that closes the one at ``at``; None where this one opens nothing."""
    opening = found[at]
    if opening[0] == "$":
        return _closing_dollar(text, found, at)
    wanted = _CLOSING.get(opening[0]) or f"\\end{{{opening['name']}}}"
    for later in range(at + 1, len(found)):
        if found[later][0] == wanted or found[later]["blank"]:
            return later
    return len(found)


def _closing_dollar(text: str, found: list[re.Match[str]], at: int) -> int | None:
    following = next((later for later in range(at + 1, len(found)) if not _inner(found[later])), None)
    if following is None or found[following][0] != "$":
        return None
    start, end = found[at].end(), found[following].end()
    content = text[start : end - 1]
    # A dollar sign in front of a number is money, so it closes nothing.
    if not content.strip() or _MONEY_AHEAD.match(text, end):
        return None
    if content[0].isspace() and text[max(0, start - 2) : start - 1].isdigit():
        return None  # "45$ - 5$"
    prose = content.lstrip()[0].isdigit() and "\\" not in content and _PROSE_WORD.search(content) is not None
    if prose or (content[-1:].isspace() and _SPACED_MONEY_AHEAD.match(text, end)):
        return None
    return following


def _inner(delimiter: re.Match[str]) -> bool:
    """Whether a delimiter may stand between two dollar signs that belong together."""
    return delimiter[0] in ("\\\\", "\\$") or delimiter["end"] is not None
