"""Creating a fine-tuning job: its files become a dataset, by the importer, and a training run that waits for it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from api.http.errors import Conflict, Invalid
from api.http.idempotency import Idempotency, once
from api.http.routing import Api
from api.imports.routes import Part, add_import, again_behind_another, existing_import, import_key, stage
from api.imports.schemas import ImportIn
from api.openai.files import ALL_ROWS, as_upload, find_file
from api.openai.ids import public_id
from api.openai.schemas import FineTuningJobIn
from api.openai.settings import Settings, model_name, resolve
from api.quotas import admit_job
from api.training.routes import add_run, trainable_model
from models.base import new_id
from models.deletion import parents_hidden
from models.files import FileStore
from models.imports import staged_folder
from models.outputs import Dataset, TrainingRun
from models.uploads import CONTENT, FineTuningJob, UploadedFile, upload_folder
from workers.dispatch import Hint


@dataclass(frozen=True)
class _Inputs:
    training: UploadedFile
    validation: UploadedFile | None
    settings: Settings

    @property
    def name(self) -> str:
        return self.training.name

    @property
    def digest(self) -> str:
        parts = [self.training.sha256, *([self.validation.sha256] if self.validation else [])]
        return " ".join(parts)


def create(api: Api, who: Idempotency, workspace_id: str, body: FineTuningJobIn) -> str:
    """Make a job unless the same request came before; the id of its run. Raises Invalid, Conflict and Unavailable."""
    with api.db.read() as session:
        trainable_model(session, body.model, workspace_id, "model")
        inputs = _inputs(session, workspace_id, body)
    asked = ImportIn(name=inputs.name, on_bad_row="refuse", file_name=inputs.name[:255])
    key = import_key(inputs.digest, asked, ALL_ROWS)
    dataset = Dataset(id=new_id("ds"), workspace_id=workspace_id, name=inputs.name, import_key=key)
    with api.db.read() as session:
        known = existing_import(session, workspace_id, key)
    used = False
    try:
        if known is None:  # outside of the transaction: a large file would hold the write lock for its whole reading
            dataset.config = _staged(api, inputs, asked, dataset.id)
        run_id, hints, used = _add(api, who, workspace_id, body, inputs, dataset)
    finally:
        if known is None and not used:
            FileStore(api.store.files).remove(staged_folder(dataset.id))
    api.dispatcher.send(hints)
    return run_id


def _inputs(session: Session, workspace_id: str, body: FineTuningJobIn) -> _Inputs:
    training = _named(session, workspace_id, body.training_file, "training_file")
    validation = None
    if body.validation_file is not None:
        validation = _named(session, workspace_id, body.validation_file, "validation_file")
    settings = resolve(body, training.report["pairs"] + training.report["samples"])
    for field, file in (("training_file", training), ("validation_file", validation)):
        if file is not None and settings.method == "dpo" and not file.report["pairs"]:
            raise Invalid.field(
                field,
                "it holds no preferences, which method 'dpo' learns from",
                "give rows with input, preferred_output and non_preferred_output, or set method.type to 'supervised'",
            )
    return _Inputs(training, validation, settings)


def _named(session: Session, workspace_id: str, file_id: str, field: str) -> UploadedFile:
    found = find_file(session, file_id, workspace_id)
    if found is None:
        raise Invalid.field(field, "there is no such file", "give the id of an uploaded file, from GET /v1/files")
    return found


def _staged(api: Api, inputs: _Inputs, asked: ImportIn, dataset_id: str) -> dict[str, Any]:
    """Check the rows, leave them for the worker, and give the dataset's configuration. Raises Invalid and Conflict."""
    files = FileStore(api.store.files)
    with ExitStack() as opened:
        try:
            parts = [Part(as_upload(opened.enter_context(_content(files, inputs.training)), inputs.name), "train")]
            if inputs.validation is not None:
                content = opened.enter_context(_content(files, inputs.validation))
                parts.append(Part(as_upload(content, inputs.validation.name), "test"))
        except FileNotFoundError:
            raise Conflict("the file was deleted meanwhile; upload it again") from None
        about = stage(api, files, parts, asked, ALL_ROWS, dataset_id)
    told = {"file": inputs.name, "file_sha256": inputs.training.sha256, **about}
    if inputs.validation is not None:
        told |= {"validation_file": inputs.validation.name, "validation_file_sha256": inputs.validation.sha256}
        report = inputs.training.report
        if about["pairs"] + about["samples"] == report["pairs"] + report["samples"]:
            files.remove(staged_folder(dataset_id))
            raise Invalid.field("validation_file", "every row of it is in the training file", "give other rows")
    return {"jobs": [], **ALL_ROWS.model_dump(mode="json"), "import": told}


def _content(files: FileStore, file: UploadedFile) -> Any:
    return files.open(f"{upload_folder(file.id)}/{CONTENT}")


def _add(
    api: Api, who: Idempotency, workspace_id: str, body: FineTuningJobIn, inputs: _Inputs, dataset: Dataset
) -> tuple[str, list[Hint], bool]:
    """The run's id, the hints to send, and whether the staged rows are used."""
    hints: list[Hint] = []

    def make(session: Session) -> str:
        # One admission for both: with a quota of one job nobody could start this one otherwise.
        admit_job(session, workspace_id, TrainingRun)
        known = existing_import(session, workspace_id, str(dataset.import_key))
        if known is not None:
            row = session.get_one(Dataset, known)
        else:
            row, planned = add_import(session, dataset, str(dataset.import_key))
            hints.extend(planned)
        base = trainable_model(session, body.model, workspace_id, "model")
        name = model_name(base.name, body.suffix)
        run = add_run(session, row, base, workspace_id, name, inputs.settings.config)
        if parents_hidden(session, run):
            raise Conflict("the model or the dataset has just been deleted; look again")
        session.add(_asked(run, body, inputs))
        session.flush()
        return run.id

    def attempt() -> tuple[str, bool]:
        hints.clear()
        with api.db.begin() as session:
            run_id, _new = once(session, api, who, workspace_id, body.model_dump(mode="json"), lambda: make(session))
            return run_id, session.get_one(TrainingRun, run_id).dataset_id == dataset.id

    run_id, used = again_behind_another(attempt)
    return run_id, hints, used


def _asked(run: TrainingRun, body: FineTuningJobIn, inputs: _Inputs) -> FineTuningJob:
    return FineTuningJob(
        run_id=run.id,
        training_file=public_id(inputs.training.id),
        validation_file=public_id(inputs.validation.id) if inputs.validation else None,
        method=inputs.settings.method,
        hyperparameters=inputs.settings.hyperparameters,
        job_metadata=body.metadata,
    )
