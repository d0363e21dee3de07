"""Rule-made edits of logic answers: cells of the answer's JSON exchanged so that the verifier finds it wrong.

Both kinds keep the answer well formed: a grid keeps its entities and values and only breaks a clue. Each candidate is
judged by the very verifier that will prove it (errata.answers.exact), so that every edit offered is false.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations

from errata.answers import exact
from errata.kinds.site import RuleEdit, Site
from errata.rules.json_cells import Cell, JsonCells, find_json
from errata.types import Verdict

_MOST_TRIED = 200


def logic_edits(site: Site, kind: str, most: int) -> list[RuleEdit]:
    """At most ``most`` false edits of the JSON in the step; none where it holds no right answer.

    ``entity``: two entities of the puzzle exchanged. ``constraint``: two values of one attribute exchanged, or, in an
    answer without attributes, one value put in another's place.
    """
    found = find_json(site.text)
    if found is None or exact.verify(site.problem, site.text).verdict is not Verdict.CORRECT:
        return []
    proposals = _entities(found, site.text) if kind == "entity" else _constraints(found, site.text)
    edits: dict[str, None] = {}
    for tried, edited in enumerate(proposals):
        if len(edits) >= most or tried >= _MOST_TRIED:
            break
        if edited not in edits and exact.verify(site.problem, edited).verdict is Verdict.INCORRECT:
            edits[edited] = None
    return [RuleEdit(edited) for edited in edits]


def _entities(found: JsonCells, text: str) -> Iterator[str]:
    """Two keys of the outermost object exchanged; in a list, two of its elements."""
    named = [cell for cell in found.keys if len(cell.path) == 1]
    placed = [cell for cell in found.values if len(cell.path) == 1 and isinstance(cell.path[0], int)]
    for one, other in combinations(named or placed, 2):
        yield _exchange(text, one, other)


def _constraints(found: JsonCells, text: str) -> Iterator[str]:
    columns: dict[object, list[Cell]] = defaultdict(list)
    for cell in found.values:
        if len(cell.path) > 1:
            columns[cell.path[1:]].append(cell)
    for column in columns.values():
        for one, other in combinations(column, 2):
            yield _exchange(text, one, other)
    if not columns:
        for one in found.values:
            for other in found.values:
                yield text[: one.start] + text[other.start : other.end] + text[one.end :]


def _exchange(text: str, one: Cell, other: Cell) -> str:
    first, second = sorted((one, other), key=lambda cell: cell.start)
    return (
        text[: first.start]
        + text[second.start : second.end]
        + text[first.end : second.start]
        + text[first.start : first.end]
        + text[second.end :]
    )
