"""What a dataset is frozen from: its jobs and datasets, checked again, with the conditions that its filters are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from errata.config import InjectionConfig
from errata.funnel import editor_yields
from errata.imports.mixing import imports_of, unanswered, why_not_mixed
from errata.output_config import DatasetConfig
from errata.seeds import Split, split_of
from errata.shapes import SHAPES, shapes_of
from errata.thoughts import THOUGHTS, Markers
from models.curation import retracted_ids, retractions_in
from models.jobs import InjectionJob
from models.outputs import Dataset, DatasetSource
from models.pair_filters import pair_conditions
from models.results import job_funnel
from models.states import TERMINAL, JobState
from models.workspaces import LanguageModel, ProblemSet
from workers.dataset_templates import trained_with_template


class SelectionImpossible(Exception):
    """The configuration selects nothing that can be frozen. Trying again does not help; the message says what would."""


class DatasetSelection:
    """What is frozen: the dataset's row, its configuration and its sources, read once.

    ``side_of``: which question decides the side of a question, so that near-duplicates fall on one; by default itself.
    ``source_jobs``: every job whose pairs may be in it. ``retracted``: what was retracted of these, for the manifest;
    ``taken_back``: ids of all retracted problems and jobs.
    """

    def __init__(self, session: Session, dataset_id: str) -> None:
        self.dataset = session.get_one(Dataset, dataset_id)
        self.config = DatasetConfig.model_validate(self.dataset.config)
        self.jobs = [self._job(session, job_id) for job_id in self.config.jobs]
        self.mixed = [self._mixed(session, mixed.id) for mixed in self.config.datasets]
        self.domains = {job.id: session.get_one(ProblemSet, job.problem_set_id).domain for job in self.jobs}
        self.lineage = [job_lineage(session, job) for job in self.jobs]
        self.source_jobs = self._source_jobs(session)
        self.imports = [entry for dataset in self.mixed for entry in _imports(dataset)]
        self.chat_template = trained_with_template(session, self.source_jobs) or bool(self.imports)
        self.shapes = [SHAPES[name] for name in shapes_of(self.config.shapes, chat_template=self.chat_template)]
        self.retracted = retractions_in(session, [job.id for job in self.source_jobs])
        self.taken_back = retracted_ids(session, self.dataset.workspace_id)
        self.side_of: Callable[[str], str] = itself
        self._split = (self.config.split.test, self.config.seed)
        self._thoughts = {job.id: _markers(job.config) for job in self.source_jobs}

    def _job(self, session: Session, job_id: str) -> InjectionJob:
        job = session.get(InjectionJob, job_id)
        if job is None or job.workspace_id != self.dataset.workspace_id:
            raise SelectionImpossible(f"there is no injection job {job_id}")
        if job.state not in TERMINAL:
            raise SelectionImpossible(f"injection job {job_id} is {job.state}: freeze its pairs once it has ended")
        return job

    def _mixed(self, session: Session, dataset_id: str) -> Dataset:
        dataset = session.get(Dataset, dataset_id)
        if dataset is None or dataset.workspace_id != self.dataset.workspace_id:
            raise SelectionImpossible(f"there is no dataset {dataset_id}")
        if dataset.state != JobState.SUCCEEDED or not dataset.folder:
            raise SelectionImpossible(
                f"dataset {dataset_id} is {dataset.state}: it can be mixed in once it has succeeded"
            )
        refused = why_not_mixed(dataset.config["import"]) if dataset.config.get("import") else None
        if refused is not None:
            raise SelectionImpossible(f"dataset {dataset_id} was imported and cannot be mixed in: {refused[0]}")
        unknown = unanswered(self.config, dataset.manifest or {}) if imports_of(dataset.manifest) else None
        if unknown is not None:
            raise SelectionImpossible(f"{unknown[0]}: dataset {dataset_id} cannot answer it: {unknown[1]}")
        return dataset

    def _source_jobs(self, session: Session) -> list[InjectionJob]:
        """Every job whose pairs may be in the dataset, also by way of another dataset."""
        mixed = [dataset.id for dataset in self.mixed]
        query = select(DatasetSource.job_id).where(DatasetSource.dataset_id.in_(mixed)).order_by(DatasetSource.job_id)
        others = dict.fromkeys(job_id for job_id in session.scalars(query) if job_id not in self.config.jobs)
        found = (session.get(InjectionJob, job_id) for job_id in others)
        return [*self.jobs, *(job for job in found if job is not None)]

    @property
    def with_samples(self) -> bool:
        """Whether a shape is made of correct samples."""
        return any(shape.samples is not None for shape in self.shapes)

    @property
    def with_rests(self) -> bool:
        """Whether a shape ends at an answer, so that what follows a pair's step is written too."""
        return any(shape.ends == "answer" and shape.samples is None for shape in self.shapes)

    def thoughts(self, job_id: str) -> Markers:
        """The markers that a job's steps are cut by; the usual ones for a job that is not known any more."""
        return self._thoughts.get(job_id, THOUGHTS)

    def split(self, question: str) -> Split:
        """The side of a question: near-duplicates fall on one."""
        return split_of(self.side_of(question), *self._split)

    def conditions(self) -> list[ColumnElement[bool]]:
        """Which pairs of the jobs the filters take."""
        return pair_conditions(self.config)


def _imports(dataset: Dataset) -> list[dict[str, Any]]:
    """The imported files whose rows a dataset holds, each with the dataset that it became."""
    return [{"dataset": dataset.id, "name": dataset.name, **entry} for entry in imports_of(dataset.manifest)]


def itself(question: str) -> str:
    """Every question decides its own side."""
    return question


def _markers(config: dict[str, Any]) -> Markers:
    return InjectionConfig.model_validate(config).thoughts.in_steps


def job_lineage(session: Session, job: InjectionJob) -> dict[str, Any]:
    """Where a job's pairs come from, for the manifest."""
    model = session.get(LanguageModel, job.language_model_id) if job.language_model_id else None
    problem_set = session.get_one(ProblemSet, job.problem_set_id)
    return {
        "job_id": job.id,
        "problem_set_id": problem_set.id,
        "problem_set": problem_set.name,
        "problem_set_sha256": problem_set.content_sha256,
        "license": problem_set.license,
        "source_url": problem_set.source_url,
        "language_model": model.name if model else None,
        "language_model_fingerprint": model.fingerprint if model else None,
        "editor_model": (job.config.get("editing") or {}).get("editor_model"),
        "editors": editor_yields(job_funnel(session, job).counts),
        "preset": job.config.get("preset"),
        "prompt_versions": job.prompt_versions,
        "config": job.config,
        "partial": job.partial,
    }
