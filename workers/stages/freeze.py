"""Stage ``freeze``: a dataset's pairs become files, once and for good.

Pairs stream past in bulk (workers.stages.dataset_sources), so memory does not grow with the dataset. Where some are to
be left out by chance, they are drawn first, by few of their columns. Files are built in a scratch folder and appear in
one rename under a name that ends in the hash of their manifest (models.folders). So a freeze done twice (a worker that
died, a lease that was lost) publishes the same folder or finds it. The row is written last, fenced.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy.orm import Session

from errata.card import render_card
from errata.kinds import kinds_of
from errata.seeds import SPLITS, Split
from errata.shapes import SHAPES, PairRecord, sft_row
from errata.types import Domain
from models.events import record
from models.files import FileStore
from models.folders import MANIFEST, list_files, write_manifest
from models.outputs import Dataset, DatasetSource
from models.session import insert_ignore, update_by_key
from models.states import JobState, move
from workers.engines.base import Cancelled
from workers.stages.base import Finish, StageContext
from workers.stages.code_version import code_version
from workers.stages.dataset_files import DatasetFiles
from workers.stages.dataset_picks import Picks, find_picks
from workers.stages.dataset_rows import begin_reading
from workers.stages.dataset_selection import DatasetSelection, SelectionImpossible
from workers.stages.dataset_sources import SAMPLE, JobSource, MixedSource, Source
from workers.stages.disk import naming_a_full_disk
from workers.stages.waiting import stoppable

FORMAT = 1  # of the manifest
_PAIR_FIELDS = tuple(SHAPES["steps_and_full"].fields)


def freeze(context: StageContext) -> Finish:
    """Write the dataset's folder, then its row. An impossible selection fails the dataset at once."""
    files = FileStore(context.store.files)
    dataset_id = context.lease.owner_id
    try:
        with naming_a_full_disk(context.store.files), files.scratch() as folder:
            with context.db.read() as session:
                begin_reading(session)
                chosen = DatasetSelection(session, dataset_id)
                written = write_tables(context, session, chosen, folder)
            manifest = stoppable(lambda: _describe(chosen, written, folder), context.cancelled)
            values = _publish(files, dataset_id, folder, manifest)
    except SelectionImpossible as error:
        return _fail(dataset_id, str(error))
    sources = [{"dataset_id": dataset_id, "job_id": job_id} for job_id in chosen.source_jobs]

    def write(session: Session) -> None:
        insert_ignore(session, DatasetSource, sources)
        update_by_key(session, Dataset, [{"id": dataset_id, **values}])

    return Finish(None, write)


def _fail(dataset_id: str, reason: str) -> Finish:
    """The shard is done and the dataset failed: an impossible selection is no failure to try again."""

    def write(session: Session) -> None:
        if move(session, Dataset, dataset_id, JobState.FAILED, error=reason):
            dataset = session.get_one(Dataset, dataset_id)
            record(session, dataset.workspace_id, dataset_id, "failed", error=reason)

    return Finish(None, write)


@dataclass
class Written:
    """What went into a dataset's tables."""

    files: DatasetFiles
    left_out: dict[str, int]
    pairs_of: Counter[str] = field(default_factory=Counter)  # by job
    from_source: list[int] = field(default_factory=list)
    problems: set[str] = field(default_factory=set)


def write_tables(context: StageContext, session: Session, chosen: DatasetSelection, folder: Path) -> Written:
    """Write every table of the dataset. Raises SelectionImpossible where there is nothing to train on, Cancelled."""
    store, config = FileStore(context.store.files), chosen.config
    sources: list[Source] = [JobSource(session, job, chosen.domains[job.id], config) for job in chosen.jobs]
    sources += [MixedSource(store, dataset, config) for dataset in chosen.mixed]

    def check() -> None:
        if context.cancelled():
            raise Cancelled

    context.meter.doing("selecting pairs")
    picks = find_picks(sources, config, check) if config.draws else None
    context.meter.expect(sum(source.count() for source in sources) if picks is None else picks.count)
    with DatasetFiles(folder, chosen.shapes) as files:
        written = Written(files, {} if picks is None else picks.left_out)
        for at, source in enumerate(sources):
            check()
            before = files.counts.pairs
            for split, table in _tables(chosen, source, at, picks):
                check()
                _add_pairs(chosen, written, split, table)
                context.meter.advance(table.num_rows)
            written.from_source.append(files.counts.pairs - before)
            if any(shape.name == "sft" for shape in chosen.shapes):
                _add_samples(context, chosen, written, source)
    if files.counts.pairs == 0:
        raise SelectionImpossible(
            "the selection holds no pairs: loosen 'types', 'kinds', 'require_evidence' and the other filters, or name"
            " other jobs"
        )
    if ("steps_and_full", "train") not in files.tables:
        raise SelectionImpossible("every pair fell into the test split: lower 'split.test' or change 'seed'")
    context.meter.doing("auditing and hashing")
    return written


def _tables(chosen: DatasetSelection, source: Source, at: int, picks: Picks | None) -> Iterator[tuple[Split, pa.Table]]:
    with closing(source.pairs(chosen.split)) as tables:
        for split, table in tables:
            kept = table if picks is None else picks.of(at, table)
            if kept.num_rows:
                yield split, kept


def _add_pairs(chosen: DatasetSelection, written: Written, split: Split, table: pa.Table) -> None:
    for entry in pc.value_counts(table["job_id"]).to_pylist():
        written.pairs_of[entry["values"]] += entry["counts"]
    written.problems.update(table["problem_id"].unique().to_pylist())
    written.files.add_pairs(table, _records(chosen, table), split)


def _records(chosen: DatasetSelection, table: pa.Table) -> Iterator[PairRecord]:
    jobs = table["job_id"].to_pylist()
    thoughts = {job_id: chosen.thoughts(job_id) for job_id in set(jobs)}
    columns = [table[name].to_pylist() for name in _PAIR_FIELDS]
    for job_id, *values in zip(jobs, *columns, strict=True):
        yield PairRecord(**dict(zip(_PAIR_FIELDS, values, strict=True)), thoughts=thoughts[job_id])


def _add_samples(context: StageContext, chosen: DatasetSelection, written: Written, source: Source) -> None:
    """The correct samples of a source; where pairs were drawn, those of the problems that have pairs."""
    problems = pa.array(sorted(written.problems), pa.string()) if chosen.config.draws else None
    with closing(source.samples(chosen.split)) as tables:
        for split, table in tables:
            if context.cancelled():
                raise Cancelled
            if problems is not None:
                table = table.filter(pc.is_in(table["problem_id"], value_set=problems))
            columns = (table[name].to_pylist() for name in SAMPLE)
            written.files.add_rows(SHAPES["sft"], split, (sft_row(*row) for row in zip(*columns, strict=True)))


def _describe(chosen: DatasetSelection, written: Written, folder: Path) -> dict[str, Any]:
    """Write the card and make the manifest."""
    files = written.files
    tables = files.tables
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "name": chosen.dataset.name,
        "config": chosen.config.model_dump(mode="json"),
        "code": code_version(),
        "rows": {
            shape.name: {split: tables[shape.name, split].rows for split in SPLITS if (shape.name, split) in tables}
            for shape in chosen.shapes
            if any((shape.name, split) in tables for split in SPLITS)  # tables without rows have no files
        },
        "schema": {shape.name: shape.fields for shape in chosen.shapes},
        "counts": {"pairs": files.counts.pairs, "problems": len(written.problems), **files.counts.as_dict()},
        "left_out": written.left_out,
        "lineage": _lineage(chosen, written),
        "mix": _mix(chosen, written),
        "audit": files.auditor.report(),
        "audit_by_kind": files.auditor.by_kind(),
        "capped_kinds": _capped(chosen),
    }
    (folder / "README.md").write_text(render_card(manifest), encoding="utf-8", newline="\n")
    rows = {path.relative_to(folder).as_posix(): table.rows for table in tables.values() for path in table.paths}
    manifest["files"] = list_files(folder, extra={name: {"rows": count} for name, count in rows.items()})
    return manifest


def _lineage(chosen: DatasetSelection, written: Written) -> list[dict[str, Any]]:
    """Where the pairs come from, job by job, also by way of the datasets that were mixed in."""
    found = {entry["job_id"]: entry for dataset in chosen.mixed for entry in (dataset.manifest or {})["lineage"]}
    found = {entry["job_id"]: entry for entry in chosen.lineage} | {
        job_id: entry for job_id, entry in found.items() if job_id not in chosen.config.jobs
    }
    return [{**entry, "pairs": written.pairs_of[job_id]} for job_id, entry in found.items()]


def _mix(chosen: DatasetSelection, written: Written) -> list[dict[str, Any]]:
    """The sources with their weights and what each gave; empty for jobs without weights."""
    if not chosen.config.weighted and not chosen.mixed:
        return []
    named = [{"job": job.id} for job in chosen.jobs]
    named += [{"dataset": dataset.id, "sha256": str(dataset.sha256)} for dataset in chosen.mixed]
    weights: list[float | None] = list(chosen.config.weights if chosen.config.weighted else [None] * len(named))
    return [
        {**source, "weight": weight, "pairs": pairs}
        for source, weight, pairs in zip(named, weights, written.from_source, strict=True)
    ]


def _capped(chosen: DatasetSelection) -> list[dict[str, Any]]:
    """The kinds that a job of the dataset made fewer pairs of than of others, and why (errata.kinds)."""
    found: dict[str, dict[str, Any]] = {}
    for job in chosen.jobs:
        editing = job.config.get("editing") or {}
        if editing.get("editor") == "rules" and editing.get("kinds") is None:
            for kind in kinds_of(Domain(chosen.domains[job.id])).values():
                if kind.rule_share < 1:
                    found[kind.name] = {"kind": kind.name, "share": kind.rule_share, "why": kind.audited}
    return [found[name] for name in sorted(found)]


def _publish(files: FileStore, dataset_id: str, folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """Publish the folder under its content's name; the answer is what the dataset's row gets."""
    data = write_manifest(folder, manifest)
    digest = hashlib.sha256(data).hexdigest()
    path = f"datasets/{dataset_id}-{digest[:12]}"
    try:
        files.publish(folder, path)
    except FileExistsError:
        # Published by an earlier try whose row was never written: the name holds a hash, so the content is the same.
        if files.read_bytes(f"{path}/{MANIFEST}") != data:
            raise
    return {"folder": path, "manifest": manifest, "sha256": digest}
