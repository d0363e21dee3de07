"""What an error kind is, and the one registry that knows them all.

A kind is one ``Kind`` entry. Prompts, planning, rule-made edits, the error profile and the API's checks read that entry
and nothing else, so a new kind needs no second list.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, Protocol, TypeVar

from errata.calculations import Calculation
from errata.types import Domain, EvidenceKind, Problem, Step

OPERATORS_BODY = 4_000  # characters of a step that an operator's expression looks at
_MOST_PROPOSED = 400  # of one step and kind: enough to choose among, bounded work


@dataclass(frozen=True, slots=True)
class Site:
    """A step in its place. Rules read what their domain needs: the step, the whole code block, the puzzle's clues."""

    solution: str
    steps: Sequence[Step]
    index: int
    problem: Problem

    @property
    def step(self) -> Step:
        """The step's offsets."""
        return self.steps[self.index]

    @property
    def text(self) -> str:
        """The whole step, label and separator included."""
        return self.solution[self.step.start : self.step.end]

    @property
    def body(self) -> str:
        """The step behind its label."""
        return self.solution[self.step.body_start : self.step.end]


@dataclass(frozen=True, slots=True)
class ProfileRule:
    """How the error profile recognizes a kind in a model's own wrong samples.

    ``relation(right, wrong)``: whether the kind leads from a correct solution's calculation to the wrong one. Relations
    are tried from the lowest ``rank``, the smallest change. ``rest``: the kind also takes the calculations that no
    relation explains, either those that are false in themselves or the others.
    """

    rank: int = 0
    relation: Callable[[Calculation, Calculation], bool] | None = None
    rest: Literal["false", "other"] | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """One error kind.

    ``instruction`` is what the editing model is asked to do. It is part of the prompt version: a changed sentence needs
    a new version, because stored edits name the prompt they came from.
    ``of_equation``: the same where an equation is shown alone (edit-errata/3); empty: ``instruction``.
    ``pattern`` must be found in a step's body for the kind to apply by the paper's rule.
    ``twin(site, most, rng)`` lists up to ``most`` edits made by rule, drawn with ``rng``, else in a fixed order. Our
    stricter rule for offering the kind is that one exists. Twins of mathematics and logic are false, each checked by
    what will prove it. Twins of code are other programs, and the tests decide. Twins of ``misreading`` turn a word into
    its opposite, which only continuations can show to matter.
    ``check`` is the evidence that can prove the kind's edits wrong.
    ``profile``: how wrong samples are counted for the kind; a kind without a rule keeps the count of zero, and so the
    smallest weight under ``mix: "profile"``.
    ``rule_share``: the most of a job's edited steps that the kind gets where rules edit and the job names no kinds.
    Below 1 for a kind whose rule-made edits a classifier tells apart by their style; ``audited`` says what was found.
    ``version`` is set for a kind of the operator's own (errata.kinds.custom): a hash of what it says. Such a kind has
    no rule, is used only by jobs that name it, and only the evidence ``check`` proves its edits.
    """

    name: str
    domains: tuple[Domain, ...]
    instruction: str
    pattern: re.Pattern[str]
    twin: Callable[[Site, int, random.Random | None], list[str]]
    check: EvidenceKind
    profile: ProfileRule = ProfileRule()
    rule_share: float = 1.0
    audited: str = ""
    version: str | None = None
    of_equation: str = ""

    def applies(self, body: str) -> bool:
        """The paper's rule for offering the kind: what the step's body must hold."""
        # An operator's expression is bounded by the text it sees; ours are linear.
        return self.pattern.search(body if self.version is None else body[:OPERATORS_BODY]) is not None


_KINDS: dict[Domain, dict[str, Kind]] = {domain: {} for domain in Domain}


def register(*kinds: Kind) -> None:
    """Add kinds to each of their domains. Raises ValueError for a name that the domain has already.

    The order of registration is part of the method: weighted draws go through a domain's kinds in this order, so
    another order gives other edits for the same seed.
    """
    for kind in kinds:
        for domain in kind.domains:
            if kind.name in _KINDS[domain]:
                raise ValueError(f"domain '{domain}' has a kind '{kind.name}' already")
            _KINDS[domain][kind.name] = kind


def replace_custom(kinds: Iterable[Kind]) -> None:
    """Make these the operator's kinds, in place of any registered before. Raises ValueError for a name that is taken.

    Called once, by the composition root, before anything is planned.
    """
    for known in _KINDS.values():
        for name in [name for name, kind in known.items() if kind.version is not None]:
            del known[name]
    register(*kinds)


def kinds_of(domain: Domain) -> dict[str, Kind]:
    """The kinds of a domain by name, in the order of registration."""
    return dict(_KINDS[domain])


@dataclass(frozen=True, slots=True)
class TextEdit:
    """Replace ``text[start:end]``, offsets in characters."""

    start: int
    end: int
    replacement: str
    weight: float = 1.0

    def apply(self, text: str) -> str:
        """``text`` with the edit made."""
        return text[: self.start] + self.replacement + text[self.end :]


class Weighted(Protocol):
    """Anything that says how often it is to be drawn."""

    @property
    def weight(self) -> float:
        """Above 0; relative to the other proposals."""


Proposal = TypeVar("Proposal", bound=Weighted)


def usable_edits(
    proposals: Iterable[Proposal],
    apply: Callable[[Proposal], str | None],
    is_error: Callable[[str], bool],
    most: int,
    rng: random.Random | None,
) -> list[str]:
    """Up to ``most`` different edits that ``apply`` makes of the proposals and ``is_error`` confirms.

    The proposals are looked at as they come, or with ``rng`` in an order drawn by weight. Whichever of them turn out to
    be usable, the first of these is then drawn in proportion to its weight. So nobody needs to check them all to draw
    one (Efraimidis and Spirakis 2006, doi:10.1016/j.ipl.2005.11.003). ``is_error`` costs a proof or a verdict; it is
    asked only until ``most`` edits are found.
    """
    ordered: Iterable[Proposal] = islice(proposals, _MOST_PROPOSED)
    if rng is not None:
        # sorted() is stable and evaluates the key once per item, in order: one random number each, as they came.
        ordered = sorted(ordered, key=lambda proposal: -(rng.random() ** (1 / proposal.weight)))
    edits: dict[str, None] = {}
    for proposal in ordered:
        edited = apply(proposal)
        if edited is None or edited in edits or not is_error(edited):
            continue
        edits[edited] = None
        if len(edits) >= most:
            break
    return list(edits)
