"""Stage ``freeze``: a dataset's pairs become files, once and for good.

Pairs are read shard by shard and problem by problem, so memory does not grow with the dataset. Files are built in a
scratch folder and appear in one rename under a name that ends in the hash of their manifest (models.folders). So a
freeze done twice (a worker that died, a lease that was lost) publishes the same folder or finds it. The row is written
last, fenced.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, distinct, func, or_, select
from sqlalchemy.orm import Session

from errata.card import render_card
from errata.config import InjectionConfig
from errata.funnel import editor_yields
from errata.kinds import kinds_of
from errata.output_config import DatasetConfig
from errata.rests import Rest, allowing_right_answers
from errata.seeds import SPLITS, Split, split_of
from errata.shapes import SHAPES, PairRecord, SampleRecord, default_shape, evidence_text, has_train_rows, shapes_of
from errata.thoughts import Markers
from errata.types import Domain, EvidenceKind, Verdict
from models.curation import not_retracted, retractions_in
from models.events import record
from models.files import FileStore
from models.folders import MANIFEST, list_files, write_manifest
from models.jobs import InjectionJob, PairRow, Shard, SolutionRow
from models.outputs import Dataset, DatasetSource
from models.results import job_funnel
from models.session import insert_ignore, update_by_key
from models.states import TERMINAL, JobState, move
from models.workspaces import LanguageModel, ProblemRow, ProblemSet
from workers.engines.base import Cancelled
from workers.stages.base import Finish, StageContext
from workers.stages.dataset_files import DatasetFiles
from workers.stages.dataset_shapes import trained_with_template
from workers.stages.gate_rows import questions_of
from workers.stages.gates import DatasetGates, GatesRefuse
from workers.stages.recipe_files import write_recipes
from workers.stages.rests import CUT, older_rests

FORMAT = 1  # of the manifest
_PAGE = 500  # rows fetched at a time


class SelectionImpossible(Exception):
    """The configuration selects nothing that can be frozen. Trying again does not help; the message says what would."""


class DatasetSelection:
    """What is frozen: the dataset's row, its configuration and its jobs, read once."""

    def __init__(self, session: Session, dataset_id: str) -> None:
        self.dataset = session.get_one(Dataset, dataset_id)
        self.config = DatasetConfig.model_validate(self.dataset.config)
        self.jobs = [self._job(session, job_id) for job_id in self.config.jobs]
        self.chat_template = trained_with_template(session, self.jobs)
        self.shapes = [SHAPES[name] for name in shapes_of(self.config.shapes, chat_template=self.chat_template)]
        self.domains = {job.id: session.get_one(ProblemSet, job.problem_set_id).domain for job in self.jobs}
        self.lineage = [self._lineage(session, job) for job in self.jobs]
        self.side_of: Callable[[str], str] = str  # which question decides for a question (workers.stages.gates)

    def _job(self, session: Session, job_id: str) -> InjectionJob:
        job = session.get(InjectionJob, job_id)
        if job is None or job.workspace_id != self.dataset.workspace_id:
            raise SelectionImpossible(f"there is no injection job {job_id}")
        if job.state not in TERMINAL:
            raise SelectionImpossible(f"injection job {job_id} is {job.state}: freeze its pairs once it has ended")
        return job

    def _lineage(self, session: Session, job: InjectionJob) -> dict[str, Any]:
        model = session.get(LanguageModel, job.language_model_id) if job.language_model_id else None
        problem_set = session.get_one(ProblemSet, job.problem_set_id)
        return {
            "job_id": job.id,
            "problem_set_id": problem_set.id,
            "problem_set_sha256": problem_set.content_sha256,
            "language_model": model.name if model else None,
            "language_model_fingerprint": model.fingerprint if model else None,
            "editor_model": (job.config.get("editing") or {}).get("editor_model"),
            "editors": editor_yields(job_funnel(session, job).counts),
            "preset": job.config.get("preset"),
            "prompt_versions": job.prompt_versions,
            "config": job.config,
            "partial": job.partial,
        }

    def conditions(self) -> list[ColumnElement[bool]]:
        """Which pairs the configuration takes."""
        config = self.config
        found: list[ColumnElement[bool]] = [PairRow.type.in_(config.types), not_retracted()]
        if config.kinds is not None:
            found.append(or_(PairRow.type != "step", PairRow.error_kind.in_(config.kinds)))
        if config.require_evidence:
            proof = sorted(kind for kind in EvidenceKind if kind is not EvidenceKind.UNPROVEN)
            found.append(or_(PairRow.type != "step", PairRow.evidence_kind.in_(proof)))
        return found

    def problem_count(self, session: Session) -> int:
        """How many problems gave pairs."""
        query = select(func.count(distinct(PairRow.problem_id)))
        return session.scalar(query.where(PairRow.job_id.in_(self.config.jobs), *self.conditions())) or 0

    def split(self, question: str) -> Split:
        """The side of a question: near-duplicates fall on one."""
        return split_of(self.side_of(question), self.config.split.test, self.config.seed)


def freeze(context: StageContext) -> Finish:
    """Write the dataset's folder, then its row. An impossible selection fails the dataset at once."""
    files = FileStore(context.store.files)
    dataset_id = context.lease.owner_id
    try:
        with files.scratch() as folder:
            with context.db.read() as session:
                chosen = DatasetSelection(session, dataset_id)
                manifest = _build(context, session, chosen, folder)
            values = publish_dataset(files, dataset_id, folder, manifest)
    except SelectionImpossible as error:
        return fail_dataset(dataset_id, str(error))
    except GatesRefuse as error:
        return fail_dataset(dataset_id, str(error), error.reports)
    sources = [{"dataset_id": dataset_id, "job_id": job.id} for job in chosen.jobs]

    def write(session: Session) -> None:
        insert_ignore(session, DatasetSource, sources)
        update_by_key(session, Dataset, [{"id": dataset_id, **values}])

    return Finish(None, write)


def fail_dataset(dataset_id: str, reason: str, gates: dict[str, Any] | None = None) -> Finish:
    """The shard is done and the dataset failed: an impossible selection is no failure to try again.

    ``gates``: the reports of gates that refused it, kept as an event.
    """

    def write(session: Session) -> None:
        if move(session, Dataset, dataset_id, JobState.FAILED, error=reason):
            dataset = session.get_one(Dataset, dataset_id)
            if gates is not None:
                record(session, dataset.workspace_id, dataset_id, "gates_refused", gates=gates)
            record(session, dataset.workspace_id, dataset_id, "failed", error=reason)

    return Finish(None, write)


def _build(context: StageContext, session: Session, chosen: DatasetSelection, folder: Path) -> dict[str, Any]:
    """Write every table, the card and the manifest; the answer is the manifest."""
    with_samples = any(shape.samples is not None for shape in chosen.shapes)
    with DatasetGates(chosen.config.gates, folder.parent, context.cancelled) as gates:
        gates.take_questions(questions_of(session, chosen.jobs, chosen.conditions(), samples=with_samples))
        chosen.side_of = gates.side_of
        files = _write_tables(context, session, chosen, folder, gates)
        audit = files.auditor.report()
        found = gates.reports(context, session, chosen.jobs, audit)
    return _describe(context, session, chosen, folder, files, audit, found)


def _write_tables(
    context: StageContext, session: Session, chosen: DatasetSelection, folder: Path, gates: DatasetGates
) -> DatasetFiles:
    with DatasetFiles(folder, chosen.shapes) as files:
        for job, lineage in zip(chosen.jobs, chosen.lineage, strict=True):
            before = files.counts.pairs
            _write_job(context, session, chosen, job, files, gates)
            lineage["pairs"] = files.counts.pairs - before
    if files.counts.pairs == 0:
        raise SelectionImpossible(
            "the selection holds no pairs: loosen 'types', 'kinds' or 'require_evidence', or name other jobs"
        )
    if ("steps_and_full", "train") not in files.tables:
        raise SelectionImpossible("every pair fell into the test split: lower 'split.test' or change 'seed'")
    return files


def _describe(
    context: StageContext,
    session: Session,
    chosen: DatasetSelection,
    folder: Path,
    files: DatasetFiles,
    audit: dict[str, Any],
    gates: dict[str, Any],
) -> dict[str, Any]:
    """Write the card; the answer is the manifest."""
    counts, written = files.counts, files.tables
    rows_of = {
        shape.name: {split: written[shape.name, split].rows for split in SPLITS if (shape.name, split) in written}
        for shape in chosen.shapes
        if any((shape.name, split) in written for split in SPLITS)  # tables without rows have no files
    }
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "name": chosen.dataset.name,
        "config": chosen.config.model_dump(mode="json") | {"shapes": [shape.name for shape in chosen.shapes]},
        "chat_template": chosen.chat_template,
        "default_shape": default_shape(has_train_rows(rows_of), chat_template=chosen.chat_template),
        "rows": rows_of,
        "counts": {"pairs": counts.pairs, "problems": chosen.problem_count(session), **counts.as_dict()},
        "lineage": chosen.lineage,
        "gates": gates,
        "audit": audit,
        "audit_by_kind": files.auditor.by_kind(),
        "whole": files.rests.report(),
        "capped_kinds": _capped(chosen),
    }
    if retracted := retractions_in(session, chosen.config.jobs):
        manifest["retracted"] = retracted
    (folder / "README.md").write_text(render_card(manifest), encoding="utf-8", newline="\n")
    rows = {path.relative_to(folder).as_posix(): table.rows for table in written.values() for path in table.paths}
    rows |= write_recipes(folder, manifest["rows"], context.cancelled)
    manifest["files"] = list_files(folder, extra={name: {"rows": count} for name, count in rows.items()})
    return manifest


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


def _write_job(
    context: StageContext,
    session: Session,
    chosen: DatasetSelection,
    job: InjectionJob,
    files: DatasetFiles,
    gates: DatasetGates,
) -> None:
    """The rows of one job, in the order of its problems."""
    shards = session.scalars(select(Shard.id).where(Shard.injection_job_id == job.id).order_by(Shard.position)).all()
    domain = chosen.domains[job.id]
    thoughts = InjectionConfig.model_validate(job.config).thoughts.in_steps
    with_samples = [shape for shape in chosen.shapes if shape.samples is not None]
    whole = any(shape.ends == "answer" for shape in chosen.shapes)
    conditions = chosen.conditions()
    for shard_id in shards:
        if context.cancelled():
            raise Cancelled
        older = older_rests(context, session, shard_id, conditions, Domain(domain), thoughts) if whole else {}
        for pair in _pairs(session, shard_id, conditions):
            gates.add_pair(pair.id, pair.question, pair.prefix, pair.chosen, pair.rejected)
            record = _record(pair, domain, thoughts, _rest(chosen.config, pair, older))
            files.add_pair(pair, record, chosen.split(pair.question))
        for sample, cut in _samples(session, shard_id, domain) if with_samples else ():
            files.add_sample(sample, chosen.split(sample.question), with_samples, cut=cut)


def _rest(config: DatasetConfig, pair: PairRow, older: dict[str, Rest]) -> Rest | None:
    rest = older.get(pair.id) if pair.rest is None else Rest.from_dict(pair.rest)
    return allowing_right_answers(rest) if rest is not None and config.whole_right_answers else rest


def _pairs(session: Session, shard_id: str, conditions: list[ColumnElement[bool]]) -> Iterator[PairRow]:
    """A shard's pairs, by problem and then in an order that depends on what they say and not on their ids."""
    query = (
        select(ProblemRow.position, SolutionRow.sample_index, PairRow)
        .join(ProblemRow, ProblemRow.id == PairRow.problem_id)
        .join(SolutionRow, SolutionRow.id == PairRow.solution_id)
        .where(PairRow.shard_id == shard_id, *conditions)
        .order_by(ProblemRow.position)
        .execution_options(yield_per=_PAGE)
    )
    # One problem's pairs at a time are sorted in memory. Ids are random, so they decide last: two jobs with one seed
    # give the same files.
    for _, group in groupby(session.execute(query), key=lambda row: row[0]):
        yield from (pair for _, _, pair in sorted(group, key=_content_order))


def _content_order(row: Any) -> tuple[Any, ...]:
    _, sample, pair = row
    step = -1 if pair.step_index is None else pair.step_index
    return (sample, pair.type == "full", step, pair.error_kind or "", pair.rejected, pair.id)


def _samples(session: Session, shard_id: str, domain: str) -> Iterator[tuple[SampleRecord, bool]]:
    """A shard's correct samples, and whether each was cut at its limit."""
    query = (
        select(
            *(ProblemRow.question, SolutionRow.text, SolutionRow.problem_id, SolutionRow.job_id),
            SolutionRow.finish_reason,
        )
        .join(ProblemRow, ProblemRow.id == SolutionRow.problem_id)
        .where(SolutionRow.shard_id == shard_id, SolutionRow.verdict == Verdict.CORRECT, not_retracted(SolutionRow))
        .order_by(ProblemRow.position, SolutionRow.sample_index)
        .execution_options(yield_per=_PAGE)
    )
    for question, text, problem_id, job_id, finish_reason in session.execute(query):
        yield SampleRecord(question, text, problem_id, job_id, domain), finish_reason == CUT


def _record(pair: PairRow, domain: str, thoughts: Markers, rest: Rest | None) -> PairRecord:
    same = ("type", "question", "prefix", "chosen", "rejected", "step_index", "start", "end", "error_kind", "distance")
    more = ("form", "editor", "source", "problem_id", "job_id", "language_model", "prompt_version", "seed")
    return PairRecord(
        pair_id=pair.id,
        evidence=pair.evidence_kind,
        evidence_detail=evidence_text(pair.evidence),
        domain=domain,
        thoughts=thoughts,
        rest=rest,
        **{name: getattr(pair, name) for name in (*same, *more)},
    )


def publish_dataset(files: FileStore, dataset_id: str, folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
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
