"""What is told of fine-tuning jobs: training runs with what they were asked for, as OpenAI tells jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.http.errors import NotFound
from api.language_models import model_names
from api.openai import schemas
from api.openai.ids import public_id, row_id, unix
from api.openai.results import result_id
from api.openai.settings import suffix_of
from api.progress import seconds_left, seconds_per_step
from models.base import db_now
from models.outputs import Dataset, Metric, TrainingRun
from models.states import TERMINAL, TrainingState
from models.uploads import FineTuningJob

Status = Literal["validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled"]
_STATUS: dict[str, Status] = {
    TrainingState.QUEUED: "queued",
    TrainingState.VALIDATING: "running",  # its process loads the model: in OpenAI's order files come before the queue
    TrainingState.RUNNING: "running",
    TrainingState.PAUSED: "paused",
    TrainingState.CANCELLING: "cancelled",  # it will be nothing else
    TrainingState.SUCCEEDED: "succeeded",
    TrainingState.FAILED: "failed",
    TrainingState.CANCELLED: "cancelled",
}


def status_of(run: TrainingRun, dataset: Dataset) -> Status:
    """The status of a job in OpenAI's words; while its files become a dataset it is ``validating_files``."""
    if run.state == TrainingState.QUEUED and dataset.state not in TERMINAL:
        return "validating_files"
    return _STATUS[run.state]


def find_job(session: Session, public: str, workspace_id: str) -> tuple[TrainingRun, FineTuningJob]:
    """The job a path names. Raises NotFound; a job of another workspace is not found either."""
    found = row_id(public) if public.startswith("ftjob-") else None
    run = session.get(TrainingRun, found) if found else None
    asked = session.get(FineTuningJob, run.id) if run is not None and run.workspace_id == workspace_id else None
    if run is None or asked is None:
        raise NotFound("there is no such fine-tuning job; see GET /v1/fine_tuning/jobs")
    return run, asked


def answer(session: Session, run: TrainingRun, asked: FineTuningJob) -> schemas.FineTuningJob:
    """One job, with its estimated end where it runs."""
    told = answers(session, [(run, asked)])[0]
    left = seconds_left(run, seconds_per_step(session, run))
    if left is not None:
        told.estimated_finish = unix(session.scalars(select(db_now())).one() + timedelta(seconds=left))
    return told


@dataclass(frozen=True)
class _Beside:
    """What stands in other tables about the jobs of a page."""

    names: dict[str, str]
    datasets: dict[str, Dataset]
    tokens: dict[str, int]


def answers(session: Session, jobs: Sequence[tuple[TrainingRun, FineTuningJob]]) -> list[schemas.FineTuningJob]:
    """The jobs of a page: a few statements, however many they are."""
    runs = [run for run, _ in jobs]
    wanted = select(Dataset).where(Dataset.id.in_([run.dataset_id for run in runs]))
    beside = _Beside(
        model_names(session, [row for run in runs for row in (run.base_model_id, run.output_model_id)]),
        {dataset.id: dataset for dataset in session.scalars(wanted)},
        _tokens(session, [run.id for run in runs if run.state in TERMINAL]),
    )
    return [_told(run, asked, beside) for run, asked in jobs]


def _tokens(session: Session, run_ids: Sequence[str]) -> dict[str, int]:
    total = func.sum(Metric.values["tokens"].as_float())
    query = select(Metric.run_id, total).where(Metric.run_id.in_(run_ids), Metric.phase == "train")
    return {run: int(count or 0) for run, count in session.execute(query.group_by(Metric.run_id))}


def _told(run: TrainingRun, asked: FineTuningJob, beside: _Beside) -> schemas.FineTuningJob:
    dataset = beside.datasets[run.dataset_id]
    status = status_of(run, dataset)
    succeeded = status == "succeeded"
    settings: dict[str, Any] = {asked.method: {"hyperparameters": asked.hyperparameters}}
    return schemas.FineTuningJob(
        id=public_id(run.id),
        created_at=unix(run.created_at),
        finished_at=unix(run.finished_at) if run.finished_at else None,
        error=_error(run, dataset) if status == "failed" else None,
        model=beside.names.get(run.base_model_id, ""),
        fine_tuned_model=beside.names.get(run.output_model_id or "") if succeeded else None,
        organization_id=run.workspace_id,
        status=status,
        hyperparameters=asked.hyperparameters,
        method=schemas.MethodOut(type=asked.method, **settings),
        training_file=asked.training_file,
        validation_file=asked.validation_file,
        result_files=[result_id(run)] if succeeded else [],
        trained_tokens=beside.tokens.get(run.id, 0) if run.state in TERMINAL else None,
        seed=run.config["seed"],
        metadata=asked.job_metadata,
        user_provided_suffix=suffix_of(run.output_name),
        training_job=run.id,
        dataset=run.dataset_id,
    )


def _error(run: TrainingRun, dataset: Dataset) -> schemas.JobError:
    if dataset.state in (TrainingState.FAILED, TrainingState.CANCELLED):
        why = dataset.error or f"its dataset {dataset.id} is {dataset.state}"
        return schemas.JobError(code="invalid_training_file", message=why, param="training_file")
    return schemas.JobError(code="training_failed", message=run.error or "it failed")
