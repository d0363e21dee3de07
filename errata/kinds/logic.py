"""Error kinds of logic (ours): cells of the answer's JSON exchanged so that the verifier finds it wrong.

Both kinds keep the answer well formed: a grid keeps its entities and values and only breaks a clue. Each candidate is
judged by the very verifier that will prove it (errata.answers.exact), so every edit offered is false.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations, permutations

from errata.answers import exact
from errata.json_cells import Cell, JsonCells, find_json
from errata.kinds.registry import Kind, Site, usable_edits
from errata.types import Domain, EvidenceKind, Verdict


@dataclass(frozen=True, slots=True)
class Proposal:
    """Two cells and what becomes of them: exchanged, or the second copied over the first."""

    one: Cell
    other: Cell
    exchanged: bool = True
    weight: float = 1.0

    def apply(self, text: str) -> str:
        """``text`` with the cells changed."""
        if not self.exchanged:
            return text[: self.one.start] + text[self.other.start : self.other.end] + text[self.one.end :]
        return _exchange(text, self.one, self.other)


def _twin(propose: Callable[[JsonCells], Iterator[Proposal]]) -> Callable[..., list[str]]:
    """Edits of the JSON in the step that the verifier finds wrong; none where it holds no right answer."""

    def twin(site: Site, most: int, rng: random.Random | None) -> list[str]:
        step = site.text
        found = find_json(step)
        if found is None or exact.verify(site.problem, step).verdict is not Verdict.CORRECT:
            return []

        def is_error(edited: str) -> bool:
            return exact.verify(site.problem, edited).verdict is Verdict.INCORRECT

        return usable_edits(propose(found), lambda proposal: proposal.apply(step), is_error, most, rng)

    return twin


def _entities(found: JsonCells) -> Iterator[Proposal]:
    """Two keys of the outermost object exchanged; in a list, two of its elements."""
    named = [cell for cell in found.keys if len(cell.path) == 1]
    placed = [cell for cell in found.values if len(cell.path) == 1 and isinstance(cell.path[0], int)]
    for one, other in combinations(named or placed, 2):
        yield Proposal(one, other)


def _constraints(found: JsonCells) -> Iterator[Proposal]:
    """Two values of one attribute exchanged, or, in an answer without attributes, one put in another's place."""
    columns: dict[object, list[Cell]] = defaultdict(list)
    for cell in found.values:
        if len(cell.path) > 1:
            columns[cell.path[1:]].append(cell)
    for column in columns.values():
        for one, other in combinations(column, 2):
            yield Proposal(one, other)
    if not columns:
        for one, other in permutations(found.values, 2):
            yield Proposal(one, other, exchanged=False)


def _exchange(text: str, one: Cell, other: Cell) -> str:
    first, second = sorted((one, other), key=lambda cell: cell.start)
    return (
        text[: first.start]
        + text[second.start : second.end]
        + text[first.end : second.start]
        + text[first.start : first.end]
        + text[second.end :]
    )


def _has_json(body: str) -> bool:
    return "{" in body or "[" in body


KINDS = (
    Kind(
        "constraint",
        (Domain.LOGIC,),
        "Change this step so that it misstates one of the given constraints.",
        _has_json,
        _twin(_constraints),
        EvidenceKind.VERIFIER,
    ),
    Kind(
        "entity",
        (Domain.LOGIC,),
        "Replace one entity in this step by another one of the puzzle.",
        _has_json,
        _twin(_entities),
        EvidenceKind.VERIFIER,
    ),
)
