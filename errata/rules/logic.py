"""Rule-made edits of logic answers: cells of the answer's JSON exchanged so that the verifier finds it wrong.

Both kinds keep the answer well formed: a grid keeps its entities and values and only breaks a clue. Each candidate is
judged by the very verifier that will prove it (errata.answers.exact), so that every edit offered is false.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, permutations

from errata.answers import exact
from errata.kinds.site import Site
from errata.rules.drawing import in_order
from errata.rules.json_cells import Cell, JsonCells, find_json
from errata.types import Verdict


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


def logic_edits(site: Site, kind: str, most: int, rng: random.Random | None = None) -> list[str]:
    """Up to ``most`` false edits of the JSON in the step, drawn with ``rng``; none where it holds no right answer.

    ``entity``: two entities of the puzzle exchanged. ``constraint``: two values of one attribute exchanged, or, in an
    answer without attributes, one value put in another's place.
    """
    found = find_json(site.text)
    if found is None or exact.verify(site.problem, site.text).verdict is not Verdict.CORRECT:
        return []
    edits: dict[str, None] = {}
    for proposal in in_order(_entities(found) if kind == "entity" else _constraints(found), rng):
        edited = proposal.apply(site.text)
        if edited not in edits and exact.verify(site.problem, edited).verdict is Verdict.INCORRECT:
            edits[edited] = None
        if len(edits) >= most:
            break
    return list(edits)


def _entities(found: JsonCells) -> Iterator[Proposal]:
    """Two keys of the outermost object exchanged; in a list, two of its elements."""
    named = [cell for cell in found.keys if len(cell.path) == 1]
    placed = [cell for cell in found.values if len(cell.path) == 1 and isinstance(cell.path[0], int)]
    for one, other in combinations(named or placed, 2):
        yield Proposal(one, other)


def _constraints(found: JsonCells) -> Iterator[Proposal]:
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
