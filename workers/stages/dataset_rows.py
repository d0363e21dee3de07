"""The pairs and samples of a job as Arrow tables, a range of its problems at a time, in an order of their own.

A dataset's rows pass here in bulk: PostgreSQL sends them by COPY, SQLite as plain tuples, and no object of the ORM is
made. Memory holds a few tables of some thousand rows: the next ones are read while the last are written.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Float, Integer, Select, select, text
from sqlalchemy.orm import Session

from errata.seeds import SPLITS, Split
from errata.shapes import SHAPES
from models.jobs import PairRow, Shard, SolutionRow
from models.workspaces import ProblemRow
from workers.stages.bulk_reading import Rows, ahead, fetch, give_back

_ROWS, _BYTES = 4_000, 8_000_000  # of one table, about; a problem's rows are never parted
_FIRST, _LEAST, _MOST = 64, 8, 65_536  # problems asked for at a time; at least so many of a shard
_GROWTH, _SHARDS = 4, 500  # a statement's parameters are limited
_NAMES = {"evidence_detail": "evidence", "evidence": "evidence_kind", "pair_id": "id"}  # columns of PairRow
_LAST = 2**62
_OF_PROBLEMS: dict[str, Any] = {
    "question": ProblemRow.question,
    "problem_external_id": ProblemRow.external_id,
    "gold_answer": ProblemRow.gold_answer,
}
Columns = Mapping[str, Any]  # columns of tables, by the names they get
Side = Callable[[str], Split]


def whole_side(_question: str) -> Split:
    """No split: every question on one side."""
    return "train"


def pair_columns() -> dict[str, Any]:
    """The columns of `steps_and_full` that the database holds, by the names they have there.

    The question is the problem's, of which a pair's is a copy: it is read once for all pairs of the problem.
    """
    known = {**_OF_PROBLEMS, **{name: getattr(PairRow, column) for name, column in _NAMES.items()}}
    found = {name: known.get(name, getattr(PairRow, name, None)) for name in SHAPES["steps_and_full"].fields}
    return {name: column for name, column in found.items() if column is not None}


def in_slices(columns: Columns, key: Any, ids: Sequence[str]) -> Iterator[Select[Any]]:
    """Queries for the columns of the rows with these keys, of which a statement takes so many only."""
    for at in range(0, len(ids), _SHARDS):
        yield select(*_named(columns)).where(key.in_(ids[at : at + _SHARDS]))


def begin_reading(session: Session) -> None:
    """Make a reading session see one moment, whatever is written meanwhile, however long it reads. Call it first."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        # Between two reads questions are clustered and the audit runs: minutes of a large dataset, and no fault.
        session.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))


@dataclass
class JobRows:
    """The rows of one injection job. ``conditions`` say which pairs, and ``problem_conditions`` of which problems.

    While a method's tables are read, the session belongs to a thread that reads ahead.
    """

    session: Session
    job_id: str
    problem_set_id: str
    conditions: list[ColumnElement[bool]] = field(default_factory=list)
    problem_conditions: list[ColumnElement[bool]] = field(default_factory=list)

    def pairs(self, columns: Columns, side: Side = whole_side) -> Generator[tuple[Split, pa.Table]]:
        """Tables with ``position`` (of the problem) and the columns, each of one side of the split.

        ``columns`` hold those that decide the order: by problem, step pairs by their step before full pairs, then kind
        and, where it is read, the rejected side. Ids are random and decide last, so that two jobs with one seed give
        the same order.
        """
        keys = ("step_index", "error_kind", *(("rejected",) if "rejected" in columns else ()), "pair_id")
        return self._tables(PairRow, columns, self.conditions, keys, side)

    def samples(
        self, columns: Columns, conditions: list[ColumnElement[bool]], side: Side
    ) -> Generator[tuple[Split, pa.Table]]:
        """Tables with ``position`` and the columns of solutions, by problem and sample."""
        wanted = {**columns, "sample_index": SolutionRow.sample_index}
        return self._tables(SolutionRow, wanted, conditions, ("sample_index",), side)

    def _tables(
        self,
        table: type[PairRow | SolutionRow],
        columns: Columns,
        conditions: list[ColumnElement[bool]],
        keys: Sequence[str],
        side: Side,
    ) -> Generator[tuple[Split, pa.Table]]:
        mine: dict[str, Any] = {"problem_id": table.problem_id} | {
            n: c for n, c in columns.items() if n not in _OF_PROBLEMS
        }
        theirs: dict[str, Any] = {"id": ProblemRow.id, "position": ProblemRow.position, "question": ProblemRow.question}
        theirs |= {name: column for name, column in _OF_PROBLEMS.items() if name in columns}
        asked = select(*_named(mine)).where(*conditions)
        problems = select(*_named(theirs)).where(
            ProblemRow.problem_set_id == self.problem_set_id, *self.problem_conditions
        )
        ranges = self._ranges(table, asked, problems)
        with closing(ahead(_read(ranges, _schema(theirs), _schema(mine)))) as tables:
            for found, rows in tables:
                part = _arranged(found, rows, keys, side)
                lost = rows.num_rows - sum(each.num_rows for _, each in part)
                if lost and not self.problem_conditions:
                    raise RuntimeError(f"{lost} rows of job {self.job_id} are of problems outside their shards")
                for split, each in part:
                    yield split, each.select(["position", *columns])

    def _ranges(
        self, table: type[PairRow | SolutionRow], asked: Select[Any], problems: Select[Any]
    ) -> Iterator[tuple[Rows, Rows]]:
        """The problems of a range and their rows, range by range."""
        query = select(Shard.id, Shard.start, Shard.stop).where(Shard.injection_job_id == self.job_id)
        shards = [(row.id, row.start, row.stop) for row in self.session.execute(query.order_by(Shard.position))]
        at, start = 0, shards[0][1] if shards else 0
        most = _FIRST
        while at < len(shards):
            # Whole shards, as their index finds rows where they lie; of a shard that is too large a part.
            last = at
            while last + 1 < min(len(shards), at + _SHARDS) and shards[last + 1][2] - start <= most:
                last += 1
            stop = shards[last][2] if last > at else min(shards[at][2], start + max(most, _LEAST))
            within = problems.where(ProblemRow.position >= start, ProblemRow.position < stop)
            chosen = asked.where(table.shard_id.in_([shard[0] for shard in shards[at : last + 1]]))
            if start > shards[at][1] or stop < shards[last][2]:
                chosen = chosen.where(table.problem_id.in_(within.with_only_columns(ProblemRow.id)))
            rows = fetch(self.session, chosen)
            if rows.count:
                yield fetch(self.session, within), rows
            # The next range is as large as this one says: rows and bytes stay near what a table should hold.
            room = min(_ROWS / max(rows.count, 1), _BYTES / max(rows.size, 1), _GROWTH)
            most = max(1, min(int((stop - start) * room), _MOST))
            if stop >= shards[last][2]:
                at = last + 1
                start = shards[at][1] if at < len(shards) else stop
            else:
                start = stop


def _read(
    ranges: Iterable[tuple[Rows, Rows]], theirs: pa.Schema, mine: pa.Schema
) -> Iterator[tuple[pa.Table, pa.Table]]:
    """The problems and rows of ranges as tables."""
    for problems, rows in ranges:
        yield problems.table(theirs), rows.table(mine)
        give_back()


def _arranged(problems: pa.Table, rows: pa.Table, keys: Sequence[str], side: Side) -> list[tuple[Split, pa.Table]]:
    """The rows in order, with what their problems tell, and apart by side. Rows of other problems are left out."""
    at = pc.index_in(rows["problem_id"], value_set=problems["id"].combine_chunks())
    if at.null_count:
        known = pc.is_valid(at)
        rows, at = rows.filter(known), at.filter(known)
    place = at.to_numpy()
    of_problems = [side(question) for question in problems["question"].to_pylist()]
    sides = np.array([SPLITS.index(split) for split in of_problems], np.int64)[place]
    positions = problems["position"].to_numpy()[place]
    order = _order(rows, keys, [sides, positions])
    # Everything is put in order at once: a column is copied one time only, and a side is a slice of it.
    arranged = rows.take(pa.array(order))
    for name in problems.column_names:
        if name != "id":
            arranged = arranged.append_column(name, problems[name].take(pa.array(place[order])))
    ends = np.searchsorted(sides[order], range(len(SPLITS)), side="right").tolist()
    parts = [(split, start, stop) for split, start, stop in zip(SPLITS, [0, *ends], ends, strict=False)]
    return [(split, arranged.slice(start, stop - start)) for split, start, stop in parts if stop > start]


def _order(rows: pa.Table, keys: Sequence[str], first: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """The order of the rows by the numbers ``first`` and then by columns. A missing number comes last."""
    exact = [*first]
    texts = []
    for name in keys:
        column = rows[name]
        if pa.types.is_integer(column.type):
            exact.append(pc.fill_null(column, _LAST).to_numpy())
        elif name == "error_kind":
            encoded = pc.fill_null(column, "").combine_chunks().dictionary_encode()
            exact.append(pc.rank(encoded.dictionary, tiebreaker="dense").to_numpy()[encoded.indices.to_numpy()])
        else:
            texts.append(name)
    order = np.lexsort(exact[::-1]).astype(np.int64)
    if texts and len(order) > 1:
        ordered = np.stack(exact)[:, order]
        equal = np.all(ordered[:, 1:] == ordered[:, :-1], axis=0)
        for run in _runs(equal):
            told = rows.select(texts).take(pa.array(order[run]))
            order[run] = order[run][pc.sort_indices(told, [(name, "ascending") for name in texts]).to_numpy()]
    return order


def _runs(equal: NDArray[np.bool_]) -> Iterator[slice]:
    """The places that belong together, of marks whether a place equals the one before it."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], equal, [False]]).astype(np.int8)))
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        yield slice(start, stop + 1)


def _named(columns: Columns) -> list[ColumnElement[Any]]:
    return [column.label(name) for name, column in columns.items()]


def _schema(columns: Columns) -> pa.Schema:
    return pa.schema([(name, _kind(column.type)) for name, column in columns.items()])


def _kind(type_: Any) -> pa.DataType:
    if isinstance(type_, Float):
        return pa.float64()
    return pa.int64() if isinstance(type_, Integer) else pa.string()
