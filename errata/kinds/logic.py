"""Error kinds of logic (ours): cells of the answer's JSON exchanged so that the verifier finds it wrong.

Both kinds keep the answer well formed: a grid keeps its entities and values and only breaks a clue. Each candidate is
judged by the very verifier that will prove it (errata.answers.exact), so every edit offered is false.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations, permutations

from errata.answers import exact
from errata.json_cells import Cell, JsonCells, find_json
from errata.kinds.registry import Kind, Site, TextEdit, usable_edits
from errata.types import Domain, EvidenceKind, Verdict

Propose = Callable[[str, JsonCells], Iterator[TextEdit]]


def _twin(propose: Propose, site: Site, most: int, rng: random.Random | None) -> list[str]:
    """Edits of the JSON in the step that the verifier finds wrong; none where it holds no right answer."""
    step = site.text
    found = find_json(step)
    if found is None or exact.verify(site.problem, step).verdict is not Verdict.CORRECT:
        return []

    def is_error(edited: str) -> bool:
        return exact.verify(site.problem, edited).verdict is Verdict.INCORRECT

    return usable_edits(propose(step, found), lambda edit: edit.apply(step), is_error, most, rng)


def _entities(step: str, found: JsonCells) -> Iterator[TextEdit]:
    """Two keys of the outermost object exchanged; in a list, two of its elements."""
    named = [cell for cell in found.keys if len(cell.path) == 1]
    placed = [cell for cell in found.values if len(cell.path) == 1 and isinstance(cell.path[0], int)]
    for one, other in combinations(named or placed, 2):
        yield _exchange(step, one, other)


def _constraints(step: str, found: JsonCells) -> Iterator[TextEdit]:
    """Two values of one attribute exchanged, or, in an answer without attributes, one put in another's place."""
    columns: dict[object, list[Cell]] = defaultdict(list)
    for cell in found.values:
        if len(cell.path) > 1:
            columns[cell.path[1:]].append(cell)
    for column in columns.values():
        for one, other in combinations(column, 2):
            yield _exchange(step, one, other)
    if not columns:
        for one, other in permutations(found.values, 2):
            yield TextEdit(one.start, one.end, step[other.start : other.end])


def _exchange(step: str, one: Cell, other: Cell) -> TextEdit:
    """One edit from the first cell to the second, with what stands between them kept."""
    first, second = sorted((one, other), key=lambda cell: cell.start)
    between = step[first.end : second.start]
    return TextEdit(first.start, second.end, step[second.start : second.end] + between + step[first.start : first.end])


_JSON = re.compile(r"[{\[]")


def _kind(name: str, instruction: str, propose: Propose) -> Kind:
    return Kind(name, (Domain.LOGIC,), instruction, _JSON, partial(_twin, propose), EvidenceKind.VERIFIER)


KINDS = (
    _kind("constraint", "Change this step so that it misstates one of the given constraints.", _constraints),
    _kind("entity", "Replace one entity in this step by another one of the puzzle.", _entities),
)
