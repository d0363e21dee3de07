"""``/v1/training-jobs``: starting, watching, pausing and ending training runs. The trainer daemon finds them itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response
from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from api.http import events
from api.http.auth import Reader, Trainer
from api.http.errors import Conflict, Invalid, documented
from api.http.events import EVENT_RESPONSES, EventOut, LastEventId
from api.http.idempotency import IdempotencyDep, once
from api.http.routing import ApiDep, accepted
from api.http.routing import router as make_router
from api.http.rows import Listing, PageDep, paginate, path_row
from api.pace import seconds_left, seconds_per_step
from api.registry import model_names, visible
from api.schemas.training import CheckpointOut, MetricOut, TrainingJobIn, TrainingJobOut
from api.training import named_inputs, resolve_config
from models.base import new_id
from models.events import record
from models.language_models import LanguageModel
from models.outputs import Checkpoint, Metric, TrainingRun
from models.run_leases import end_unheld, request_cancel, request_pause, request_resume
from models.states import TERMINAL, TrainingState
from workers.dispatch import TrainingConfig

router = make_router("/v1/training-jobs", "training jobs")


@router.post("", status_code=202, responses=documented(409, 413, 415))
def create_training_job(
    caller: Trainer, api: ApiDep, who: IdempotencyDep, body: TrainingJobIn, response: Response
) -> TrainingJobOut:
    """Train a language model on a frozen dataset."""
    config = resolve_config(body)
    with api.db.begin() as session:

        def make() -> str:
            return _new(session, caller.workspace_id, body, config).id

        run_id, new = once(session, api, who, caller.workspace_id, body.model_dump(mode="json"), make)
        answer = _one(session, session.get_one(TrainingRun, run_id, populate_existing=True))
    accepted(response, f"/v1/training-jobs/{run_id}", replayed=not new)
    return answer


def _new(session: Session, workspace_id: str, body: TrainingJobIn, config: TrainingConfig) -> TrainingRun:
    dataset, base = named_inputs(session, workspace_id, body)
    _check_output_name(session, workspace_id, body.output_name)
    run = TrainingRun(
        id=new_id("train"),
        workspace_id=workspace_id,
        dataset_id=dataset.id,
        base_model_id=base.id,
        output_name=body.output_name,
        config=config.model_dump(mode="json"),
    )
    session.add(run)
    session.flush()
    record(session, workspace_id, run.id, "queued")
    return run


def _check_output_name(session: Session, workspace_id: str, name: str) -> None:
    """A name must mean one model: neither one that exists nor one that is being trained."""
    taken = select(LanguageModel.id).where(LanguageModel.name == name, visible(workspace_id))
    coming = select(TrainingRun.id).where(
        TrainingRun.workspace_id == workspace_id,
        TrainingRun.output_name == name,
        TrainingRun.state.not_in(sorted(TERMINAL)),
    )
    if session.scalar(select(exists(taken))) or session.scalar(select(exists(coming))):
        raise Invalid.field("output_name", "this name is taken by another language model", "choose a new name")


def _one(session: Session, run: TrainingRun) -> TrainingJobOut:
    pace = seconds_per_step(session, run)
    more = {"seconds_per_step": pace, "eta_seconds": seconds_left(run, pace)}
    return TrainingJobOut.of(run, _names(session, [run]), queue_position=_queue_position(session, run), **more)


def _queue_position(session: Session, run: TrainingRun) -> int | None:
    if run.state != TrainingState.QUEUED:
        return None
    ahead = select(func.count()).where(
        TrainingRun.state == TrainingState.QUEUED,
        (TrainingRun.created_at < run.created_at)
        | ((TrainingRun.created_at == run.created_at) & (TrainingRun.id < run.id)),
    )
    return 1 + (session.scalar(ahead) or 0)


def _names(session: Session, runs: Sequence[TrainingRun]) -> dict[str, str]:
    ids: list[str | None] = [row_id for run in runs for row_id in (run.base_model_id, run.output_model_id)]
    return model_names(session, ids)


@router.get("")
def list_training_jobs(
    caller: Reader, api: ApiDep, page: PageDep, state: Annotated[TrainingState | None, Query()] = None
) -> Listing[TrainingJobOut]:
    """Training jobs, newest first."""
    query = select(TrainingRun).where(TrainingRun.workspace_id == caller.workspace_id)
    if state is not None:
        query = query.where(TrainingRun.state == state)
    with api.db.read() as session:
        found = paginate(session, query, (TrainingRun.created_at, TrainingRun.id), page, descending=True)
        names = _names(session, found.rows)
        data = [TrainingJobOut.of(row, names) for row in found.rows]
    return Listing(data=data, has_more=bool(found.next), next=found.next)


@router.get("/{run_id}", responses=documented(404))
def get_training_job(caller: Reader, api: ApiDep, run_id: str) -> TrainingJobOut:
    """One training job with pace and ETA."""
    with api.db.read() as session:
        return _one(session, path_row(session, TrainingRun, run_id, caller.workspace_id))


@router.post("/{run_id}/cancel", status_code=202, responses=documented(404, 409))
def cancel_training_job(
    caller: Trainer,
    api: ApiDep,
    run_id: str,
    response: Response,
    keep: Annotated[
        bool | None,
        Query(description="Write a last checkpoint and keep those there are (default: true; asked again: as before)."),
    ] = None,
) -> TrainingJobOut:
    """Ask a training job to stop for good."""
    return _change(caller.workspace_id, api, run_id, response, "cancel", keep=keep)


@router.post("/{run_id}/pause", status_code=202, responses=documented(404, 409))
def pause_training_job(caller: Trainer, api: ApiDep, run_id: str, response: Response) -> TrainingJobOut:
    """Ask a training job to write a checkpoint and wait."""
    return _change(caller.workspace_id, api, run_id, response, "pause")


@router.post("/{run_id}/resume", status_code=202, responses=documented(404, 409))
def resume_training_job(caller: Trainer, api: ApiDep, run_id: str, response: Response) -> TrainingJobOut:
    """Let a paused training job go on from its last good checkpoint."""
    return _change(caller.workspace_id, api, run_id, response, "resume")


def _change(
    workspace_id: str,
    api: ApiDep,
    run_id: str,
    response: Response,
    what: Literal["cancel", "pause", "resume"],
    *,
    keep: bool | None = None,
) -> TrainingJobOut:
    with api.db.begin() as session:
        run = path_row(session, TrainingRun, run_id, workspace_id)
        if run.state == TrainingState.CANCELLING and what == "cancel":
            run.keep_on_cancel = run.keep_on_cancel if keep is None else keep
            moved = True
        elif what == "cancel":
            moved = request_cancel(session, run.id, keep=keep is not False)
        else:
            moved = request_pause(session, run.id) if what == "pause" else request_resume(session, run.id)
        if not moved:
            raise Conflict(f"cannot {what} a training job that is {run.state}")
        record(session, workspace_id, run.id, {"cancel": "cancelling", "pause": "paused", "resume": "queued"}[what])
        session.flush()
        ended = what == "cancel" and end_unheld(session, run.id)
        run = session.get_one(TrainingRun, run_id, populate_existing=True)
        if ended:
            record(session, workspace_id, run.id, "training.cancelled", kept=run.keep_on_cancel)
        answer = _one(session, run)
    accepted(response, f"/v1/training-jobs/{run_id}")
    return answer


@router.get("/{run_id}/metrics", responses=documented(404))
def list_metrics(
    caller: Reader,
    api: ApiDep,
    run_id: str,
    page: PageDep,
    phase: Annotated[str | None, Query(max_length=50, pattern=r"^[a-z_-]+$")] = None,
) -> Listing[MetricOut]:
    """Metrics by optimizer step."""
    with api.db.read() as session:
        run = path_row(session, TrainingRun, run_id, caller.workspace_id)
        query = select(Metric).where(Metric.run_id == run.id)
        if phase is not None:
            query = query.where(Metric.phase == phase)
        found = paginate(session, query, (Metric.step, Metric.phase), page)
    return Listing(data=[MetricOut.of(row) for row in found.rows], has_more=bool(found.next), next=found.next)


@router.get("/{run_id}/checkpoints", responses=documented(404))
def list_checkpoints(caller: Reader, api: ApiDep, run_id: str, page: PageDep) -> Listing[CheckpointOut]:
    """Checkpoints by step."""
    with api.db.read() as session:
        run = path_row(session, TrainingRun, run_id, caller.workspace_id)
        query = select(Checkpoint).where(Checkpoint.run_id == run.id)
        found = paginate(session, query, (Checkpoint.step,), page)
    return Listing(data=[CheckpointOut.of(row) for row in found.rows], has_more=bool(found.next), next=found.next)


@router.get("/{run_id}/events", responses=EVENT_RESPONSES, response_model=Listing[EventOut])
def list_training_job_events(
    request: Request, caller: Reader, api: ApiDep, run_id: str, page: PageDep, last_event_id: LastEventId = None
) -> Any:
    """What happened to the training job: a list, or a stream."""
    return events.answer(request, api, TrainingRun, run_id, caller.workspace_id, page, last_event_id)
