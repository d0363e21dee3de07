"""Error kinds of the operator's own, as data: a JSON file that is checked when a process starts, and never code.

A kind says what an editing model is asked (``instruction``), to which steps it applies (``applies_when``, a regular
expression) and which evidence has to prove its edits (``check``). It is used by jobs that name it in ``editing.kinds``.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator

from errata.kinds.registry import OPERATORS_BODY, Kind, Site
from errata.patterns import slow_pattern
from errata.types import Domain, EvidenceKind

MAX_KINDS = 50
MAX_FILE = 200_000
#: What the bounds of an expression's repetitions may multiply to: for each place of a step that many steps of matching.
MAX_REPETITIONS = 16_000
_MATH = frozenset({Domain.MATH, Domain.CHOICE})


class CustomKind(BaseModel):
    """One entry of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,39}$")]
    domains: Annotated[list[Domain], Field(min_length=1)] = [Domain.MATH]
    instruction: Annotated[str, Field(min_length=10, max_length=500)]
    applies_when: Annotated[str, Field(min_length=1, max_length=200)] = "."
    check: Literal["contradiction", "identity", "replay", "divergence", "verifier"]

    @field_validator("instruction")
    @classmethod
    def _one_line(cls, value: str) -> str:
        if "\n" in value or "```" in value:
            raise ValueError("is one line without a code fence: it stands inside the prompt")
        return value

    @field_validator("applies_when")
    @classmethod
    def _harmless(cls, value: str) -> str:
        if fault := slow_pattern(value, longest=OPERATORS_BODY, most_steps=MAX_REPETITIONS):
            raise ValueError(fault)
        return value

    @model_validator(mode="after")
    def _provable(self) -> CustomKind:
        by_verifier = self.check == "verifier"
        wrong = [domain for domain in self.domains if (domain in _MATH) == by_verifier]
        if wrong:
            raise ValueError(f"check '{self.check}' proves nothing in domain '{wrong[0]}'")
        return self

    @property
    def version(self) -> str:
        """A hash of all the entry says."""
        told = json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(told.encode()).hexdigest()[:12]

    def kind(self) -> Kind:
        """The registry's entry."""
        pattern, check = re.compile(self.applies_when), EvidenceKind(self.check)
        return Kind(self.name, tuple(self.domains), self.instruction, pattern, _no_edits, check, version=self.version)


def _no_edits(_site: Site, _most: int, _rng: random.Random | None) -> list[str]:
    """A kind that is data has no rule of its own."""
    return []


def load_kinds(path: Path) -> list[CustomKind]:
    """The kinds of a file. Raises ValueError that says which entry is wrong, and how."""
    try:
        text = path.read_text(encoding="utf-8")
        entries = json.loads(text) if len(text) <= MAX_FILE else None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(entries, list) or len(entries) > MAX_KINDS:
        raise ValueError(f"{path} must hold a JSON list of at most {MAX_KINDS} kinds")
    try:
        kinds = TypeAdapter(list[CustomKind]).validate_python(entries)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{path}: entry {place}: {first['msg'].removeprefix('Value error, ')}") from None
    names = [kind.name for kind in kinds]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{path}: two kinds are named '{twice}'")
    return kinds
