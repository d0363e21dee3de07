"""Replies that repeat the prompt where an edit was asked for (docs/method.md step 7).

Nothing here lists phrases: a reply is compared with what its own prompt said beyond question and solution, so templates
and languages of the operator's own are covered. What question, solution or step say too is no echo.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rapidfuzz import fuzz

from errata.arithmetic import find_equations, strip_marks
from errata.types import Prompt, Reason

_TOKEN = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+|[^\w\s]")
_MARKER = re.compile(r"\[\d{1,3}\]")
_WORD = re.compile(r"[^\W\d_]{4,}")
_INSTRUCTION_RUN, _EXAMPLE_RUN = 4, 5  # tokens in a row that chance does not bring together
_STEM = 5
_TOLD = 2  # words of the instruction that no edit brings in together
_ALIKE = 70.0  # percent: what follows a colon is the unit again


def echo(reply: str, prompt: Prompt, question: str, solution: str, original: str) -> Reason | None:
    """Why an edited unit (or step) is none; None where it may be one. ``original``: the unit as it stands.

    ``echoes_marker``: it holds the number of a step as the prompt marks it. ``echoes_example``,
    ``echoes_instruction``: it repeats a run of words of an example or of the instruction. ``announces_edit``: text
    leads to the unit that is no part of it, or tells what was asked for.
    """
    known = f"{question}\n{solution}\n{strip_marks(solution)}"
    if any(found[0] not in known for found in _MARKER.finditer(reply)):
        return Reason.ECHOES_MARKER
    last = len(prompt.messages) - 1
    asked = [m.content for at, m in enumerate(prompt.messages) if at == last or m.role == "system"]
    shown = [m.content for at, m in enumerate(prompt.messages) if at != last and m.role != "system"]
    runs = set(_runs([reply], _INSTRUCTION_RUN)) - set(_runs([known, original], _INSTRUCTION_RUN))
    if runs and runs & set(_runs(asked, _INSTRUCTION_RUN)):
        return Reason.ECHOES_INSTRUCTION
    longer = set(_runs([reply], _EXAMPLE_RUN)) - set(_runs([known, original], _EXAMPLE_RUN))
    if longer and longer & set(_runs(shown, _EXAMPLE_RUN)):
        return Reason.ECHOES_EXAMPLE
    return Reason.ANNOUNCES if _leads(reply, original) or _tells(reply, asked, known) else None


def _runs(texts: Sequence[str], length: int) -> Iterator[tuple[str, ...]]:
    for text in texts:
        tokens = [token.lower() for token in _TOKEN.findall(text)]
        yield from zip(*(tokens[at:] for at in range(length)), strict=False)


def _leads(reply: str, original: str) -> bool:
    """Whether the unit comes again behind words that are none of it."""
    head, colon, rest = reply.partition(":")
    if colon and head not in original and rest.strip() and fuzz.ratio(rest.strip(), original) > _ALIKE:
        return True
    own, found = find_equations(original), find_equations(reply)
    if len(own) != 1 or len(found) != 1 or own[0].start > 0 or not found[0].start:
        return False
    return bool(_WORD.search(reply[: found[0].start]))


def _tells(reply: str, asked: Sequence[str], known: str) -> bool:
    """Whether it brings in several words of the instruction, as "the rewritten part with the error" does."""
    said = {stem for text in asked for stem in _stems(text)} - _stems(known)
    return len(_stems(reply) & said) >= _TOLD


def _stems(text: str) -> set[str]:
    return {word[:_STEM].lower() for word in _WORD.findall(text)}
