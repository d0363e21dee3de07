"""Writes the tables of a dataset: its pairs and samples stream past in bulk, source by source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy.orm import Session

from errata.rests import Rest
from errata.seeds import Split
from errata.shapes import PAIR_FIELDS, PairRecord, SampleRecord
from models.files import FileStore
from workers.engines.base import Cancelled
from workers.stages.base import StageContext
from workers.stages.bulk_reading import text_list, value_list
from workers.stages.dataset_files import DatasetFiles
from workers.stages.dataset_known import NOTHING, known_of
from workers.stages.dataset_picks import Picks, find_picks
from workers.stages.dataset_rests import Rests
from workers.stages.dataset_selection import DatasetSelection, SelectionImpossible
from workers.stages.dataset_sources import SAMPLE, JobSource, MixedSource, Source
from workers.stages.gates import DatasetGates
from workers.stages.rests import CUT

_ASKED = ("problem_id", "question")
_GATED = ("pair_id", "question", "prefix", "chosen", "rejected")


@dataclass
class Written:
    """What went into a dataset's tables."""

    files: DatasetFiles
    left_out: dict[str, int]
    pairs_of: Counter[str] = field(default_factory=Counter)  # by job
    from_source: list[int] = field(default_factory=list)
    problems: set[str] = field(default_factory=set)


def write_tables(
    context: StageContext, session: Session, chosen: DatasetSelection, folder: Path, gates: DatasetGates
) -> Written:
    """Write every table of the dataset. Raises SelectionImpossible where there is nothing to train on, Cancelled."""
    store, config = FileStore(context.store.files), chosen.config
    sources: list[Source] = [
        JobSource(session, job, chosen.domains[job.id], config, rests=chosen.with_rests) for job in chosen.jobs
    ]
    known = known_of(session, chosen.source_jobs, config) if chosen.mixed else NOTHING
    sources += [MixedSource(store, dataset, config, chosen.taken_back, known) for dataset in chosen.mixed]

    def check() -> None:
        if context.cancelled():
            raise Cancelled

    context.meter.doing("selecting pairs")
    picks = find_picks(sources, config, check) if config.draws else None
    gates.take_questions(_questions(chosen, sources, picks))
    chosen.side_of = gates.side_of
    context.meter.expect(sum(source.count() for source in sources) if picks is None else picks.count)
    with DatasetFiles(folder, chosen.shapes) as files, context.db.read() as other:
        written = Written(files, {} if picks is None else picks.left_out)
        writer = _Writer(context, chosen, gates, written, Rests(context, other, chosen))
        for at, source in enumerate(sources):
            check()
            writer.write(source, at, picks)
    _require_rows(files)
    context.meter.doing("auditing and hashing")
    return written


def _require_rows(files: DatasetFiles) -> None:
    if files.counts.pairs == 0:
        raise SelectionImpossible(
            "the selection holds no pairs: loosen 'types', 'kinds', 'require_evidence' and the other filters, or name"
            " other jobs"
        )
    if ("steps_and_full", "train") not in files.tables:
        raise SelectionImpossible("every pair fell into the test split: lower 'split.test' or change 'seed'")


def _questions(chosen: DatasetSelection, sources: Sequence[Source], picks: Picks | None) -> Iterator[tuple[str, str]]:
    """Id and question of every problem that the dataset takes rows of, once, source by source in its order."""
    seen: set[str] = set()
    for at, source in enumerate(sources):
        for id_, question in source.questions(chosen.with_samples) if picks is None else _drawn(source, at, picks):
            if id_ not in seen:
                seen.add(id_)
                yield id_, question


def _drawn(source: Source, at: int, picks: Picks) -> Iterator[tuple[str, str]]:
    """Of the pairs that were drawn; the samples are of their problems."""
    with closing(source.light(_ASKED)) as tables:
        for table in tables:
            kept = picks.of(at, table)
            yield from zip(*(kept[name].to_pylist() for name in _ASKED), strict=True)


@dataclass
class _Writer:
    """Writes one source after the other."""

    context: StageContext
    chosen: DatasetSelection
    gates: DatasetGates
    written: Written
    rests: Rests

    def write(self, source: Source, at: int, picks: Picks | None) -> None:
        """The pairs of a source, or those that were picked, and its samples. Raises Cancelled."""
        files = self.written.files
        before = files.counts.pairs
        for split, table in self._tables(source, at, picks):
            if self.context.cancelled():
                raise Cancelled
            self._add_pairs(split, table)
            self.context.meter.advance(table.num_rows)
        self.written.from_source.append(files.counts.pairs - before)
        if self.chosen.with_samples:
            self._add_samples(source)

    def _tables(self, source: Source, at: int, picks: Picks | None) -> Iterator[tuple[Split, pa.Table]]:
        with closing(source.pairs(self.chosen.split)) as tables:
            for split, table in tables:
                kept = table if picks is None else picks.of(at, table)
                if kept.num_rows:
                    yield split, kept

    def _add_pairs(self, split: Split, table: pa.Table) -> None:
        for entry in pc.value_counts(table["job_id"]).to_pylist():
            self.written.pairs_of[entry["values"]] += entry["counts"]
        self.written.problems.update(table["problem_id"].unique().to_pylist())
        with self.gates.timed("duplicate_pairs"):
            for texts in zip(*(text_list(table[name]) for name in _GATED), strict=True):
                self.gates.add_pair(*texts)
        rests = self.rests.of(table)
        self.written.files.add_pairs(table, rests, self._records(table, rests), split)

    def _records(self, table: pa.Table, rests: Iterable[Rest | None]) -> Iterator[PairRecord]:
        jobs = text_list(table["job_id"])
        thoughts = {job_id: self.chosen.thoughts(job_id) for job_id in set(jobs)}
        columns = (value_list(table[name]) for name in PAIR_FIELDS)
        for values in zip(*columns, (thoughts[job_id] for job_id in jobs), rests, strict=True):
            yield PairRecord(*values)  # its fields are the columns in order, then these two

    def _add_samples(self, source: Source) -> None:
        """The correct samples of a source; where pairs were drawn, those of the problems that have pairs."""
        drawn = self.chosen.config.draws
        problems = pa.array(sorted(self.written.problems), pa.string()) if drawn else None
        with closing(source.samples(self.chosen.split)) as tables:
            for split, table in tables:
                if self.context.cancelled():
                    raise Cancelled
                if problems is not None:
                    table = table.filter(pc.is_in(table["problem_id"], value_set=problems))
                reasons = text_list(table["finish_reason"])
                columns = (text_list(table[name]) for name in SAMPLE)
                for reason, *values in zip(reasons, *columns, strict=True):
                    self.written.files.add_sample(SampleRecord(*values), split, cut=reason == CUT)
