"""The pairs that a dataset's draws take (errata.draws), found from few columns before any file is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from errata.draws import Candidates, DrawImpossible, Ints, Names, draw
from errata.language import follows_in_english
from errata.output_config import DatasetConfig
from workers.stages.dataset_selection import SelectionImpossible
from workers.stages.dataset_sources import TEXTS, Source


@dataclass(frozen=True)
class Picks:
    """Of each source the ids of the pairs taken, in order, and their problems' places; and what was left out, why."""

    positions: list[Ints]
    ids: list[pa.Array]
    left_out: dict[str, int]

    @property
    def count(self) -> int:
        """How many pairs are taken."""
        return sum(len(positions) for positions in self.positions)

    def of(self, source: int, table: pa.Table) -> pa.Table:
        """The rows of a source's table that are taken. Its ``position`` never falls."""
        first, last = table["position"][0].as_py(), table["position"][-1].as_py()
        start = int(np.searchsorted(self.positions[source], first))
        stop = int(np.searchsorted(self.positions[source], last, side="right"))
        return table.filter(pc.is_in(table["pair_id"], value_set=self.ids[source].slice(start, stop - start)))


def find_picks(sources: Sequence[Source], config: DatasetConfig, check: Callable[[], None]) -> Picks:
    """Draw among the pairs of the sources. ``check`` is called often and may raise.

    Memory: about 100 bytes a pair that passes the filters. Raises SelectionImpossible.
    """
    light = _Light()
    for at, source in enumerate(sources):
        with closing(source.light(TEXTS if config.language is not None else ())) as tables:
            for table in tables:
                check()
                light.add(at, _in_language(table, config.language))
    pairs, ids = light.candidates(len(sources))
    try:
        drawn = draw(pairs, config)
    except DrawImpossible as error:
        raise SelectionImpossible(str(error)) from None
    positions, taken = [], []
    for at in range(len(sources)):
        mine = pairs.source == at
        positions.append(pairs.problem[mine & drawn.taken])
        taken.append(ids[at].filter(pa.array(drawn.taken[mine])))
    return Picks(positions, taken, {**light.left_out(), **drawn.left_out})


class _Light:
    """The few columns of all pairs as arrays, in order."""

    def __init__(self) -> None:
        self._names = {"type": Names(), "kind": Names(), "form": Names()}
        self._columns: dict[str, list[Ints]] = {
            name: [] for name in ("source", "problem", "step", "type", "kind", "form")
        }
        self._ids: list[tuple[int, Any]] = []
        self._other_language = 0

    def add(self, source: int, told: tuple[pa.Table, int]) -> None:
        table, lost = told
        self._other_language += lost
        is_step = pc.equal(table["type"], "step")
        columns = {
            "source": np.full(table.num_rows, source, np.int64),
            "problem": table["position"].to_numpy(),
            # A full pair has no step; the kinds and forms of full pairs are none.
            "step": pc.if_else(is_step, pc.fill_null(table["step_index"], 0), -1).to_numpy(),
            "type": self._coded("type", table["type"]),
            "kind": self._coded("kind", table["error_kind"]),
            "form": self._coded("form", pc.if_else(is_step, pc.fill_null(table["form"], "stands"), None)),
        }
        for name, values in columns.items():
            self._columns[name].append(values.astype(np.int64 if name in ("problem", "step") else np.int16))
        self._ids.append((source, table["pair_id"].combine_chunks()))

    def _coded(self, by: str, column: Any) -> Ints:
        encoded = column.combine_chunks().dictionary_encode()
        codes = np.array([*(self._names[by].code(name) for name in encoded.dictionary.to_pylist()), -1], np.int64)
        found: Ints = codes[pc.fill_null(encoded.indices, len(codes) - 1).to_numpy(zero_copy_only=False)]
        return found

    def candidates(self, sources: int) -> tuple[Candidates, list[Any]]:
        columns: dict[str, Any] = {
            name: np.concatenate([np.empty(0, np.int64), *parts]).astype(np.int64)
            for name, parts in self._columns.items()
        }
        names: Any = {by: names.all for by, names in self._names.items()}
        ids = [_joined(part for source, part in self._ids if source == at) for at in range(sources)]
        return Candidates(**columns, names=names), ids

    def left_out(self) -> dict[str, int]:
        return {"language": self._other_language} if self._other_language else {}


def _joined(parts: Iterable[Any]) -> Any:
    return pa.concat_arrays([pa.array([], pa.string()), *parts])


def _in_language(table: pa.Table, wanted: str | None) -> tuple[pa.Table, int]:
    """The rows in this language, and how many are not."""
    if wanted is None:
        return table, 0
    texts = zip(*(table[name].to_pylist() for name in TEXTS), strict=True)
    english = [follows_in_english(question, f"{prefix}{chosen}") for question, prefix, chosen in texts]
    kept = table.filter(pa.array([each == (wanted == "english") for each in english], pa.bool_()))
    return kept, table.num_rows - kept.num_rows
