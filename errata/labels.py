"""How steps are labelled: "Step 3:", "## Step 3", "步骤3：", "2.", "(2)", "②", "Second,"; and what a heading is.

Patterns are matched where a line's first visible character stands. Their spaces are bounded, so none goes back far.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_OPENING = r"(?:>[ \t]{0,3})?(?:[-*+•][ \t]{1,3})?(?:#{1,6}[ \t]{0,3})?(?:\*\*|__|\*|\\textbf\{)?[ \t]{0,2}"
_CLOSING = r"(?:\*\*|__|\*|\})?"
_WORDS = "One|Two|Three|Four|Five|Six|Seven|Eight|Nine|Ten"
_HAN = "[一二三四五六七八九十]{1,3}"
_NAMES = (
    "Step|Étape|Etape|Schritt|Paso|Passo|Stap|Steg|Trin|Krok|Шаг|Крок|Bước|Adım|Langkah|Hakbang|ステップ|단계|步骤|步驟"
)
_STEP = re.compile(
    rf"{_OPENING}(?:"
    rf"(?:{_NAMES})[ \t]{{0,4}}(?:\d{{1,6}}|{_WORDS}|{_HAN})[ \t]{{0,3}}"
    rf"(?:{_CLOSING}[ \t]{{0,3}}(?:[:：)）、，]|\.(?!\d)){_CLOSING}|{_CLOSING}[ \t]{{0,3}}(?:[-–—][ \t]|(?=\n|\Z)))"
    rf"|第[ \t]?(?:\d{{1,3}}|{_HAN})[ \t]?步{_CLOSING}[：:，,、.]?{_CLOSING}"
    rf"|\d{{1,3}}[ \t]?단계[ \t]{{0,2}}[:：.]{_CLOSING}"
    r")[ \t]*",
    re.I,
)
_LIST = re.compile(
    r"(?:#{1,6}[ \t]{1,3})?(?:\*\*|__)?(?:"
    r"(?P<dot>\d{1,3})\.(?:\*\*|__)?[ \t]"
    r"|(?P<bracket>\d{1,3})\)(?:\*\*|__)?[ \t]"
    r"|(?P<brackets>\(\d{1,3}\))(?:\*\*|__)?[ \t]"
    r"|(?P<wide>（\d{1,3}）|\d{1,3}[．、）])(?!\d)"
    r"|(?P<circle>[①-⑳])[.、]?"
    r")[ \t]*"
)
_ORDINAL = re.compile(
    r"(?:\*\*)?(?:(?P<first>First(?:ly| of all)?|首先)|(?P<second>Second(?:ly)?|其次)|(?P<third>Third(?:ly)?|再次|第三)"
    r"|(?P<fourth>Fourth(?:ly)?|第四)|(?P<fifth>Fifth(?:ly)?|第五)|(?P<sixth>Sixth(?:ly)?|第六)"
    r"|(?P<last>Finally|Lastly|Last|最后))(?:\*\*)?[,，:：](?:\*\*)?[ \t]*"
)
_ORDER = ("first", "second", "third", "fourth", "fifth", "sixth")
_HEADING = re.compile(
    r"#{1,6}[ \t]{1,4}[^\n=]*|\*\*[^*\n=]{1,120}\*\*:?[ \t]*"
    r"|\\(?:sub){0,2}section\*?\{[^{}\n=]{0,120}\}[ \t]*|-{3,}[ \t]*"
)
_GOLD = re.compile(r"####[ \t]*[-−$\\£€\d]")
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Item:
    """A list label: its number, how it is written, and where it ends. ``number`` 0: the last, whichever that is."""

    number: int
    style: str
    end: int


def step_label(text: str, at: int) -> int | None:
    """Where the label of a step ends that starts at the visible character ``at``; None where none does."""
    match = _STEP.match(text, at)
    return match.end() if match else None


def list_item(text: str, at: int) -> Item | None:
    """The label of a list's item that starts at the visible character ``at``."""
    if match := _LIST.match(text, at):
        style = str(match.lastgroup)
        written = match[style]
        number = ord(written) - ord("①") + 1 if style == "circle" else int(_DIGITS.findall(written)[0])
        return Item(number, style, match.end())
    if match := _ORDINAL.match(text, at):
        name = str(match.lastgroup)
        return Item(0 if name == "last" else _ORDER.index(name) + 1, "ordinal", match.end())
    return None


def is_heading(line: str) -> bool:
    """Whether a line, from its first visible character, is a title, a rule or the like, and states nothing itself."""
    return bool(_HEADING.fullmatch(line)) and not _GOLD.match(line)
