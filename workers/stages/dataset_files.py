"""What a freeze fills while pairs stream past: tables (JSON lines and Parquet), counts, and the audit's sample.

Memory is constant: tables hold one row group each, and the audit looks at a bounded number of pairs.
"""

from __future__ import annotations

import importlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from errata.rests import LeftOut
from errata.seeds import Split
from errata.shapes import Fields, FieldType, PairRecord, Row, SampleRecord, Shape
from models.jobs import PairRow
from workers.stages.rest_tally import RestTally

_ROW_GROUP = 1000  # rows held in memory per table


def arrow_schema(fields: Fields) -> pa.Schema:
    """The explicit Parquet schema of a shape's columns; every column may be null."""
    return pa.schema([(name, _arrow_type(kind)) for name, kind in fields.items()])


def _arrow_type(kind: FieldType) -> Any:
    if isinstance(kind, dict):
        return pa.struct([(name, _arrow_type(inner)) for name, inner in kind.items()])
    if isinstance(kind, list):
        return pa.list_(_arrow_type(kind[0]))
    return {"string": pa.string(), "int64": pa.int64(), "bool": pa.bool_()}[kind]


class TableWriter:
    """One table as ``<split>.jsonl`` and ``<split>.parquet`` in a folder. The same rows give the same bytes."""

    def __init__(self, folder: Path, split: Split, fields: Fields) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.rows = 0
        self.paths = (folder / f"{split}.jsonl", folder / f"{split}.parquet")
        self._schema = arrow_schema(fields)
        self._lines: IO[str] = self.paths[0].open("w", encoding="utf-8", newline="\n")
        self._parquet = pq.ParquetWriter(self.paths[1], self._schema, compression="zstd")
        self._held: list[Row] = []

    def add(self, row: Row) -> None:
        """Write one row."""
        self._lines.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._held.append(row)
        self.rows += 1
        if len(self._held) >= _ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._held:
            self._parquet.write_table(pa.Table.from_pylist(self._held, schema=self._schema))
            self._held.clear()

    def close(self) -> None:
        """Finish both files."""
        self._lines.close()
        self._flush()
        self._parquet.close()


class Tally:
    """Counts of what was frozen."""

    def __init__(self) -> None:
        self.pairs = 0
        self._by: dict[str, Counter[str]] = {
            key: Counter() for key in ("type", "error_kind", "form", "editor", "evidence", "source", "split")
        }

    def add(self, pair: PairRow, split: str) -> None:
        """Count one pair."""
        self.pairs += 1
        values = (pair.type, pair.error_kind, pair.form, pair.editor, pair.evidence_kind, pair.source, split)
        for counter, value in zip(self._by.values(), values, strict=True):
            if value is not None:
                counter[value] += 1

    def as_dict(self) -> dict[str, dict[str, int]]:
        """For the manifest, most frequent first."""
        return {
            key: dict(sorted(counter.items(), key=lambda item: (-item[1], item[0])))
            for key, counter in self._by.items()
        }


class Auditor:
    """Collects the sides of pairs per type, and reports on them at the end.

    scikit-learn takes seconds to load and nothing else needs it: it is loaded here, when the first dataset is frozen.
    """

    def __init__(self) -> None:
        self._module = importlib.import_module("errata.audit")
        self._samples: dict[str, Any] = {}
        self._kinds: dict[tuple[str, str], Any] = {}

    def add(self, pair: PairRow) -> None:
        """Offer one pair. Pairs of one question stay together, whatever job or problem row they come from."""
        sample = self._samples.setdefault(pair.type, self._module.AuditSample())
        sides = self._module.AuditPair(" ".join(pair.question.split()), pair.chosen, pair.rejected)
        sample.add(sides)
        if pair.type == "step" and pair.error_kind:
            # Pairs made before there were forms leave the result standing, as the paper's do.
            group = (pair.error_kind, getattr(pair, "form", None) or "stands")
            if group not in self._kinds:
                self._kinds[group] = self._module.AuditSample(self._module.KIND_MAX_PAIRS)
            self._kinds[group].add(sides)

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

    def __init__(self, folder: Path, shapes: Sequence[Shape]) -> None:
        self.counts, self.auditor, self.rests = Tally(), Auditor(), RestTally()
        self.tables: dict[tuple[str, Split], TableWriter] = {}
        self._folder, self._shapes = folder, shapes
        self._stack = ExitStack()

    def __enter__(self) -> DatasetFiles:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def add_pair(self, pair: PairRow, record: PairRecord, split: Split) -> None:
        """Count a pair, offer it to the audit, and write it in every shape."""
        self.counts.add(pair, split)
        self.auditor.add(pair)
        self.rests.add(record)
        for shape in self._shapes:
            self.add_rows(shape, split, shape.rows(record))

    def add_sample(self, sample: SampleRecord, split: Split, shapes: Sequence[Shape], *, cut: bool) -> None:
        """Write a correct sample in the shapes made of samples. One that was cut ends at no answer: it is counted."""
        if cut:
            self.rests.left_out_samples[LeftOut.CUT] += 1
            return
        for shape in shapes:
            if shape.samples is not None:
                self.add_rows(shape, split, shape.samples(sample))

    def add_rows(self, shape: Shape, split: Split, rows: Iterable[Row]) -> None:
        """Write rows of one shape and split."""
        key = (shape.name, split)
        for row in rows:
            if key not in self.tables:
                self.tables[key] = TableWriter(self._folder / shape.name, split, shape.fields)
                self._stack.callback(self.tables[key].close)
            self.tables[key].add(row)
