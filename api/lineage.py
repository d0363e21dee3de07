"""Where pairs come from and where they went: lineage of a pair, retractions, and the difference of two datasets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import Path, Query
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.http.auth import Reader
from api.http.errors import Conflict, Invalid, documented
from api.http.routing import Api, ApiDep, make_router
from api.http.rows import PageDep, decode, encode, path_row
from api.injection_jobs.contents import EditOut, SolutionOut
from api.language_models import model_names
from api.pairs import PairOut, pair_answers
from api.problem_sets.schemas import ProblemOut
from api.schemas import RowAnswer
from models.curation import datasets_from
from models.dataset_rows import contents, count_rows, difference, rows_at, tables
from models.files import FileStore
from models.jobs import EditRow, InjectionJob, PairRow, SolutionRow
from models.outputs import Dataset, TrainingRun
from models.states import JobState
from models.workspaces import ProblemRow, ProblemSet

router = make_router("/v1", "lineage")


class TrainedModel(BaseModel):
    """A training job on a dataset, and its result once there is one."""

    training_job: str
    state: str
    language_model: str | None


class HoldingDataset(BaseModel):
    """A frozen dataset that holds a pair, or pairs of a problem or job, and what was trained on it."""

    dataset: str
    name: str
    pairs: int = Field(description="How many of the pairs in question it holds.")
    models: list[TrainedModel]


class NamedRow(RowAnswer):
    """A row by its id and name."""

    id: str
    name: str | None


class PairLineage(BaseModel):
    """Everything a pair comes from, and every dataset and model that it went into."""

    object: Literal["pair_lineage"] = "pair_lineage"
    pair: PairOut
    problem: ProblemOut
    problem_set: NamedRow
    job: NamedRow
    solution: SolutionOut
    rejected_solution: SolutionOut | None = Field(description="Of a full pair.")
    edit: EditOut | None = Field(description="Of a step pair, with every attempt at it.")
    datasets: list[HoldingDataset]


class DatasetRow(BaseModel):
    """A row of a dataset's pairs."""

    split: str
    pair_id: str
    problem_id: str
    job_id: str
    type: str
    error_kind: str | None
    question: str
    prefix: str
    chosen: str
    rejected: str


class DatasetDifference(BaseModel):
    """How dataset ``after`` differs from ``before``, by what their pairs say and not by ids. Equal pairs count once."""

    object: Literal["dataset_difference"] = "dataset_difference"
    before: str
    after: str
    added: int = Field(description="Only in `after`.")
    removed: int = Field(description="Only in `before`.")
    common: int
    moved: int = Field(description="Of the common ones: in another split.")
    data: list[DatasetRow] = Field(description="One page of the side asked for.")
    has_more: bool
    next: str | None


def holding(
    api: Api, session: Session, job_ids: Sequence[str], column: str, values: Sequence[str]
) -> list[HoldingDataset]:
    """The datasets frozen from these jobs that hold rows with one of the values in a column, with their models.

    Their files are read: what a dataset took of its jobs, only they tell. One whose files are gone is left out.
    """
    files, found = FileStore(api.store.files), []
    for dataset_id in datasets_from(session, job_ids):
        dataset = session.get_one(Dataset, dataset_id)
        if dataset.state != JobState.SUCCEEDED:
            continue
        try:
            count = count_rows(files, dataset, column, values)
        except FileNotFoundError:
            continue
        if count:
            models = trained_on(session, dataset_id)
            found.append(HoldingDataset(dataset=dataset_id, name=dataset.name, pairs=count, models=models))
    return found


def trained_on(session: Session, dataset_id: str) -> list[TrainedModel]:
    """The training jobs on a dataset, oldest first."""
    query = select(TrainingRun).where(TrainingRun.dataset_id == dataset_id)
    runs = session.scalars(query.order_by(TrainingRun.created_at, TrainingRun.id)).all()
    names = model_names(session, [run.output_model_id for run in runs])
    return [
        TrainedModel(training_job=run.id, state=run.state, language_model=names.get(run.output_model_id or ""))
        for run in runs
    ]


@router.get("/pairs/{pair_id}/lineage", responses=documented(404))
def get_pair_lineage(caller: Reader, api: ApiDep, pair_id: str) -> PairLineage:
    """Everything a pair comes from, and every dataset and model that it went into."""
    with api.db.read() as session:
        pair = path_row(session, PairRow, pair_id, caller.workspace_id)
        problem, job = session.get_one(ProblemRow, pair.problem_id), session.get_one(InjectionJob, pair.job_id)
        rejected = session.get(SolutionRow, pair.rejected_solution_id) if pair.rejected_solution_id else None
        edit = session.get(EditRow, pair.edit_id) if pair.edit_id else None
        return PairLineage(
            pair=pair_answers(session, [pair])[0],
            problem=ProblemOut.of(problem),
            problem_set=NamedRow.of(session.get_one(ProblemSet, problem.problem_set_id)),
            job=NamedRow.of(job),
            solution=SolutionOut.of(session.get_one(SolutionRow, pair.solution_id)),
            rejected_solution=SolutionOut.of(rejected) if rejected else None,
            edit=EditOut.of(edit) if edit else None,
            datasets=holding(api, session, [job.id], "pair_id", [pair.id]),
        )


@router.get("/datasets/{dataset_id}/diff/{other_id}", responses=documented(404, 409))
def diff_datasets(
    caller: Reader,
    api: ApiDep,
    dataset_id: str,
    other_id: Annotated[str, Path(description="The dataset that it is compared with, such as a later version.")],
    page: PageDep,
    side: Annotated[Literal["added", "removed"], Query(description="Whose pairs are listed.")] = "added",
) -> DatasetDifference:
    """Pairs that only one of two datasets holds, by what they say: counts, and the pairs themselves page by page."""
    with api.db.read() as session:
        before = _frozen(path_row(session, Dataset, dataset_id, caller.workspace_id))
        after = _frozen(path_row(session, Dataset, other_id, caller.workspace_id))
    files, start = FileStore(api.store.files), _position(page.after, before, after, side)
    try:
        found = difference(contents(files, before), contents(files, after))
        positions = found.added if side == "added" else found.removed
        wanted = [int(place) for place in positions[positions >= start][: page.limit + 1]]
        rows = rows_at(files, after if side == "added" else before, wanted[: page.limit])
    except FileNotFoundError:
        raise Conflict("the files of one of the datasets are no longer in the file store") from None
    more = wanted[page.limit] if len(wanted) > page.limit else None
    return DatasetDifference(
        before=before.id,
        after=after.id,
        added=len(found.added),
        removed=len(found.removed),
        common=found.common,
        moved=found.moved,
        data=[DatasetRow(**row) for row in rows],
        has_more=more is not None,
        next=None if more is None else encode(_cursor(before, after, side), [more]),
    )


def _frozen(dataset: Dataset) -> Dataset:
    if dataset.state != JobState.SUCCEEDED or not tables(dataset):
        raise Conflict(f"dataset {dataset.id} is {dataset.state} and has no pairs to compare")
    return dataset


def _cursor(before: Dataset, after: Dataset, side: str) -> str:
    return f"diff-{before.id}-{after.id}-{side}"


def _position(cursor: str | None, before: Dataset, after: Dataset, side: str) -> int:
    if cursor is None:
        return 0
    value: Any = decode(_cursor(before, after, side), cursor, 1)[0]
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**40:
        raise Invalid.field("after", "this is not a cursor of this list", "give `next` of the page before, unchanged")
    return value
