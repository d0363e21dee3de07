"""Where a freeze's rows come from: an injection job in the database, or the files of a finished dataset.

Either gives its pairs twice: first the few columns by which they are drawn, then, of those that were taken, all.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from errata.output_config import DatasetFilters
from errata.seeds import SPLITS, Split
from errata.shapes import SHAPES
from errata.types import EvidenceKind, Form, Verdict
from models.files import FileStore
from models.jobs import InjectionJob, PairRow, SolutionRow
from models.outputs import Dataset
from models.workspaces import ProblemRow
from workers.stages.bulk_reading import canonical_json
from workers.stages.dataset_files import arrow_schema
from workers.stages.dataset_rows import JobRows, Side, pair_columns
from workers.stages.dataset_selection import SelectionImpossible, pair_conditions, problem_conditions

LIGHT = ("pair_id", "type", "step_index", "error_kind", "form")
TEXTS = ("question", "prefix", "chosen")
SAMPLE = ("question", "text", "problem_id", "job_id", "domain")
_BATCH = 4_000
_SCHEMA = arrow_schema(SHAPES["steps_and_full"].fields)


class Source(Protocol):
    """Pairs in an order that does not change; ``position`` tells the problem's place and never falls."""

    name: str

    def light(self, texts: bool) -> Generator[pa.Table]:
        """Tables of ``position`` and LIGHT, with ``texts`` those of TEXTS too."""
        ...

    def pairs(self, side: Side) -> Generator[tuple[Split, pa.Table]]:
        """Tables of ``position`` and the columns of ``steps_and_full``, each of one side of the split."""
        ...

    def samples(self, side: Side) -> Generator[tuple[Split, pa.Table]]:
        """Tables of ``position`` and SAMPLE: the correct samples."""
        ...

    def count(self) -> int:
        """How many pairs there are, about: for progress."""
        ...


class JobSource:
    """The pairs of an injection job that pass the filters."""

    def __init__(self, session: Session, job: InjectionJob, domain: str, filters: DatasetFilters) -> None:
        self.name, self._session, self._job, self._domain = job.id, session, job, domain
        self._conditions = pair_conditions(filters)
        of_problems = problem_conditions(filters)
        self._rows = JobRows(session, job.id, job.problem_set_id, self._conditions, of_problems)
        self._samples = [SolutionRow.source.in_(filters.sources)] if filters.sources is not None else []

    def light(self, texts: bool) -> Generator[pa.Table]:
        """See Source."""
        columns = pair_columns()
        wanted = {name: columns[name] for name in (*LIGHT, *(TEXTS if texts else ()))}
        return (table for _, table in self._rows.pairs(wanted))

    def pairs(self, side: Side) -> Generator[tuple[Split, pa.Table]]:
        """See Source."""
        for split, table in self._rows.pairs(pair_columns(), side):
            told = {"domain": self._domain}
            columns = {
                name: table[name] if name in table.column_names else _repeated(told.get(name), table, kind)
                for name, kind in zip(_SCHEMA.names, _SCHEMA.types, strict=True)
            }
            columns["evidence_detail"] = canonical_json(table["evidence_detail"])
            yield split, pa.table({"position": table["position"], **columns})

    def samples(self, side: Side) -> Generator[tuple[Split, pa.Table]]:
        """See Source."""
        columns: dict[str, Any] = {"question": ProblemRow.question, "text": SolutionRow.text}
        columns |= {"problem_id": SolutionRow.problem_id, "job_id": SolutionRow.job_id}
        correct = [SolutionRow.verdict == Verdict.CORRECT, *self._samples]
        for split, table in self._rows.samples(columns, correct, side):
            yield split, table.append_column("domain", _repeated(self._domain, table, pa.string()))

    def count(self) -> int:
        """See Source."""
        query = select(func.count(PairRow.id)).where(PairRow.job_id == self._job.id, *self._conditions)
        return self._session.scalar(query) or 0


class MixedSource:
    """The pairs of a finished dataset that pass the filters, from its files."""

    def __init__(self, files: FileStore, dataset: Dataset, filters: DatasetFilters) -> None:
        self.name, self._files, self._dataset, self._filters = dataset.id, files, dataset, filters
        if filters.subjects or filters.levels or filters.reviews:
            raise SelectionImpossible(
                f"dataset {dataset.id}: its files hold no subject, level or review of a pair; drop these filters, or"
                " give its jobs instead of the dataset"
            )

    def light(self, texts: bool) -> Generator[pa.Table]:
        """See Source."""
        for table in self._passing():
            yield table.select(["position", *LIGHT, *(TEXTS if texts else ())])

    def pairs(self, side: Side) -> Generator[tuple[Split, pa.Table]]:
        """See Source."""
        for table in self._passing():
            yield from _sides(table, side)

    def _passing(self) -> Generator[pa.Table]:
        for start, table in self._read("steps_and_full"):
            names = set(table.column_names)
            columns = {
                name: table[name].cast(kind) if name in names else pa.nulls(table.num_rows, kind)
                for name, kind in zip(_SCHEMA.names, _SCHEMA.types, strict=True)
            }
            whole = pa.table({"position": _places(start, table), **columns})
            kept = whole.filter(_passes(whole, self._filters))
            if kept.num_rows:
                yield kept

    def samples(self, side: Side) -> Generator[tuple[Split, pa.Table]]:
        """See Source; of a dataset without `sft` rows none."""
        for start, table in self._read("sft"):
            told = table.rename_columns([{"completion": "text"}.get(name, name) for name in table.column_names])
            if set(SAMPLE) <= set(told.column_names):
                columns = {name: told[name] for name in SAMPLE}
                yield from _sides(pa.table({"position": _places(start, table), **columns}), side)

    def count(self) -> int:
        """See Source."""
        return int(((self._dataset.manifest or {}).get("counts") or {}).get("pairs") or 0)

    def _read(self, shape: str) -> Iterator[tuple[int, pa.Table]]:
        at = 0
        for split in SPLITS:
            path = f"{self._dataset.folder}/{shape}/{split}.parquet"
            if not self._files.exists(path):
                continue
            with self._files.open(path) as handle, pq.ParquetFile(handle) as file:
                for batch in file.iter_batches(_BATCH):
                    yield at, pa.Table.from_batches([batch])
                    at += batch.num_rows


def _passes(table: pa.Table, filters: DatasetFilters) -> Any:
    """``pair_conditions`` of the columns of a table."""
    steps: list[Any] = [
        _is_in(table["error_kind"], filters.kinds),
        _is_in(pc.fill_null(table["form"], str(Form.STANDS)), filters.forms),
        _is_in(table["editor"], filters.editors),
        _is_in(table["evidence"], filters.evidence),
    ]
    for column, bounds in ((table["distance"], filters.distance), (table["step_index"], filters.step_index)):
        if bounds is not None and bounds.min is not None:
            steps.append(pc.greater_equal(column, bounds.min))
        if bounds is not None and bounds.max is not None:
            steps.append(pc.less_equal(column, bounds.max))
    if filters.require_evidence:
        steps.append(pc.not_equal(table["evidence"], str(EvidenceKind.UNPROVEN)))
    kept = _is_in(table["type"], filters.types)
    others = (_is_in(table["source"], filters.sources), _is_in(table["language_model"], filters.language_models))
    is_full = pc.not_equal(table["type"], "step")
    for asked in steps:
        if asked is not None:
            kept = pc.and_(kept, pc.or_(is_full, pc.fill_null(asked, False)))
    for asked in others:
        kept = kept if asked is None else pc.and_(kept, asked)
    return kept


def _places(start: int, table: pa.Table) -> pa.Array:
    return pa.array(range(start, start + table.num_rows), pa.int64())


def _sides(table: pa.Table, side: Side) -> Generator[tuple[Split, pa.Table]]:
    """The parts of a table that go to each side, by the question."""
    encoded = table["question"].combine_chunks().dictionary_encode()
    of_questions = pa.array([side(question) for question in encoded.dictionary.to_pylist()], pa.string())
    sides = pc.take(of_questions, encoded.indices)
    for split in SPLITS:
        part = table.filter(pc.equal(sides, split))
        if part.num_rows:
            yield split, part


def _is_in(column: Any, values: Any) -> Any:
    if values is None:
        return None
    return pc.is_in(column, value_set=pa.array(sorted(str(value) for value in values), pa.string()))


def _repeated(value: str | None, table: pa.Table, kind: pa.DataType) -> pa.Array:
    return pa.repeat(pa.scalar(value, kind), table.num_rows)
