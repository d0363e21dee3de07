"""``/v1/training-jobs``: starting, previewing, watching, pausing and ending training runs.

The trainer daemon finds the runs itself: no hints are sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Literal

from fastapi import Depends, Query, Response
from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from api.http.audit import leave_out
from api.http.auth import Reader, Trainer
from api.http.errors import Conflict, Invalid, TooManyRequests, documented
from api.http.routing import Api, ApiDep, make_router
from api.http.rows import Listing, PageDep, body_row, child_listing
from api.jobs import JobResource, resolved
from api.language_models import body_model, model_names, visible
from api.progress import queue_positions, seconds_left, seconds_per_step
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
from models.outputs import Checkpoint, Dataset, Metric, TrainingRun
from models.run_leases import end_unheld, request_cancel, request_pause, request_resume
from models.states import TERMINAL, JobState, TrainingState
from models.workspaces import LanguageModel
from workers.dispatch import (
    TRAINING_PRESETS,
    TRAINING_TABLES,
    Hint,
    PreviewFailed,
    TrainingConfig,
    TrainingRefused,
    fetch_dataset,
    prepare_preview,
    preview_training,
    resolve_training,
)

router = make_router("/v1", "training jobs")


def named_inputs(session: Session, workspace_id: str, body: TrainingInputs) -> tuple[Dataset, LanguageModel]:
    """The dataset and the base model a request names. Raises Invalid naming the field, and Conflict."""
    dataset = body_row(session, Dataset, body.dataset, workspace_id, "dataset")
    if dataset.state != JobState.SUCCEEDED:
        raise Conflict(f"dataset: it is {dataset.state}; train on it once it has succeeded")
    return dataset, trainable_model(session, body.base_model, workspace_id, "base_model")


def trainable_model(session: Session, name: str, workspace_id: str, field: str) -> LanguageModel:
    """The base model that a body's field names. Raises Invalid naming the field."""
    base = body_model(session, name, workspace_id, field)
    if not base.config.get("path"):
        raise Invalid.field(
            field,
            f"its entry (engine {base.engine}) names no weights to train",
            "give it the setting `path`: the weights its server was started with",
        )
    if base.config.get("adapter"):
        raise Invalid.field(field, "it is an adapter", "start from its base, or merge it (`lora.merge`) first")
    return base


def new_training_job(session: Session, workspace_id: str, body: TrainingJobIn) -> tuple[TrainingRun, list[Hint]]:
    """Add a training run in the caller's transaction. Raises Invalid naming the field, and Conflict."""
    config = resolved(body, TRAINING_PRESETS, resolve_training)
    dataset, base = named_inputs(session, workspace_id, body)
    _check_table(dataset, config)
    check_name(session, workspace_id, body.output_name, "output_name")
    return add_run(session, dataset, base, workspace_id, body.output_name, config, body.hosts), []


def add_run(
    session: Session,
    dataset: Dataset,
    base: LanguageModel,
    workspace_id: str,
    output_name: str,
    config: TrainingConfig,
    hosts: int = 1,
) -> TrainingRun:
    """Add a training run in the caller's transaction. It waits for its dataset where that is not written yet."""
    run = TrainingRun(
        id=new_id("train"),
        workspace_id=workspace_id,
        dataset_id=dataset.id,
        base_model_id=base.id,
        output_name=output_name,
        config=config.model_dump(mode="json"),
        hosts=hosts,
    )
    session.add(run)
    session.flush()
    record(session, workspace_id, run.id, "queued")
    return run


def _check_table(dataset: Dataset, config: TrainingConfig) -> None:
    """Raises Invalid where the dataset has no rows that the objective could train on."""
    tables = (dataset.manifest or {}).get("rows")
    wanted = TRAINING_TABLES[config.objective]
    if tables is not None and wanted not in tables:
        other = next((name for name, table in TRAINING_TABLES.items() if table in tables), None)
        remedy = f"set config.objective to '{other}', or give another dataset" if other else "give another dataset"
        raise Invalid.field("dataset", f"it has no `{wanted}`, which objective '{config.objective}' trains on", remedy)


def check_name(session: Session, workspace_id: str, name: str, field: str) -> None:
    """A name must mean one model: neither one that exists nor one that is being trained. Raises Invalid."""
    # Refused here, before hours of training: at its end a run whose name is gone can only take another one.
    taken = select(LanguageModel.id).where(LanguageModel.name == name, visible(workspace_id))
    coming = select(TrainingRun.id).where(
        TrainingRun.workspace_id == workspace_id,
        TrainingRun.output_name == name,
        TrainingRun.state.not_in(sorted(TERMINAL)),
    )
    if session.scalar(select(exists(taken))) or session.scalar(select(exists(coming))):
        raise Invalid.field(field, "this name is taken by another language model", "choose a new name")


def _answers(session: Session, runs: Sequence[TrainingRun]) -> list[TrainingJobOut]:
    names = model_names(session, [row_id for run in runs for row_id in (run.base_model_id, run.output_model_id)])
    return [
        TrainingJobOut.of(
            run, base_model=names.get(run.base_model_id, ""), language_model=names.get(run.output_model_id or "")
        )
        for run in runs
    ]


def _answer(session: Session, run: TrainingRun) -> TrainingJobOut:
    # Rate, time left and place in the queue take queries of their own: they are told of a single run only.
    answer = _answers(session, [run])[0]
    answer.seconds_per_step = seconds_per_step(session, run)
    answer.eta_seconds = seconds_left(run, answer.seconds_per_step)
    if run.state == TrainingState.QUEUED:
        answer.queue_position = queue_positions(session, TrainingRun).get(run.id)
    return answer


jobs = JobResource(
    table=TrainingRun,
    body=TrainingJobIn,
    model=TrainingJobOut,
    name="training_job",
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


@router.post(
    "/training-jobs:preview",
    dependencies=[Depends(leave_out)],  # it starts and stores nothing
    responses=documented(408, 409, 413, 415, 429),
)
def preview_training_job(caller: Trainer, api: ApiDep, body: TrainingPreviewIn) -> TrainingPreviewOut:
    """What a training job would train on: tokens with the trained spans marked, counts and estimates. Makes no job."""
    return preview_of(api, caller.workspace_id, body)


def preview_of(api: Api, workspace_id: str, body: TrainingPreviewIn) -> TrainingPreviewOut:
    """Ask a short-lived process what a run would train on; takes seconds. Raises Invalid, Conflict, TooManyRequests."""
    config = resolved(body, TRAINING_PRESETS, resolve_training)
    with api.db.read() as session:
        dataset, base = named_inputs(session, workspace_id, body)
        _check_table(dataset, config)
        try:
            spec = prepare_preview(session, api.store, dataset.id, base.id, config)
        except TrainingRefused as error:
            raise Conflict(str(error)) from None
    # A preview is a process that loads a tokenizer: beyond a few at once the machine would suffer, so 429, no queue.
    if not api.previews.acquire(blocking=False):
        busy = f"{api.settings.previews} previews are being made; ask again when they are done"
        raise TooManyRequests(busy, headers={"Retry-After": "2"})
    try:
        fetch_dataset(api.store, spec)  # no session is open: a remote file store may take its time
        answer = preview_training(spec, body.examples, api.settings.preview_seconds)
    except PreviewFailed as error:
        raise Conflict(f"{error}; the job itself may still be started") from None
    except TrainingRefused as error:
        raise Conflict(str(error)) from None
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
    return jobs.change(api, caller, run_id, response, partial(cancel_run, keep=keep))


@router.post("/training-jobs/{run_id}/pause", status_code=202, responses=documented(404, 409))
def pause_training_job(caller: Trainer, api: ApiDep, run_id: str, response: Response) -> TrainingJobOut:
    """Ask a training job to write a checkpoint and wait."""
    return jobs.change(api, caller, run_id, response, move_run("pause"))


@router.post("/training-jobs/{run_id}/resume", status_code=202, responses=documented(404, 409))
def resume_training_job(caller: Trainer, api: ApiDep, run_id: str, response: Response) -> TrainingJobOut:
    """Let a paused training job go on from its last good checkpoint."""
    return jobs.change(api, caller, run_id, response, move_run("resume"))


def cancel_run(session: Session, run: TrainingRun, keep: bool | None = None) -> list[Hint]:
    """Ask a run to stop for good, in the caller's transaction. Raises Conflict where it has ended."""
    if run.state == TrainingState.CANCELLING:
        run.keep_on_cancel = run.keep_on_cancel if keep is None else keep
    elif not request_cancel(session, run.id, keep=keep is not False):
        raise Conflict(f"cannot cancel a training job that is {run.state}")
    record(session, run.workspace_id, run.id, "cancelling")
    session.flush()
    # A run that no trainer holds ends here and now: none may come for days.
    if end_unheld(session, run.id):
        session.refresh(run)
        record(session, run.workspace_id, run.id, "training.cancelled", kept=run.keep_on_cancel)
    return []


def move_run(what: Literal["pause", "resume"]) -> Callable[[Session, TrainingRun], list[Hint]]:
    """What pauses or resumes a run in the caller's transaction; it raises Conflict where the run's state forbids it."""
    return partial(_move, what=what)


def _move(session: Session, run: TrainingRun, what: Literal["pause", "resume"]) -> list[Hint]:
    request, state = (request_pause, "paused") if what == "pause" else (request_resume, "queued")
    if not request(session, run.id):
        raise Conflict(f"cannot {what} a training job that is {run.state}")
    record(session, run.workspace_id, run.id, state)
    return []


@router.get("/training-jobs/{run_id}/metrics", responses=documented(404))
def list_metrics(
    caller: Reader,
    api: ApiDep,
    run_id: str,
    page: PageDep,
    phase: Annotated[str | None, Query(max_length=50, pattern=r"^[a-z_-]+$")] = None,
) -> Listing[MetricOut]:
    """Metrics by optimizer step."""
    filters = {Metric.run_id: run_id, Metric.phase: phase}
    keys = (Metric.step, Metric.phase)
    return child_listing(MetricOut.of, api.db, TrainingRun, run_id, caller.workspace_id, keys, page, filters)


@router.get("/training-jobs/{run_id}/checkpoints", responses=documented(404))
def list_checkpoints(caller: Reader, api: ApiDep, run_id: str, page: PageDep) -> Listing[CheckpointOut]:
    """Checkpoints by step."""
    filters = {Checkpoint.run_id: run_id}
    keys = (Checkpoint.step,)
    return child_listing(CheckpointOut.of, api.db, TrainingRun, run_id, caller.workspace_id, keys, page, filters)
