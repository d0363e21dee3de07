"""The registry of error kinds: per domain, what each asks for, when it applies, and its rule-made twin."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from errata.kinds.instructions import INSTRUCTIONS
from errata.rules.math import false_edits
from errata.types import Domain

_NUMBER = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class Kind:
    """One error kind of one domain.

    ``applies(body)`` is the paper's rule. ``twin(step, question, most)`` lists false edits made by rule; the kind's
    stricter rule (ours) is that this list is not empty. ``provable``: whether a contradiction in the step can show its edits;
    edits of other kinds need continuations or a verifier.
    """

    name: str
    instruction: str
    applies: Callable[[str], bool]
    twin: Callable[[str, str, int], list[str]]
    provable: bool = True


def _has_number(body: str) -> bool:
    return bool(_NUMBER.search(body))


def _has_equation(body: str) -> bool:
    return "=" in body


def _words_only(body: str) -> bool:
    return not _has_number(body) and not _has_equation(body)


def _math(name: str, applies: Callable[[str], bool]) -> Kind:
    def twin(step: str, question: str, most: int) -> list[str]:
        return false_edits(step, name, question, most)

    return Kind(name, INSTRUCTIONS[Domain.MATH][name], applies, twin, provable=name != "misreading")


_MATH = {
    kind.name: kind
    for kind in (
        _math("calculation", _has_number),
        _math("substitution", _has_equation),
        _math("omission", _has_equation),
        _math("operator", _has_equation),
        _math("order", _has_equation),
        _math("misreading", _words_only),
    )
}
KINDS: dict[Domain, dict[str, Kind]] = {Domain.MATH: _MATH, Domain.CHOICE: _MATH}


def kinds_of(domain: Domain) -> dict[str, Kind]:
    """The kinds of a domain by name; empty where it has none yet."""
    return KINDS.get(domain, {})
