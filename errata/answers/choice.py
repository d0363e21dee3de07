"""Verifier ``choice``: a letter, with or without the text of the choice, against ``Problem.meta["choices"]``.

``choices`` is a mapping of letters to texts or a list of texts (A, B, C ... in order); without it only letters compare.
"""

from __future__ import annotations

import re
from string import ascii_uppercase

from errata.answers.criteria import read_criteria
from errata.answers.extraction import READING, ReadingOptions, read_answer
from errata.answers.judgement import MAX_ANSWER, Judgement, UnreadableReason, too_complex, unparsable, unreadable
from errata.answers.math import same_answer
from errata.answers.notation import clean
from errata.types import Domain, Problem, Verdict

NAME = "choice"
VERSION = "2"

_LETTER = re.compile(
    r"(?:option|choice|answer)?\s*(?:\\(?:text|mathrm|textbf|mathbf)\s*\{)?\s*\(?\[?(?P<letter>[A-Za-z])(?![A-Za-z'’])"
    r"\s*\]?\)?\s*\}?\s*[.):\-]?\s*(?P<rest>.*)",
    re.DOTALL | re.IGNORECASE,
)


def verify(problem: Problem, text: str, options: ReadingOptions = READING) -> Judgement:
    """Compare the choice named in ``text`` with gold. A letter whose text is another choice's is unparsable."""
    verifier = f"{NAME}/{VERSION}"
    try:
        rules = read_criteria(problem.meta)
    except ValueError as error:
        return unparsable(verifier, None, str(error), UnreadableReason.BAD_PROBLEM)
    choices = _choices(problem)
    found = read_answer(text, Domain.CHOICE, options, rules.pattern)
    if found.answer is None:
        return unreadable(verifier, found.why)
    shown = found.answer[:MAX_ANSWER]
    golds = {read_choice(clean(gold) or "", choices) for gold in (problem.gold_answer, *rules.golds)} - {None}
    if not golds:
        return unparsable(verifier, shown, "the gold answer names no choice", UnreadableReason.BAD_PROBLEM)
    letter = read_choice(shown, choices)
    if letter is None:
        return unparsable(verifier, shown, "names no choice, or two different ones")
    return Judgement(Verdict.CORRECT if letter in golds else Verdict.INCORRECT, shown, verifier)


def _choices(problem: Problem) -> dict[str, str]:
    given = problem.meta.get("choices") or {}
    if isinstance(given, dict):
        return {str(letter).strip().upper(): str(text) for letter, text in given.items()}
    texts = [str(text) for text in given][: len(ascii_uppercase)]
    return {letter: _without_letter(text, letter) for letter, text in zip(ascii_uppercase, texts, strict=False)}


def _without_letter(text: str, letter: str) -> str:
    """AQuA writes its options as "A)21"."""
    return re.sub(rf"^\s*\(?{letter}\)\s*", "", text)


def read_choice(answer: str, choices: dict[str, str]) -> str | None:
    """The letter that ``answer`` means: by letter, or by the text of exactly one choice; None where it is unclear."""
    by_text = [letter for letter, text in choices.items() if _same_text(text, answer)]
    if len(by_text) == 1:
        return by_text[0]
    match = _LETTER.fullmatch(answer.strip())
    if match is None:
        return None
    letter, rest = match["letter"].upper(), match["rest"].strip(" .}*")
    if choices and letter not in choices:
        return None
    if match["letter"].islower() and rest and not answer.strip().startswith(("(", "[")):
        return None  # "a man": an article, not a choice
    if not rest:
        return letter
    named = [other for other, text in choices.items() if _same_text(text, rest)]
    if letter in named:
        return letter
    return None if named or not choices or _LETTER_LIST.match(rest) else letter


_LETTER_LIST = re.compile(r"(?:,|and\b|or\b|&|/)\s*\(?[A-Za-z]\)?(?![A-Za-z])", re.IGNORECASE)


def _same_text(choice: str, answer: str) -> bool:
    left, right = _normal(choice), _normal(answer)
    if left == right:
        return bool(left)
    return any(char.isdigit() for char in left) and not too_complex(right) and same_answer(left, right) is True


def _normal(text: str) -> str:
    cleaned = clean(re.sub(r"\\(?:text|mathrm)\s*\{([^{}]*)\}", r"\1", text)) or ""
    return " ".join(cleaned.split()).casefold()
