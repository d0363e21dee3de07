"""``/v1/datasets``: freezing pairs to files, and downloading them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from urllib.parse import quote

from fastapi import Query, Request, Response
from pydantic import ValidationError
from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from api.http import events
from api.http.auth import Reader, Writer
from api.http.downloads import FILE_RESPONSES, StoredFile, manifest_files, manifest_itself, send_listed
from api.http.errors import Conflict, Invalid, documented, invalid
from api.http.events import EVENT_RESPONSES, EventOut, LastEventId
from api.http.idempotency import IdempotencyDep, once
from api.http.routing import Api, ApiDep, accepted
from api.http.routing import router as make_router
from api.http.rows import Listing, PageDep, body_row, paginate, path_row
from api.progress import progress_of
from api.schemas.outputs import DatasetIn, DatasetOut, FileOut
from errata.datasets.config import DatasetConfig
from models.base import new_id
from models.files import FileStore
from models.jobs import InjectionJob, PairRow
from models.outputs import Dataset, DatasetSource
from models.states import TERMINAL, JobState
from workers.dispatch import Hint, cancel, plan_dataset, settle

router = make_router("/v1/datasets", "datasets")


@router.post("", status_code=202, responses=documented(409, 413, 415))
def create_dataset(caller: Writer, api: ApiDep, who: IdempotencyDep, body: DatasetIn, response: Response) -> DatasetOut:
    """Freeze the pairs of finished jobs to files."""
    if "jobs" in body.config:
        raise Invalid.field("config.jobs", "the jobs are not part of the configuration", "give them as `jobs`")
    try:
        config = DatasetConfig.model_validate({**body.config, "jobs": body.jobs})
    except ValidationError as error:
        raise invalid(error.errors(), prefix=["config"]) from None
    hints: list[Hint] = []

    with api.db.begin() as session:

        def make() -> str:
            dataset = _new(session, caller.workspace_id, body.name, config)
            hints.extend(plan_dataset(session, dataset))
            return dataset.id

        dataset_id, new = once(session, api, who, caller.workspace_id, body.model_dump(mode="json"), make)
        answer = _many(session, [session.get_one(Dataset, dataset_id, populate_existing=True)])[0]
    api.dispatcher.send(hints)
    accepted(response, f"/v1/datasets/{dataset_id}", replayed=not new)
    return answer


def _new(session: Session, workspace_id: str, name: str, config: DatasetConfig) -> Dataset:
    for at, job_id in enumerate(config.jobs):
        job = body_row(session, InjectionJob, job_id, workspace_id, f"jobs.{at}")
        if job.state not in TERMINAL:
            raise Conflict(f"jobs.{at}: the job is still {job.state}; freeze its pairs when it has ended")
    if not session.scalar(select(exists(select(PairRow.id).where(PairRow.job_id.in_(config.jobs))))):
        raise Invalid.field("jobs", "these jobs have made no pairs", "look at their funnels for the reasons")
    dataset = Dataset(id=new_id("ds"), workspace_id=workspace_id, name=name, config=config.model_dump(mode="json"))
    session.add(dataset)
    session.flush()
    session.add_all(DatasetSource(dataset_id=dataset.id, job_id=job_id) for job_id in config.jobs)
    return dataset


def _many(session: Session, rows: Sequence[Dataset]) -> list[DatasetOut]:
    progress = progress_of(session, Dataset, rows)
    return [DatasetOut.of(row, progress[row.id]) for row in rows]


@router.get("")
def list_datasets(
    caller: Reader, api: ApiDep, page: PageDep, state: Annotated[JobState | None, Query()] = None
) -> Listing[DatasetOut]:
    """Datasets, newest first."""
    query = select(Dataset).where(Dataset.workspace_id == caller.workspace_id)
    if state is not None:
        query = query.where(Dataset.state == state)
    with api.db.read() as session:
        found = paginate(session, query, (Dataset.created_at, Dataset.id), page, descending=True)
        return Listing(data=_many(session, found.rows), has_more=bool(found.next), next=found.next)


@router.get("/{dataset_id}", responses=documented(404))
def get_dataset(caller: Reader, api: ApiDep, dataset_id: str) -> DatasetOut:
    """One dataset."""
    with api.db.read() as session:
        return _many(session, [path_row(session, Dataset, dataset_id, caller.workspace_id)])[0]


@router.post("/{dataset_id}/cancel", status_code=202, responses=documented(404, 409))
def cancel_dataset(caller: Writer, api: ApiDep, dataset_id: str, response: Response) -> DatasetOut:
    """Stop freezing."""
    with api.db.begin() as session:
        row = path_row(session, Dataset, dataset_id, caller.workspace_id)
        if not cancel(session, Dataset, row.id):
            raise Conflict(f"the dataset has already ended: {row.state}")
        settle(session, Dataset, row.id)
        answer = _many(session, [session.get_one(Dataset, dataset_id, populate_existing=True)])[0]
    accepted(response, f"/v1/datasets/{dataset_id}")
    return answer


@router.get("/{dataset_id}/events", responses=EVENT_RESPONSES, response_model=Listing[EventOut])
def list_dataset_events(
    request: Request, caller: Reader, api: ApiDep, dataset_id: str, page: PageDep, last_event_id: LastEventId = None
) -> object:
    """What happened to the dataset: a list, or a stream."""
    return events.answer(request, api, Dataset, dataset_id, caller.workspace_id, page, last_event_id)


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
    data = [FileOut.of(file, f"/v1/datasets/{dataset_id}/files/{quote(file.path)}") for file in files]
    return Listing(data=data, has_more=False, next=None)


@router.head("/{dataset_id}/files/{path:path}", include_in_schema=False)
@router.get("/{dataset_id}/files/{path:path}", responses=FILE_RESPONSES, response_class=Response)
def download_file(request: Request, caller: Reader, api: ApiDep, dataset_id: str, path: str) -> Response:
    """A file, or a range of it. Only paths the dataset's manifest lists exist."""
    files = _files(api, dataset_id, caller.workspace_id)
    return send_listed(request, FileStore(api.store.files), files, path)
