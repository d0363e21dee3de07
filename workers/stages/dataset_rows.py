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
from sqlalchemy import ColumnElement, Float, Integer, Select, select, text
from sqlalchemy.orm import Session

from errata.seeds import SPLITS, Split
from errata.shapes import SHAPES
from models.jobs import PairRow, Shard, SolutionRow
from models.workspaces import ProblemRow
from workers.stages.binary_rows import Places
from workers.stages.bulk_reading import Rows, ahead, fetch, table_of, text_list

_ROWS, _BYTES = 4_000, 8_000_000  # of one table, about; a problem's rows are never parted
_FIRST, _LEAST, _MOST = 64, 8, 65_536  # problems asked for at a time; at least so many of a shard
_GROWTH, _SHARDS = 4, 500  # a statement's parameters are limited
_NAMES = {"evidence_detail": "evidence", "evidence": "evidence_kind", "pair_id": "id"}  # columns of PairRow
_LAST = 2**62
_SIDES: dict[str, int] = {split: at for at, split in enumerate(SPLITS)}
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
        with closing(ahead(_read(ranges, _schema(theirs)))) as ranges_read:
            for found, rows in ranges_read:
                part = _arranged(found, rows, _schema(mine), keys, side)
                lost = rows.count - sum(each.num_rows for _, each in part)
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


def _read(ranges: Iterable[tuple[Rows, Rows]], theirs: pa.Schema) -> Iterator[tuple[pa.Table, Rows]]:
    """The problems of ranges as tables, and their rows."""
    for problems, rows in ranges:
        yield table_of(problems, theirs), rows


def _arranged(
    problems: pa.Table, rows: Rows, schema: pa.Schema, keys: Sequence[str], side: Side
) -> list[tuple[Split, pa.Table]]:
    """The rows in order, with what their problems tell, and apart by side. Rows of other problems are left out."""
    ids = table_of(rows, schema, ["problem_id"])["problem_id"]
    at = pc.index_in(ids, value_set=problems["id"].combine_chunks())
    kept = np.flatnonzero(pc.is_valid(at).to_numpy())
    place = at.drop_null().to_numpy()
    of_problems = [_SIDES[side(question)] for question in text_list(problems["question"])]
    sides = np.array(of_problems, np.int64)[place]
    positions = problems["position"].to_numpy()[place]
    order = _order(rows, schema, keys, kept, [sides, positions])
    ends = np.searchsorted(sides[order], range(len(SPLITS)), side="right").tolist()
    found = []
    for split, start, stop in zip(SPLITS, [0, *ends], ends, strict=False):
        if stop > start:
            # Each side is copied apart: a slice of a few rows would keep all of them in memory while it is held.
            part = table_of(rows, schema, order=kept[order[start:stop]])
            theirs = problems.drop_columns(["id"]).take(pa.array(place[order[start:stop]]))
            columns = dict(zip(part.column_names, part.columns, strict=True))
            found.append((split, pa.table(columns | dict(zip(theirs.column_names, theirs.columns, strict=True)))))
    return found


def _order(rows: Rows, schema: pa.Schema, keys: Sequence[str], kept: Places, first: list[Places]) -> Places:
    """The order of the rows ``kept`` by the numbers ``first`` and then by columns. A missing number comes last."""
    exact = [*first]
    texts = []
    for name in keys:
        if not pa.types.is_integer(schema.field(name).type) and name != "error_kind":
            texts.append(name)
            continue
        column = table_of(rows, schema, [name], kept)[name]
        if name == "error_kind":
            encoded = pc.fill_null(column, "").combine_chunks().dictionary_encode()
            exact.append(pc.rank(encoded.dictionary, tiebreaker="dense").to_numpy()[encoded.indices.to_numpy()])
        else:
            exact.append(pc.fill_null(column, _LAST).to_numpy())
    order: Places = np.lexsort(exact[::-1]).astype(np.int64)
    if texts and len(order) > 1:
        ordered = np.stack(exact)[:, order]
        equal = np.all(ordered[:, 1:] == ordered[:, :-1], axis=0)
        # Where the numbers are equal texts decide. All such runs at once: a sort of each costs more than its rows.
        tied = np.flatnonzero(np.concatenate([[False], equal]) | np.concatenate([equal, [False]]))
        if len(tied):
            run = np.cumsum(np.concatenate([[True], ~equal]))[tied]
            told = table_of(rows, schema, texts, kept[order[tied]]).append_column("run", pa.array(run))
            by = [(name, "ascending") for name in ("run", *texts)]
            order[tied] = order[tied][pc.sort_indices(told, by).to_numpy()]
    return order


def _named(columns: Columns) -> list[ColumnElement[Any]]:
    return [column.label(name) for name, column in columns.items()]


def _schema(columns: Columns) -> pa.Schema:
    return pa.schema([(name, _kind(column.type)) for name, column in columns.items()])


def _kind(type_: Any) -> pa.DataType:
    if isinstance(type_, Float):
        return pa.float64()
    return pa.int64() if isinstance(type_, Integer) else pa.string()
