"""``/v1/training-jobs/{id}/checkpoints/{step}``: what can be done with a checkpoint of a run that has ended."""

from __future__ import annotations

import hashlib
from typing import Annotated

from fastapi import Path, Request, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.http.archives import ARCHIVE_RESPONSES, send_archive
from api.http.auth import Reader, Trainer
from api.http.downloads import StoredFile, manifest_files
from api.http.errors import Conflict, NotFound, documented
from api.http.routing import Api, ApiDep, accepted, make_router
from api.http.rows import lock_row, path_row
from api.quotas import admit_job
from api.schemas import ModelName
from api.schemas import Request as Body
from api.training.routes import check_name, jobs
from api.training.schemas import TrainingJobOut
from models.base import new_id
from models.deletion import parents_hidden
from models.events import record
from models.files import FileStore
from models.folders import MANIFEST
from models.outputs import Checkpoint, TrainingRun
from models.states import TERMINAL
from workers.dispatch import checkpoint_folder

router = make_router("/v1/training-jobs", "training jobs")
_READY = "ready"
Step = Annotated[int, Path(ge=0, le=2**31 - 1, description="Of the checkpoint, as its list has it.")]


class CheckpointModelIn(Body):
    """The name of the language model to be made of a checkpoint."""

    name: ModelName


class CheckpointResumeIn(Body):
    """How a run that goes on from a checkpoint is called; everything else is the ended run's."""

    output_name: ModelName | None = None


@router.post("/{run_id}/checkpoints/{step}/resume", status_code=202, responses=documented(404, 408, 409, 413, 415))
def resume_checkpoint(
    caller: Trainer, api: ApiDep, run_id: str, step: Step, body: CheckpointResumeIn, response: Response
) -> TrainingJobOut:
    """Go on from a checkpoint of a run that was cancelled or failed: to the same end that it would have had.

    The ended run stays as it is. The answer is a new run with its dataset, base model and configuration, which begins
    behind that step; `from_run` and `from_step` say so.
    """
    return _start(api, caller.workspace_id, run_id, step, response, body.output_name, trains=True)


@router.post("/{run_id}/checkpoints/{step}/model", status_code=202, responses=documented(404, 408, 409, 413, 415))
def make_checkpoint_model(
    caller: Trainer, api: ApiDep, run_id: str, step: Step, body: CheckpointModelIn, response: Response
) -> TrainingJobOut:
    """Make a language model of a checkpoint of a run that has ended, without a further step of training.

    The answer is a run that only writes it: merged, with tokenizer and card, and registered under the name.
    """
    return _start(api, caller.workspace_id, run_id, step, response, body.name, trains=False)


@router.head("/{run_id}/checkpoints/{step}/archive.zip", include_in_schema=False)
@router.get("/{run_id}/checkpoints/{step}/archive.zip", responses=ARCHIVE_RESPONSES, response_class=Response)
def download_checkpoint(request: Request, caller: Reader, api: ApiDep, run_id: str, step: Step) -> Response:
    """Every file of a checkpoint as one ZIP archive, streamed, or a range of it: weights, optimizer, generators."""
    with api.db.read() as session:
        run = path_row(session, TrainingRun, run_id, caller.workspace_id)
        manifest = dict(_checkpoint(session, run, step).manifest)
    root, folder = checkpoint_folder(api.store, run_id, step)
    store = FileStore(root)
    if not store.exists(f"{folder}/{MANIFEST}"):
        raise NotFound("the checkpoint's files are not on this machine: they stay where the run was trained")
    files = manifest_files(folder, manifest)
    return send_archive(request, store, [*files, _manifest(store, folder)], f"{run_id}-step-{step}")


def _manifest(store: FileStore, folder: str) -> StoredFile:
    """The manifest as a file: it cannot list itself."""
    data = store.read_bytes(f"{folder}/{MANIFEST}")
    return StoredFile(folder, MANIFEST, len(data), hashlib.sha256(data).hexdigest())


def _checkpoint(session: Session, run: TrainingRun, step: int) -> Checkpoint:
    """The run's checkpoint of a step. Raises NotFound, and Conflict where its files were deleted."""
    found = session.scalars(select(Checkpoint).where(Checkpoint.run_id == run.id, Checkpoint.step == step)).first()
    if found is None:
        raise NotFound("the run has no checkpoint of this step; see its /checkpoints")
    if found.state != _READY:
        ready = select(Checkpoint.step).where(Checkpoint.run_id == run.id, Checkpoint.state == _READY)
        kept = ", ".join(str(other) for other in session.scalars(ready.order_by(Checkpoint.step)))
        raise Conflict(
            f"the checkpoint of step {step} was deleted; " + (f"kept are {kept}" if kept else "none is kept")
        )
    return found


def _start(
    api: Api, workspace_id: str, run_id: str, step: int, response: Response, name: str | None, *, trains: bool
) -> TrainingJobOut:
    with api.db.begin() as session:
        ended = path_row(session, TrainingRun, run_id, workspace_id)
        admit_job(session, workspace_id, TrainingRun)
        run = run_from(session, ended, step, name, trains=trains)
        session.flush()
        answer = jobs.one(session, run.id)
    accepted(response, f"{jobs.kind.url}/{answer.id}")
    return answer


def run_from(session: Session, ended: TrainingRun, step: int, name: str | None, *, trains: bool) -> TrainingRun:
    """Add a run that begins with a checkpoint of an ended one, in the caller's transaction. Raises as the routes do."""
    lock_row(session, ended)  # a deletion waits, and then sees the run that reads its checkpoint
    _checkpoint(session, ended, step)
    if ended.state not in TERMINAL:
        remedy = "pause and resume it, or cancel it first" if trains else "cancel it first, or wait for its end"
        raise Conflict(f"the training job is {ended.state}; {remedy}")
    if trains and ended.total_steps is not None and step >= ended.total_steps:
        raise Conflict(f"step {step} is the last one: nothing is left to train; make a model of the checkpoint")
    wanted = name or ended.output_name
    check_name(session, ended.workspace_id, wanted, "output_name" if trains else "name")
    run = TrainingRun(
        id=new_id("train"),
        workspace_id=ended.workspace_id,
        dataset_id=ended.dataset_id,
        base_model_id=ended.base_model_id,
        output_name=wanted,
        config=ended.config,
        hosts=ended.hosts if trains else 1,
        step=step,
        total_steps=ended.total_steps if trains else step,
        from_run_id=ended.id,
        from_step=step,
        last_step=None if trains else step,
    )
    session.add(run)
    session.flush()
    if parents_hidden(session, run):
        raise Conflict("its dataset or its base model has just been deleted")
    record(session, ended.workspace_id, run.id, "queued", from_run=ended.id, from_step=step)
    return run
