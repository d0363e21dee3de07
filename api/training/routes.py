"""``/v1/training-jobs``: starting, previewing, watching, pausing and ending training runs.

The trainer daemon finds the runs itself: no hints are sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import Query, Response
from pydantic import ValidationError
from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from api.http.auth import Reader, Trainer
from api.http.errors import Conflict, Invalid, TooManyRequests, documented, invalid
from api.http.routing import ApiDep, accepted
from api.http.routing import router as make_router
from api.http.rows import Listing, PageDep, body_row, paginate, path_row
from api.jobs import JobResource
from api.language_models import body_model, model_names, visible
from api.pace import seconds_left, seconds_per_step
from api.training.schemas import (
    CheckpointOut,
    MetricOut,
    TrainingInputs,
    TrainingJobIn,
    TrainingJobOut,
    TrainingPreviewIn,
    TrainingPreviewOut,
)
from models.base import new_id
from models.events import record
from models.language_models import LanguageModel
from models.outputs import Checkpoint, Dataset, Metric, TrainingRun
from models.run_leases import end_unheld, request_cancel, request_pause, request_resume
from models.states import TERMINAL, JobState, TrainingState
from workers.dispatch import (
    TRAINING_PRESETS,
    Hint,
    PreviewFailed,
    TrainingConfig,
    TrainingRefused,
    prepare_preview,
    preview_training,
    resolve_training,
)

router = make_router("/v1", "training jobs")


def resolve_config(body: TrainingInputs) -> TrainingConfig:
    """The complete configuration a request asks for. Raises Invalid naming the field."""
    if body.preset not in TRAINING_PRESETS:
        raise Invalid.field("preset", "there is no preset of this name", f"give one of {', '.join(TRAINING_PRESETS)}")
    if "preset" in body.config:
        raise Invalid.field("config.preset", "the preset is not part of its overrides", "give it as `preset`")
    try:
        return resolve_training(body.preset, body.config)
    except ValidationError as error:
        raise invalid(error.errors(), prefix=["config"]) from None


def named_inputs(session: Session, workspace_id: str, body: TrainingInputs) -> tuple[Dataset, LanguageModel]:
    """The dataset and the base model a request names. Raises Invalid naming the field, and Conflict."""
    dataset = body_row(session, Dataset, body.dataset, workspace_id, "dataset")
    if dataset.state != JobState.SUCCEEDED:
        raise Conflict(f"dataset: it is {dataset.state}; train on it once it has succeeded")
    base = body_model(session, body.base_model, workspace_id, "base_model")
    if not base.config.get("path"):
        raise Invalid.field(
            "base_model",
            f"its entry (engine {base.engine}) names no weights to train",
            "give it the setting `path`: the weights its server was started with",
        )
    if base.config.get("adapter"):
        raise Invalid.field("base_model", "it is an adapter", "start from its base, or merge it (`lora.merge`) first")
    return dataset, base


def new_training_job(session: Session, workspace_id: str, body: TrainingJobIn) -> tuple[TrainingRun, list[Hint]]:
    """Add a training run in the caller's transaction. Raises Invalid naming the field, and Conflict."""
    config = resolve_config(body)
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
    return run, []


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


def _answer(session: Session, run: TrainingRun) -> TrainingJobOut:
    rate = seconds_per_step(session, run)
    return TrainingJobOut.of(
        run,
        **_names(session, [run])[0],
        seconds_per_step=rate,
        eta_seconds=seconds_left(run, rate),
        queue_position=_queue_position(session, run),
    )


def _answers(session: Session, runs: Sequence[TrainingRun]) -> list[TrainingJobOut]:
    unknown = {"seconds_per_step": None, "eta_seconds": None, "queue_position": None}
    return [TrainingJobOut.of(run, **names, **unknown) for run, names in zip(runs, _names(session, runs), strict=True)]


def _queue_position(session: Session, run: TrainingRun) -> int | None:
    if run.state != TrainingState.QUEUED:
        return None
    ahead = select(func.count()).where(
        TrainingRun.state == TrainingState.QUEUED,
        (TrainingRun.created_at < run.created_at)
        | ((TrainingRun.created_at == run.created_at) & (TrainingRun.id < run.id)),
    )
    return 1 + (session.scalar(ahead) or 0)


def _names(session: Session, runs: Sequence[TrainingRun]) -> list[dict[str, str | None]]:
    """Of each run the names of the language model it starts from and of the one it made."""
    names = model_names(session, [row_id for run in runs for row_id in (run.base_model_id, run.output_model_id)])
    return [
        {"base_model": names.get(run.base_model_id, ""), "language_model": names.get(run.output_model_id or "")}
        for run in runs
    ]


jobs = JobResource(
    table=TrainingRun,
    body=TrainingJobIn,
    model=TrainingJobOut,
    name="training_job",
    noun="training job",
    id_name="run_id",
    caller=Trainer,
    create=new_training_job,
    answers=_answers,
    answer=_answer,
    states=TrainingState,
    texts={
        "create": "Train a language model on a frozen dataset.",
        "list": "Training jobs, newest first.",
        "get": "One training job with pace and ETA.",
    },
)
jobs.register(router)


@router.post("/training-jobs:preview", responses=documented(409, 413, 415, 429))
def preview_training_job(caller: Trainer, api: ApiDep, body: TrainingPreviewIn) -> TrainingPreviewOut:
    """What a training job would train on: tokens with the trained spans marked, counts and estimates. Makes no job."""
    config = resolve_config(body)
    with api.db.read() as session:
        dataset, base = named_inputs(session, caller.workspace_id, body)
        try:
            spec = prepare_preview(session, api.store, dataset.id, base.id, config)
        except TrainingRefused as error:
            raise Conflict(str(error)) from None
    if not api.previews.acquire(blocking=False):
        busy = f"{api.settings.previews} previews are being made; ask again when they are done"
        raise TooManyRequests(busy, headers={"Retry-After": "2"})
    try:
        answer = preview_training(spec, body.examples, api.settings.preview_seconds)
    except PreviewFailed as error:
        raise Conflict(f"{error}; the job itself may still be started") from None
    finally:
        api.previews.release()
    return TrainingPreviewOut(config=config.model_dump(mode="json"), **answer)


@router.post("/training-jobs/{run_id}/cancel", status_code=202, responses=documented(404, 409))
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


@router.post("/training-jobs/{run_id}/pause", status_code=202, responses=documented(404, 409))
def pause_training_job(caller: Trainer, api: ApiDep, run_id: str, response: Response) -> TrainingJobOut:
    """Ask a training job to write a checkpoint and wait."""
    return _change(caller.workspace_id, api, run_id, response, "pause")


@router.post("/training-jobs/{run_id}/resume", status_code=202, responses=documented(404, 409))
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
        answer = _answer(session, run)
    accepted(response, f"/v1/training-jobs/{run_id}")
    return answer


@router.get("/training-jobs/{run_id}/metrics", responses=documented(404))
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
    return found.listing(MetricOut.of)


@router.get("/training-jobs/{run_id}/checkpoints", responses=documented(404))
def list_checkpoints(caller: Reader, api: ApiDep, run_id: str, page: PageDep) -> Listing[CheckpointOut]:
    """Checkpoints by step."""
    with api.db.read() as session:
        run = path_row(session, TrainingRun, run_id, caller.workspace_id)
        query = select(Checkpoint).where(Checkpoint.run_id == run.id)
        found = paginate(session, query, (Checkpoint.step,), page)
    return found.listing(CheckpointOut.of)
