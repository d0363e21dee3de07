"""``/v1/fine_tuning/jobs``: training runs under OpenAI's names. There is no other engine behind them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated

from fastapi import Path, Query
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.http.audit import concerns
from api.http.auth import Caller, Reader, Trainer
from api.http.errors import documented
from api.http.idempotency import IdempotencyDep
from api.http.routing import Api, ApiDep, make_router
from api.openai import checkpoints, events
from api.openai.answers import answer, answers, find_job
from api.openai.creation import create
from api.openai.ids import After, Keys, Page, anchor, row_id, rows_behind
from api.openai.schemas import FineTuningJob, FineTuningJobIn, JobCheckpoint, JobEvent
from api.training.routes import cancel_run, move_run
from models import uploads
from models.outputs import TrainingRun
from workers.dispatch import Hint

router = make_router("/v1/fine_tuning/jobs", "openai fine-tuning")
JobId = Annotated[str, Path(max_length=100)]
Limit = Annotated[int, Query(ge=1, le=100, description="Rows per page.")]
_KEYS = Keys(TrainingRun.created_at, TrainingRun.id)


@router.post("", responses=documented(404, 408, 409, 413, 415, 429))
def create_fine_tuning_job(caller: Trainer, api: ApiDep, who: IdempotencyDep, body: FineTuningJobIn) -> FineTuningJob:
    """Fine-tune a model on an uploaded file, by DPO or supervised. The job waits while the file becomes a dataset."""
    run_id = create(api, who, caller.workspace_id, body)
    with api.db.read() as session:
        return answer(session, session.get_one(TrainingRun, run_id), session.get_one(uploads.FineTuningJob, run_id))


@router.get("")
def list_fine_tuning_jobs(caller: Reader, api: ApiDep, after: After = None, limit: Limit = 20) -> Page[FineTuningJob]:
    """Fine-tuning jobs, newest first. Training jobs that were made otherwise are not among them."""
    job = uploads.FineTuningJob
    own = (TrainingRun.workspace_id == caller.workspace_id, job.run_id == TrainingRun.id)
    with api.db.read() as session:
        at = anchor(session, _KEYS, *own, TrainingRun.id == (row_id(after) or "")) if after else None
        rows, more = rows_behind(session, select(TrainingRun, job).where(*own), _KEYS, at, limit)
        return Page[FineTuningJob].of(answers(session, [(run, asked) for run, asked in rows]), has_more=more)


@router.get("/{fine_tuning_job_id}", responses=documented(404))
def retrieve_fine_tuning_job(caller: Reader, api: ApiDep, fine_tuning_job_id: JobId) -> FineTuningJob:
    """One fine-tuning job, with its estimated end."""
    with api.db.read() as session:
        return answer(session, *find_job(session, fine_tuning_job_id, caller.workspace_id))


@router.post("/{fine_tuning_job_id}/cancel", responses=documented(404, 409))
def cancel_fine_tuning_job(caller: Trainer, api: ApiDep, fine_tuning_job_id: JobId) -> FineTuningJob:
    """Stop a job for good. Its checkpoints stay."""
    return _change(api, caller, fine_tuning_job_id, partial(cancel_run, keep=True))


@router.post("/{fine_tuning_job_id}/pause", responses=documented(404, 409))
def pause_fine_tuning_job(caller: Trainer, api: ApiDep, fine_tuning_job_id: JobId) -> FineTuningJob:
    """Let a job write a checkpoint and wait."""
    return _change(api, caller, fine_tuning_job_id, move_run("pause"))


@router.post("/{fine_tuning_job_id}/resume", responses=documented(404, 409))
def resume_fine_tuning_job(caller: Trainer, api: ApiDep, fine_tuning_job_id: JobId) -> FineTuningJob:
    """Let a paused job go on."""
    return _change(api, caller, fine_tuning_job_id, move_run("resume"))


def _change(api: Api, caller: Caller, public: str, act: Callable[[Session, TrainingRun], list[Hint]]) -> FineTuningJob:
    with api.db.begin() as session:
        run, asked = find_job(session, public, caller.workspace_id)
        concerns(run.id)
        hints = act(session, run)
        session.flush()
        session.refresh(run)
        told = answer(session, run, asked)
    api.dispatcher.send(hints)
    return told


@router.get("/{fine_tuning_job_id}/events", responses=documented(404))
def list_fine_tuning_events(
    caller: Reader, api: ApiDep, fine_tuning_job_id: JobId, after: After = None, limit: Limit = 20
) -> Page[JobEvent]:
    """What happened to a job and its metrics by step, newest first."""
    with api.db.read() as session:
        run, _ = find_job(session, fine_tuning_job_id, caller.workspace_id)
        return events.page(session, run, after, limit)


@router.get("/{fine_tuning_job_id}/checkpoints", responses=documented(404))
def list_fine_tuning_checkpoints(
    caller: Reader, api: ApiDep, fine_tuning_job_id: JobId, after: After = None, limit: Limit = 10
) -> Page[JobCheckpoint]:
    """The checkpoints of a job that are kept, newest first."""
    with api.db.read() as session:
        run, _ = find_job(session, fine_tuning_job_id, caller.workspace_id)
        return checkpoints.page(session, run, after, limit)
