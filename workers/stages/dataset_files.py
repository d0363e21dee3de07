"""What a freeze fills while pairs stream past: tables (JSON lines and Parquet), counts, and the audit's sample.

Memory is constant: a table holds one row group, and the audit looks at a bounded number of pairs. Rows come as Arrow
tables where a shape's columns are the database's, and as dictionaries where a shape makes rows of its own.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from errata.distributions import Distributions
from errata.rests import LeftOut, Rest
from errata.seeds import Split
from errata.shapes import Fields, FieldType, PairRecord, Row, SampleRecord, Shape, user_message, whole_sides
from workers.stages.bulk_reading import text_list, value_list
from workers.stages.rest_tally import RestTally, one_line

_ROW_GROUP, _GROUP_BYTES = 10_000, 16_000_000  # held in memory per table
_LONG = ("question", "prefix", "chosen", "rejected", "prompt", "completion", "evidence_detail", "pair_id")
_BUFFER = 1 << 18  # bytes of JSON lines before they are written
FORMATS = ("jsonl", "parquet")
_LINE = orjson.OPT_APPEND_NEWLINE
_COUNTED = ("type", "error_kind", "form", "editor", "evidence", "source")


def arrow_schema(fields: Fields) -> pa.Schema:
    """The explicit Parquet schema of a shape's columns; every column may be null."""
    return pa.schema([(name, _arrow_type(kind)) for name, kind in fields.items()])


def _arrow_type(kind: FieldType) -> Any:
    if isinstance(kind, dict):
        return pa.struct([(name, _arrow_type(inner)) for name, inner in kind.items()])
    if isinstance(kind, list):
        return pa.list_(_arrow_type(kind[0]))
    return {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_()}[kind]


class TableWriter:
    """One table as ``<split>.jsonl`` and ``<split>.parquet`` in a folder. The same rows give the same bytes.

    Row groups end by what their rows are, and not by how the rows came: after 10,000 rows or 16 MB.
    """

    def __init__(self, folder: Path, split: Split, fields: Fields, formats: Sequence[str] = FORMATS) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.rows = 0
        self.paths = tuple(folder / f"{split}.{name}" for name in FORMATS if name in formats)
        self._schema = arrow_schema(fields)
        self._lines: IO[bytes] | None = _opened(folder / f"{split}.jsonl") if "jsonl" in formats else None
        self._parquet = self._open_parquet(folder / f"{split}.parquet") if "parquet" in formats else None
        self._held: list[pa.Table] = []
        self._made: list[Row] = []
        self._rows, self._bytes = 0, 0  # of the row group

    def _open_parquet(self, path: Path) -> Any:
        # Long texts repeat too seldom for a dictionary, and nobody looks for a row by the range of its texts.
        short = [name for name in self._schema.names if name not in _LONG]
        return pq.ParquetWriter(
            path, self._schema, compression="zstd", use_dictionary=[*short, "question"], write_statistics=short
        )

    def add(self, row: Row) -> None:
        """Write one row."""
        self.add_rows((row,))

    def add_rows(self, rows: Iterable[Row]) -> None:
        """Write rows one after the other."""
        for row in rows:
            line = orjson.dumps(row, option=_LINE)
            if self._lines is not None:
                self._lines.write(line)
            self.rows += 1
            if self._parquet is not None:
                self._made.append(row)
                self._count(1, len(line))

    def add_table(self, table: pa.Table) -> None:
        """Write a table's rows: its columns of the schema's names."""
        table = table.select(self._schema.names).cast(self._schema)
        self.rows += table.num_rows
        if self._lines is not None:
            # One by one into the file's buffer: thousands of lines held together cost more than making them does.
            self._lines.writelines(json_lines(table))
        if self._parquet is None or not table.num_rows:
            return
        whole = _bytes_of(table)
        if self._rows + table.num_rows < _ROW_GROUP and self._bytes + whole < _GROUP_BYTES:
            self._held.append(table)
            self._count(table.num_rows, whole)
            return
        ends = np.cumsum(_row_bytes(table))
        start, before = 0, 0
        while start < table.num_rows:
            # The first row that fills the group ends it.
            full = int(np.searchsorted(ends, before + _GROUP_BYTES - self._bytes)) + 1
            stop = min(table.num_rows, full, start + _ROW_GROUP - self._rows)
            self._held.append(table.slice(start, stop - start))
            self._count(stop - start, int(ends[stop - 1]) - before)
            start, before = stop, int(ends[stop - 1])

    def _count(self, rows: int, size: int) -> None:
        self._rows, self._bytes = self._rows + rows, self._bytes + size
        if self._rows >= _ROW_GROUP or self._bytes >= _GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._made:
            self._held.append(pa.Table.from_pylist(self._made, schema=self._schema))
        if self._held and self._parquet is not None:
            # As one chunk: where tables happened to end would stand in the pages.
            self._parquet.write_table(pa.concat_tables(self._held).combine_chunks())
        self._held, self._made, self._rows, self._bytes = [], [], 0, 0

    def close(self) -> None:
        """Finish both files."""
        if self._lines is not None:
            self._lines.close()
        self._flush()
        if self._parquet is not None:
            self._parquet.close()


def _opened(path: Path) -> IO[bytes]:
    return path.open("wb", buffering=_BUFFER)


def json_lines(table: pa.Table) -> Iterator[bytes]:
    """The rows as lines of JSON."""
    names = table.column_names
    for row in zip(*(value_list(column) for column in table.columns), strict=True):
        yield orjson.dumps(dict(zip(names, row, strict=True)), option=_LINE)


def _row_bytes(table: pa.Table) -> Any:
    """About how many bytes each row has: those of its texts, and eight for each number."""
    total = np.full(table.num_rows, 8 * table.num_columns, np.int64)
    for column in table.columns:
        if pa.types.is_string(column.type):
            total += pc.fill_null(pc.binary_length(column), 0).to_numpy()
    return total


def _bytes_of(table: pa.Table) -> int:
    """The sum of ``_row_bytes``, found without looking at the rows."""
    total = 8 * table.num_columns * table.num_rows
    for column in table.columns:
        if pa.types.is_string(column.type):
            total += pc.sum(pc.binary_length(column)).as_py() or 0
    return int(total)


class Tally:
    """Counts of what was frozen."""

    def __init__(self) -> None:
        self.pairs = 0
        self._by: dict[str, Counter[str]] = {key: Counter() for key in (*_COUNTED, "split")}
        self.distributions = Distributions()

    def add(self, table: pa.Table, split: str) -> None:
        """Count a table of pairs of one side."""
        self.pairs += table.num_rows
        self._by["split"][split] += table.num_rows
        for name in _COUNTED:
            for entry in pc.value_counts(table[name]).to_pylist():
                if entry["values"] is not None:
                    self._by[name][entry["values"]] += entry["counts"]
        measured = {"step": pc.add(table["step_index"], 1), "distance": table["distance"]}
        measured |= {f"{side}_characters": pc.utf8_length(table[side]) for side in ("chosen", "rejected")}
        for name, values in measured.items():
            counts = pc.value_counts(values.drop_null()).to_pylist()
            self.distributions.add_counts(name, Counter({entry["values"]: entry["counts"] for entry in counts}))

    def as_dict(self) -> dict[str, dict[str, int]]:
        """For the manifest, most frequent first."""
        return {
            key: dict(sorted(counter.items(), key=lambda item: (-item[1], item[0])))
            for key, counter in self._by.items()
        }


class AuditedPair(Protocol):
    """What the audit looks at."""

    type: str
    question: str
    chosen: str
    rejected: str
    error_kind: str | None
    form: str | None


class Auditor:
    """Collects the sides of pairs per type, and reports on them at the end.

    scikit-learn takes seconds to load and nothing else needs it: it is loaded here, when the first pair is offered.
    """

    def __init__(self) -> None:
        self._samples: dict[str, Any] = {}
        self._kinds: dict[tuple[str, str], Any] = {}

    @cached_property
    def _module(self) -> Any:
        return importlib.import_module("errata.audit")

    def add(self, pair: AuditedPair) -> None:
        """Offer one pair. Pairs of one question stay together, whatever job or problem row they come from."""
        made = (getattr(pair, name, None) for name in ("form", "editor"))
        self._offer(pair.type, one_line(pair.question), pair.chosen, pair.rejected, pair.error_kind, *made)

    def add_table(self, table: pa.Table) -> None:
        """Offer a table of pairs."""
        names = ("type", "question", "chosen", "rejected", "error_kind", "form", "editor")
        for type_, question, *more in zip(*(text_list(table[name]) for name in names), strict=True):
            self._offer(type_, one_line(question), *more)

    def _offer(
        self,
        type_: str,
        problem: str,
        chosen: str,
        rejected: str,
        kind: str | None,
        form: str | None,
        editor: str | None,
    ) -> None:
        is_step = type_ == "step"
        if is_step and editor == "mined":
            # The model wrote both sides freely: pooled with edits, whose sides share their words, they would be lost.
            type_ = form = "mined"
        if type_ not in self._samples:
            self._samples[type_] = self._module.AuditSample()
        rank = self._module.audit_rank(problem, chosen, rejected)
        self._samples[type_].offer(rank, problem, chosen, rejected)
        if is_step and kind:
            # Pairs made before there were forms leave the result standing, as the paper's do.
            group = (kind, form or "stands")
            if group not in self._kinds:
                self._kinds[group] = self._module.AuditSample(self._module.KIND_MAX_PAIRS)
            self._kinds[group].offer(rank, problem, chosen, rejected)

    def report(self) -> dict[str, Any]:
        """Per pair type what a classifier reached that never sees the question (errata.audit), as JSON values."""
        return {
            type_: self._module.audit(sample.pairs(), type_).as_dict()
            for type_, sample in sorted(self._samples.items())
        }

    def by_kind(self) -> list[dict[str, Any]]:
        """The same for the step pairs of each error kind and form that has enough of them."""
        return list(self._module.audit_kinds(self._kinds))


class DatasetFiles:
    """The tables of a dataset folder with the counts and the audit of what went into them.

    A table is opened when its first row comes, so that none is empty.
    """

    def __init__(self, folder: Path, shapes: Sequence[Shape], formats: Sequence[str] = FORMATS) -> None:
        self.counts, self.auditor, self.rests = Tally(), Auditor(), RestTally()
        self.tables: dict[tuple[str, Split], TableWriter] = {}
        self._folder, self._shapes, self._formats = folder, shapes, formats
        self._stack = ExitStack()

    def __enter__(self) -> DatasetFiles:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def add_pairs(
        self, table: pa.Table, rests: Sequence[Rest | None], records: Iterable[PairRecord], split: Split
    ) -> None:
        """Count pairs of one side, offer them to the audit, and write them in every shape.

        ``table`` has the columns of ``steps_and_full``, one row per pair; ``rests`` and ``records`` are theirs.
        A record is asked for only where a shape needs more of a pair than its whole sides.
        """
        self.counts.add(table, split)
        self.auditor.add_table(table)
        for shape in self._shapes:
            if shape.name == "steps_and_full":
                self.add_table(shape, split, table)
        self.rests.add_table(table, rests)
        self._add_whole(table, rests, split)
        made = [each for each in self._shapes if not (each.samples or each.of_sides or each.name == "steps_and_full")]
        for record in records if made else ():
            for shape in made:
                self.add_rows(shape, split, shape.rows(record))

    def _add_whole(self, table: pa.Table, rests: Sequence[Rest | None], split: Split) -> None:
        """Write the shapes that are made of a pair's whole sides: of columns, as an object per pair costs more."""
        shapes = [(shape, shape.of_sides) for shape in self._shapes if shape.of_sides is not None]
        if not shapes:
            return
        columns = (text_list(table[name]) for name in ("question", "domain", "prefix", "chosen", "rejected"))
        found: list[tuple[str, str, str]] = []
        for rest, question, domain, prefix, chosen, rejected in zip(rests, *columns, strict=True):
            sides = whole_sides(prefix, chosen, rejected, rest)
            if sides is not None:
                found.append((user_message(question, domain), *sides))
        for shape, rows_of in shapes:
            self.add_rows(shape, split, chain.from_iterable(rows_of(*each) for each in found))

    def add_table(self, shape: Shape, split: Split, table: pa.Table) -> None:
        """Write the rows of a table in one shape and split: its columns of the shape's names."""
        if table.num_rows:
            self._writer(shape, split).add_table(table)

    def add_sample(self, sample: SampleRecord, split: Split, *, cut: bool) -> None:
        """Write a correct sample in the shapes made of samples. One that was cut ends at no answer: it is counted."""
        if cut:
            self.rests.left_out_samples[LeftOut.CUT] += 1
            return
        for shape in self._shapes:
            if shape.samples is not None:
                self.add_rows(shape, split, shape.samples(sample))

    def add_rows(self, shape: Shape, split: Split, rows: Iterable[Row]) -> None:
        """Write rows of one shape and split. No table is opened where there are none."""
        coming = iter(rows)
        for first in coming:
            self._writer(shape, split).add_rows(chain((first,), coming))

    def _writer(self, shape: Shape, split: Split) -> TableWriter:
        key = (shape.name, split)
        if key not in self.tables:
            folder = self._folder / shape.name
            self.tables[key] = TableWriter(folder, split, shape.fields, self._formats)
            self._stack.callback(self.tables[key].close)
        return self.tables[key]
