"""``/v1/datasets``: freezing pairs to files, and downloading them."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any, Literal

from fastapi import Request, Response
from pydantic import Field, field_validator
from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from api import schemas
from api.dataset_filters import check_filters
from api.dataset_forecast import DatasetForecast, forecast_dataset
from api.http.archives import ARCHIVE_RESPONSES, send_archive
from api.http.auth import Reader, Writer
from api.http.downloads import FILE_RESPONSES, FileOut, StoredFile, manifest_files, manifest_itself, send_listed
from api.http.errors import Conflict, Invalid, NotFound, documented, invalid_below
from api.http.routing import Api, ApiDep, make_router
from api.http.rows import Listing, body_row, path_row
from api.imports.schemas import Imported
from api.jobs import JobResource
from api.schemas import JobOut, Name, RowId, key_of
from errata.imports.mixing import why_not_mixed
from errata.output_config import DatasetConfig
from models.base import new_id
from models.curation import not_retracted, retractions_in
from models.files import FileStore
from models.jobs import InjectionJob, PairRow
from models.outputs import Dataset, DatasetSource
from models.states import TERMINAL, JobState
from workers.dispatch import Hint, plan_dataset

router = make_router("/v1/datasets", "datasets")


class MixedIn(schemas.Request):
    """A finished dataset whose pairs are frozen again, and its share among the sources where one has a weight."""

    id: RowId
    weight: float | None = Field(None, gt=0, le=1e6)


class DatasetIn(schemas.Request):
    """A dataset: the jobs and finished datasets whose pairs are frozen, and what differs from the defaults."""

    name: Name
    jobs: list[RowId] = Field(default_factory=list, max_length=100)
    datasets: list[MixedIn] = Field(default_factory=list, max_length=100)
    config: dict[str, Any] = Field(
        default_factory=dict, description="Schema: DatasetConfig, without `jobs` and `datasets`."
    )

    @field_validator("jobs", "datasets")
    @classmethod
    def _once(cls, value: list[Any]) -> list[Any]:
        ids = [getattr(each, "id", each) for each in value]
        if len(set(ids)) != len(ids):
            raise ValueError("one is named twice; name each once")
        return value


class DatasetOut(JobOut):
    """A dataset; immutable once ``succeeded``. ``manifest`` tells counts, rows per shape and split, lineage, audit."""

    object: Literal["dataset"] = "dataset"
    name: str
    jobs: Annotated[list[str], key_of("jobs", [])] = Field(validation_alias="config")
    config: dict[str, Any]
    imported: Annotated[Imported | None, key_of("import")] = Field(
        validation_alias="config", description="Of a dataset that was imported: the file and what became of its rows."
    )
    manifest: dict[str, Any] | None
    sha256: str | None
    tags: list[str] = Field(default_factory=list)
    notes: list[str] = Field(
        default_factory=list,
        description="What to know before it is trained on, such as shapes without rows, why, and what helps. While it"
        " is queued, by a count of the pairs that there are.",
    )
    retracted: list[dict[str, Any]] | None = Field(
        None, description="What was retracted of its jobs since it was frozen (see its manifest for earlier ones)."
    )


def checked_config(session: Session, workspace_id: str, body: DatasetIn) -> DatasetConfig:
    """The configuration of a dataset that can be frozen. Raises Invalid naming the field, Conflict while a job goes on.

    A dataset that is mixed in must have succeeded.
    """
    for name in ("jobs", "datasets"):
        if name in body.config:
            told = f"the {name} are not part of the configuration"
            raise Invalid.field(f"config.{name}", told, f"give them as `{name}`")
    if not body.jobs and not body.datasets:
        raise Invalid.field("jobs", "there is nothing to freeze", "name at least one injection job or dataset")
    mixed = [each.model_dump() for each in body.datasets]
    with invalid_below("config"):
        config = DatasetConfig.model_validate({**body.config, "jobs": body.jobs, "datasets": mixed})
    for at, job_id in enumerate(config.jobs):
        job = body_row(session, InjectionJob, job_id, workspace_id, f"jobs.{at}")
        if job.state not in TERMINAL:
            raise Conflict(f"jobs.{at}: the job is still {job.state}; freeze its pairs when it has ended")
    _check_mixed(session, workspace_id, config)
    if config.jobs:
        pairs = select(PairRow.id).where(PairRow.job_id.in_(config.jobs))
        if not session.scalar(select(exists(pairs))):
            raise Invalid.field("jobs", "these jobs have made no pairs", "look at their funnels for the reasons")
        if not session.scalar(select(exists(pairs.where(not_retracted())))):
            told = "all pairs of these jobs are retracted"
            raise Invalid.field("jobs", told, "see GET /v1/retractions for the reasons")
    check_filters(session, config)
    return config


def new_dataset(session: Session, workspace_id: str, body: DatasetIn) -> tuple[Dataset, list[Hint]]:
    """Add a dataset in the caller's transaction. Raises what ``checked_config`` raises."""
    config = checked_config(session, workspace_id, body)
    values = {"name": body.name, "config": config.model_dump(mode="json")}
    dataset = Dataset(id=new_id("ds"), workspace_id=workspace_id, **values)
    session.add(dataset)
    session.flush()
    # Lineage as rows: the configuration names the jobs too, but no foreign key holds what JSON says.
    of_mixed = select(DatasetSource.job_id).where(DatasetSource.dataset_id.in_(each.id for each in config.datasets))
    jobs = dict.fromkeys([*config.jobs, *session.scalars(of_mixed.order_by(DatasetSource.job_id))])
    session.add_all(DatasetSource(dataset_id=dataset.id, job_id=job_id) for job_id in jobs)
    return dataset, plan_dataset(session, dataset)


def _check_mixed(session: Session, workspace_id: str, config: DatasetConfig) -> None:
    for at, each in enumerate(config.datasets):
        source = body_row(session, Dataset, each.id, workspace_id, f"datasets.{at}.id")
        if source.state != JobState.SUCCEEDED:
            raise Conflict(f"datasets.{at}: the dataset is {source.state}; mix it in when it has succeeded")
        refused = why_not_mixed(source.config["import"]) if source.config.get("import") else None
        if refused is not None:
            raise Invalid.field(
                f"datasets.{at}.id", f"the imported dataset cannot be mixed in: {refused[0]}", refused[1]
            )


def _answer(session: Session, dataset: Dataset) -> DatasetOut:
    answer = jobs.summaries(session, [dataset])[0]
    answer.notes = (dataset.manifest or {}).get("notes", [])
    if dataset.state == JobState.QUEUED and not dataset.config.get("import"):
        answer.notes = forecast_dataset(session, DatasetConfig.model_validate(dataset.config)).notes
    if dataset.state == JobState.SUCCEEDED:
        told = {entry.get("retraction") for entry in (dataset.manifest or {}).get("retracted", [])}
        # Also the jobs by way of other datasets.
        sources = session.scalars(select(DatasetSource.job_id).where(DatasetSource.dataset_id == dataset.id)).all()
        since = [entry for entry in retractions_in(session, sources) if entry["retraction"] not in told]
        answer.retracted = since or None
    return answer


jobs = JobResource(
    table=Dataset,
    body=DatasetIn,
    model=DatasetOut,
    name="dataset",
    create=new_dataset,
    answer=_answer,
    texts={
        "create": "Freeze the pairs of finished jobs to files.",
        "list": "Datasets, newest first.",
        "get": "One dataset.",
        "cancel": "Stop freezing.",
    },
)
jobs.register(router)


@router.post("/preview", responses=documented(408, 409, 413, 415))
def preview_dataset(caller: Writer, api: ApiDep, body: DatasetIn) -> DatasetForecast:
    """How many rows each shape of a dataset would have, and what to know of it, counted. Freezes nothing."""
    with api.db.read() as session:
        return forecast_dataset(session, checked_config(session, caller.workspace_id, body))


def _files(api: Api, dataset_id: str, workspace_id: str) -> list[StoredFile]:
    with api.db.read() as session:
        dataset = path_row(session, Dataset, dataset_id, workspace_id)
    if dataset.state != JobState.SUCCEEDED:
        raise Conflict(f"the dataset is {dataset.state}; its files are there once it has succeeded")
    own = manifest_itself(FileStore(api.store.files), dataset.folder, dataset.sha256)
    return [*manifest_files(dataset.folder, dataset.manifest), *own]


@router.get("/{dataset_id}/files", responses=documented(404, 409))
def list_files(caller: Reader, api: ApiDep, dataset_id: str) -> Listing[FileOut]:
    """Every file of the dataset, with size and SHA-256."""
    files = _files(api, dataset_id, caller.workspace_id)
    return Listing.whole(FileOut.listed(files, f"/v1/datasets/{dataset_id}/files"))


@router.head("/{dataset_id}/archive.zip", include_in_schema=False)
@router.get("/{dataset_id}/archive.zip", responses=ARCHIVE_RESPONSES, response_class=Response)
def download_archive(request: Request, caller: Reader, api: ApiDep, dataset_id: str) -> Response:
    """Every file of the dataset as one ZIP archive, streamed, or a range of it. `Want-Repr-Digest` gives its digest."""
    files = _files(api, dataset_id, caller.workspace_id)
    return send_archive(request, FileStore(api.store.files), files, dataset_id)


@router.head("/{dataset_id}/files/{path:path}", include_in_schema=False)
@router.get("/{dataset_id}/files/{path:path}", responses=FILE_RESPONSES, response_class=Response)
def download_file(request: Request, caller: Reader, api: ApiDep, dataset_id: str, path: str) -> Response:
    """A file, or a range of it. Only paths the dataset's manifest lists exist."""
    return send_dataset_file(request, api, caller.workspace_id, dataset_id, path)


def read_dataset_file(api: Api, workspace_id: str, dataset_id: str, path: str) -> bytes:
    """A listed file of a workspace's dataset, whole: for small ones. Raises NotFound, or Conflict while it freezes."""
    for file in _files(api, dataset_id, workspace_id):
        if file.path == path:
            with suppress(FileNotFoundError):
                return FileStore(api.store.files).read_bytes(f"{file.folder}/{file.path}")
    raise NotFound("the dataset has no such file")


def send_dataset_file(request: Request, api: Api, workspace_id: str, dataset_id: str, path: str) -> Response:
    """A listed file of a workspace's dataset, or a range of it. Raises NotFound, and Conflict before it succeeded."""
    files = _files(api, dataset_id, workspace_id)
    return send_listed(request, FileStore(api.store.files), files, path)
