"""Where a freeze's rows come from: an injection job in the database, or the files of a finished dataset.

Either gives its pairs twice: first the few columns by which they are drawn, then, of those that were taken, all.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from errata.output_config import DatasetFilters
from errata.prompts import solve_messages
from errata.seeds import SPLITS, Split
from errata.shapes import SEPARATOR, SHAPES, user_message
from errata.types import Domain, EvidenceKind, Form, Verdict
from models.curation import not_retracted
from models.files import FileStore
from models.jobs import InjectionJob, PairRow, SolutionRow
from models.outputs import Dataset
from models.pair_filters import pair_conditions, problem_conditions
from models.workspaces import ProblemRow
from workers.stages.bulk_reading import canonical_json, text_list
from workers.stages.dataset_files import arrow_schema
from workers.stages.dataset_known import NOTHING, Known
from workers.stages.dataset_rows import JobRows, Side, pair_columns
from workers.stages.gate_rows import questions_of

LIGHT = ("pair_id", "type", "step_index", "error_kind", "form")
TEXTS = ("question", "prefix", "chosen")
SAMPLE = ("question", "text", "problem_id", "job_id", "domain")
_BATCH = 4_000
_APART = "\x1f"
_SCHEMA = arrow_schema(SHAPES["steps_and_full"].fields)


class Source(Protocol):
    """Pairs in an order that does not change; ``position`` tells the problem's place and never falls."""

    name: str

    def light(self, more: Sequence[str]) -> Generator[pa.Table]:
        """Tables of ``position`` and LIGHT, and of more columns of ``steps_and_full``."""
        ...

    def questions(self, samples: bool) -> Iterator[tuple[str, str]]:
        """Id and question of the problems of the pairs, and with ``samples`` of theirs; one may come again."""
        ...

    def pairs(self, side: Side) -> Generator[tuple[Split, pa.Table]]:
        """Tables of ``position`` and the columns of ``steps_and_full``, each of one side of the split.

        With ``rest`` where that is known and asked for (errata.rests), as JSON.
        """
        ...

    def samples(self, side: Side) -> Generator[tuple[Split, pa.Table]]:
        """Tables of ``position``, SAMPLE and ``finish_reason``: the correct samples."""
        ...

    def count(self) -> int:
        """How many pairs there are, about: for progress."""
        ...


class JobSource:
    """The pairs of an injection job that pass the filters."""

    def __init__(
        self, session: Session, job: InjectionJob, domain: str, filters: DatasetFilters, *, rests: bool = False
    ) -> None:
        self.name, self._session, self._job, self._domain = job.id, session, job, domain
        self._conditions = pair_conditions(filters)
        self._problems = problem_conditions(filters)
        self._rows = JobRows(session, job.id, job.problem_set_id, self._conditions, self._problems)
        self._samples = [SolutionRow.verdict == Verdict.CORRECT, not_retracted(SolutionRow)]
        self._samples += [SolutionRow.source.in_(filters.sources)] if filters.sources is not None else []
        self._more: dict[str, Any] = {"rest": PairRow.rest} if rests else {}

    def light(self, more: Sequence[str]) -> Generator[pa.Table]:
        """See Source."""
        columns = pair_columns()
        return (table for _, table in self._rows.pairs({name: columns[name] for name in (*LIGHT, *more)}))

    def questions(self, samples: bool) -> Iterator[tuple[str, str]]:
        """See Source."""
        asked = self._samples if samples else None
        return questions_of(self._session, self._job, self._conditions, self._problems, asked)

    def pairs(self, side: Side) -> Generator[tuple[Split, pa.Table]]:
        """See Source."""
        for split, table in self._rows.pairs({**pair_columns(), **self._more}, side):
            told = {"domain": self._domain}
            columns = {
                name: table[name] if name in table.column_names else _repeated(told.get(name), table, kind)
                for name, kind in zip(_SCHEMA.names, _SCHEMA.types, strict=True)
            }
            columns["evidence_detail"] = canonical_json(table["evidence_detail"])
            columns["prompt"] = _prompts(columns)
            columns |= {name: table[name] for name in self._more}
            yield split, pa.table({"position": table["position"], **columns})

    def samples(self, side: Side) -> Generator[tuple[Split, pa.Table]]:
        """See Source."""
        columns: dict[str, Any] = {"question": ProblemRow.question, "text": SolutionRow.text}
        columns |= {"problem_id": SolutionRow.problem_id, "job_id": SolutionRow.job_id}
        columns["finish_reason"] = SolutionRow.finish_reason
        for split, table in self._rows.samples(columns, self._samples, side):
            yield split, table.append_column("domain", _repeated(self._domain, table, pa.string()))

    def count(self) -> int:
        """See Source."""
        query = select(func.count(PairRow.id)).where(PairRow.job_id == self._job.id, *self._conditions)
        return self._session.scalar(query) or 0


class MixedSource:
    """The pairs of a finished dataset that pass the filters, from its files.

    ``taken_back``: ids of retracted problems and jobs, whose rows are left out. ``known``: what the database knows of
    the rows where the files do not tell what a filter asks for.
    """

    def __init__(
        self,
        files: FileStore,
        dataset: Dataset,
        filters: DatasetFilters,
        taken_back: tuple[Iterable[str], Iterable[str]] = ((), ()),
        known: Known = NOTHING,
    ) -> None:
        self.name, self._files, self._dataset, self._filters = dataset.id, files, dataset, filters
        self._problems, self._jobs = (pa.array(sorted(ids), pa.string()) for ids in taken_back)
        self._known = known

    def light(self, more: Sequence[str]) -> Generator[pa.Table]:
        """See Source."""
        for table in self._passing():
            yield table.select(["position", *LIGHT, *more])

    def questions(self, samples: bool) -> Iterator[tuple[str, str]]:
        """See Source."""
        tables = [self._passing(), *([self._told_samples()] if samples else [])]
        for table in chain.from_iterable(tables):
            yield from zip(table["problem_id"].to_pylist(), table["question"].to_pylist(), strict=True)

    def pairs(self, side: Side) -> Generator[tuple[Split, pa.Table]]:
        """See Source."""
        for table in self._passing():
            yield from _sides(table, side)

    def _passing(self) -> Generator[pa.Table]:
        for places, table in self._read("steps_and_full"):
            names = set(table.column_names)
            columns = {
                name: table[name].cast(kind) if name in names else pa.nulls(table.num_rows, kind)
                for name, kind in zip(_SCHEMA.names, _SCHEMA.types, strict=True)
            }
            columns["prompt"] = _prompts(columns)
            whole = pa.table({"position": places, **columns})
            kept = self._known.pairs(whole.filter(_passes(whole, self._filters)))
            if kept.num_rows:
                yield kept

    def samples(self, side: Side) -> Generator[tuple[Split, pa.Table]]:
        """See Source; of a dataset without `sft` rows none."""
        for table in self._told_samples():
            yield from _sides(table, side)

    def _told_samples(self) -> Iterator[pa.Table]:
        for places, table in self._read("sft"):
            told = table.rename_columns([{"completion": "text"}.get(name, name) for name in table.column_names])
            if set(SAMPLE) <= set(told.column_names):
                columns = {name: told[name] for name in SAMPLE}
                columns["finish_reason"] = pa.nulls(table.num_rows, pa.string())  # those that were cut are left out
                yield self._known.samples(pa.table({"position": places, **columns}))

    def count(self) -> int:
        """See Source."""
        return int(((self._dataset.manifest or {}).get("counts") or {}).get("pairs") or 0)

    def _read(self, shape: str) -> Iterator[tuple[pa.Array, pa.Table]]:
        """The rows that are not retracted, and the place of each row's problem: rows of one problem lie together."""
        last, place = None, -1
        for split in SPLITS:
            path = f"{self._dataset.folder}/{shape}/{split}.parquet"
            if not self._files.exists(path):
                continue
            with self._files.open(path) as handle, pq.ParquetFile(handle) as file:
                for batch in file.iter_batches(_BATCH):
                    table = self._kept(pa.Table.from_batches([batch]))
                    places = []
                    for problem in table["problem_id"].to_pylist():
                        place += problem != last
                        last = problem
                        places.append(place)
                    yield pa.array(places, pa.int64()), table

    def _kept(self, table: pa.Table) -> pa.Table:
        """Without the rows of what was retracted since the dataset was frozen."""
        gone = pc.is_in(table["problem_id"], value_set=self._problems)
        return table.filter(pc.invert(pc.or_(gone, pc.is_in(table["job_id"], value_set=self._jobs))))


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


def _prompts(columns: Mapping[str, Any]) -> pa.Array:
    """The column ``prompt``, as PairRecord has it: what the solver was asked and the steps before."""
    domains = pc.unique(columns["domain"]).to_pylist()
    # A job has one domain: then its questions are told apart by themselves.
    asked = columns["question"] if len(domains) == 1 else _joined(columns["question"], columns["domain"])
    encoded = asked.combine_chunks().dictionary_encode()
    told = text_list(encoded.dictionary)
    if len(domains) == 1:
        asked_for = solve_messages(told, Domain(domains[0]))
    else:
        asked_for = [user_message(*_parted(each)) for each in told]
    messages = pa.array(asked_for, pa.string())
    return pc.binary_join_element_wise(messages.take(encoded.indices), columns["prefix"], SEPARATOR)


def _joined(questions: Any, domains: Any) -> Any:
    return pc.binary_join_element_wise(questions, domains, _APART)


def _parted(joined: str) -> tuple[str, str]:
    question, _, domain = joined.rpartition(_APART)
    return question, domain


def _sides(table: pa.Table, side: Side) -> Generator[tuple[Split, pa.Table]]:
    """The parts of a table that go to each side, by the question."""
    encoded = table["question"].combine_chunks().dictionary_encode()
    of_questions = pa.array([side(question) for question in text_list(encoded.dictionary)], pa.string())
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
