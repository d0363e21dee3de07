"""The registry of error kinds: per domain, what each asks for, when it applies, and its rule-made twin."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from errata.kinds.instructions import INSTRUCTIONS
from errata.kinds.site import Site
from errata.rules.code import APPLIES, code_edits
from errata.rules.logic import logic_edits
from errata.rules.math import false_edits
from errata.rules.words import misreadings
from errata.types import Domain

Twin = Callable[[Site, int, random.Random | None], list[str]]
_NUMBER = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class Kind:
    """One error kind of one domain.

    ``applies(body)`` is the paper's rule. ``twin(site, most, rng)`` lists up to ``most`` edits made by rule, drawn with
    ``rng``, else in a fixed order; the kind's stricter rule (ours) is that one exists. Twins of mathematics and logic
    are false, each checked by what will prove it; twins of code are other programs, and the tests decide; those of
    ``misreading`` turn a word round, which only continuations can show to matter.
    ``provable``: whether the step itself or the domain's verifier can show the kind's edits wrong; edits of other kinds
    need continuations.
    """

    name: str
    instruction: str
    applies: Callable[[str], bool]
    twin: Twin
    provable: bool = True


def _has_number(body: str) -> bool:
    return bool(_NUMBER.search(body))


def _has_equation(body: str) -> bool:
    return "=" in body


def _words_only(body: str) -> bool:
    return not _has_number(body) and not _has_equation(body)


def _has_json(body: str) -> bool:
    return "{" in body or "[" in body


def _math(name: str, applies: Callable[[str], bool]) -> Kind:
    def twin(site: Site, most: int, rng: random.Random | None) -> list[str]:
        return false_edits(site.text, name, site.problem.question, most, rng)

    return Kind(name, INSTRUCTIONS[Domain.MATH][name], applies, twin)


def _misreading() -> Kind:
    def twin(site: Site, most: int, rng: random.Random | None) -> list[str]:
        body_start = site.step.body_start - site.step.start
        return misreadings(site.text, body_start, most, rng) if _words_only(site.body) else []

    return Kind("misreading", INSTRUCTIONS[Domain.MATH]["misreading"], _words_only, twin, provable=False)


def _logic(name: str) -> Kind:
    def twin(site: Site, most: int, rng: random.Random | None) -> list[str]:
        return logic_edits(site, name, most, rng)

    return Kind(name, INSTRUCTIONS[Domain.LOGIC][name], _has_json, twin)


def _code(name: str) -> Kind:
    def applies(body: str) -> bool:
        return bool(APPLIES[name].search(body))

    def twin(site: Site, most: int, rng: random.Random | None) -> list[str]:
        return code_edits(site, name, most, rng)

    return Kind(name, INSTRUCTIONS[Domain.CODE][name], applies, twin)


_MATH = {
    kind.name: kind
    for kind in (
        _math("calculation", _has_number),
        _math("substitution", _has_equation),
        _math("omission", _has_equation),
        _math("operator", _has_equation),
        _math("order", _has_equation),
        _misreading(),
    )
}
KINDS: dict[Domain, dict[str, Kind]] = {
    Domain.MATH: _MATH,
    Domain.CHOICE: _MATH,
    Domain.LOGIC: {name: _logic(name) for name in INSTRUCTIONS[Domain.LOGIC]},
    Domain.CODE: {name: _code(name) for name in INSTRUCTIONS[Domain.CODE]},
}


def kinds_of(domain: Domain) -> dict[str, Kind]:
    """The kinds of a domain by name."""
    return KINDS[domain]
