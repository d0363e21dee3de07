"""Deleting rows with everything that belongs to them, so that a process may be killed at any moment.

``hide`` moves the rows into a workspace that no key opens: in one short transaction they are gone for everybody.
``purge`` then deletes what belongs to them in small transactions, their files, and each row itself last. A row in that
workspace is therefore the record of a deletion that is not done yet; purging again finishes it.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, inspect, or_, select, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models.base import Base
from models.curation import Retraction, Review, Tag
from models.extensions import family
from models.files import FileStore, UnsafePath
from models.imports import staged_folder
from models.jobs import (
    EditRow,
    Estimate,
    InjectionJob,
    PairRow,
    ProblemError,
    ProblemOutcome,
    Shard,
    SolutionRow,
)
from models.outputs import (
    Checkpoint,
    Dataset,
    DatasetSource,
    Evaluation,
    EvaluationSample,
    EvaluationScore,
    Event,
    Metric,
    Rejudging,
    TrainingPlace,
    TrainingRun,
    VerdictChangeRow,
)
from models.session import Database, insert_ignore
from models.settings import StoreSettings
from models.states import TERMINAL
from models.studies import Campaign, CampaignPart, Study, StudyPart
from models.uploads import FineTuningJob, UploadedFile, upload_folder
from models.workspaces import (
    DELETED_WORKSPACE,
    DELETED_WORKSPACE_NAME,
    PILOT_WORKSPACE,
    BroughtSolution,
    IdempotencyKey,
    LanguageModel,
    ProblemRow,
    ProblemSet,
    Workspace,
)

log = logging.getLogger(__name__)
_ROWS = 2_000  # per transaction

#: table -> the columns of other tables that refer to it, whose rows cannot be without it.
_REFERENCES: dict[type[Base], tuple[Any, ...]] = {
    ProblemSet: (
        InjectionJob.problem_set_id,
        Evaluation.problem_set_id,
        Study.problem_set_id,
        Study.validation_set_id,
        Study.test_set_id,
        Campaign.problem_set_id,
        Campaign.evaluation_set_id,
    ),
    InjectionJob: (Rejudging.injection_job_id, Estimate.pilot_id),
    Dataset: (TrainingRun.dataset_id,),
    TrainingRun: (LanguageModel.training_run_id,),
    LanguageModel: (
        InjectionJob.language_model_id,
        TrainingRun.base_model_id,
        Evaluation.language_model_id,
        LanguageModel.base_model_id,
        Study.language_model_id,
        Campaign.language_model_id,
    ),
    Estimate: (),
    Evaluation: (),
    Rejudging: (),
    UploadedFile: (),
    Study: (),
    Campaign: (),
}


def _of_pairs(job_id: str) -> ColumnElement[bool]:
    return Review.pair_id.in_(select(PairRow.id).where(PairRow.job_id == job_id))


def _of_problems(set_id: str) -> ColumnElement[bool]:
    return Retraction.problem_id.in_(select(ProblemRow.id).where(ProblemRow.problem_set_id == set_id))


def _errors_of(column: Any) -> tuple[Any, Any]:
    """The problems in error of the shards of the owner that this column names."""
    return ProblemError, lambda owner_id: ProblemError.shard_id.in_(select(Shard.id).where(column == owner_id))


#: In the order in which rows can go; each with what belongs to it, in the order in which that can go.
_CONTENTS: dict[type[Base], tuple[Any, ...]] = {
    Study: (StudyPart.study_id,),
    Campaign: (CampaignPart.campaign_id,),
    Rejudging: (VerdictChangeRow.rejudging_id, _errors_of(Shard.rejudging_id), Shard.rejudging_id),
    Evaluation: (
        EvaluationSample.evaluation_id,
        EvaluationScore.evaluation_id,
        _errors_of(Shard.evaluation_id),
        Shard.evaluation_id,
    ),
    TrainingRun: (Metric.run_id, Checkpoint.run_id, TrainingPlace.run_id, FineTuningJob.run_id),
    Dataset: (DatasetSource.dataset_id, Shard.dataset_id),
    Estimate: (),
    InjectionJob: (
        Retraction.job_id,
        (Review, _of_pairs),
        PairRow.job_id,
        EditRow.job_id,
        ProblemOutcome.job_id,
        SolutionRow.job_id,
        _errors_of(Shard.injection_job_id),
        Shard.injection_job_id,
    ),
    LanguageModel: (),
    ProblemSet: (BroughtSolution.problem_set_id, (Retraction, _of_problems), ProblemRow.problem_set_id),
    UploadedFile: (),
}


def dependents(session: Session, row: Any) -> list[Any]:
    """Every row that cannot be without ``row``, directly or by others; nearest first, without ``row`` itself.

    The pilot of an estimate is listed as the estimate, and follows it.
    """
    found: dict[str, Any] = {row.id: row}
    waiting = [row]
    while waiting:
        for other in _referring(session, waiting.pop(0)):
            if other.id not in found:
                found[other.id] = other
                waiting.append(other)
    return [other for other in list(found.values())[1:] if not _is_pilot(other)]


def _is_pilot(row: Any) -> bool:
    return isinstance(row, InjectionJob) and row.workspace_id == PILOT_WORKSPACE


def _referring(session: Session, row: Any) -> Iterator[Any]:
    for column in _REFERENCES[type(row)]:
        yield from session.scalars(select(column.class_).where(column == row.id).order_by(column.class_.id))
    if isinstance(row, InjectionJob):
        sources = select(DatasetSource.dataset_id).where(DatasetSource.job_id == row.id)
        yield from session.scalars(select(Dataset).where(Dataset.id.in_(sources)).order_by(Dataset.id))


def still_running(session: Session, rows: Sequence[Any]) -> list[Any]:
    """Those of the rows, and of what reads them at work, that have not ended. Locks the rows."""
    running = []
    for row in sorted(rows, key=lambda row: (row.__tablename__, row.id)):
        session.refresh(row, with_for_update=True)
        if getattr(row, "state", None) not in (None, *TERMINAL):
            running.append(row)
    models = {row.name for row in rows if isinstance(row, LanguageModel)}
    if models:
        open_jobs = select(InjectionJob).where(
            InjectionJob.workspace_id == rows[0].workspace_id, InjectionJob.state.not_in(sorted(TERMINAL))
        )
        for job in session.scalars(open_jobs):
            if (job.config.get("editing") or {}).get("editor_model") in models and job not in running:
                running.append(job)
    return running + [row for row in _readers_at_work(session, {row.id for row in rows}) if row not in running]


def _readers_at_work(session: Session, ids: set[str]) -> Iterator[Any]:
    """What has not ended and looks up one of these rows without depending on it once it has.

    An extension or a retry looks up what the jobs before it drew and edited, a mix reads the files of its datasets, and
    a run that goes on from a checkpoint reads that of another run.
    """
    further = select(InjectionJob).where(or_(InjectionJob.extends.is_not(None), InjectionJob.retry_of.is_not(None)))
    for job in session.scalars(further.where(InjectionJob.state.not_in(sorted(TERMINAL)))):
        if ids & set(family(session, job.id)):
            yield job
    for dataset in session.scalars(select(Dataset).where(Dataset.state.not_in(sorted(TERMINAL)))):
        if ids & {mixed["id"] for mixed in dataset.config.get("datasets") or ()}:
            yield dataset
    resumed = TrainingRun.from_run_id.in_(sorted(ids))
    yield from session.scalars(select(TrainingRun).where(resumed, TrainingRun.state.not_in(sorted(TERMINAL))))


def parents_hidden(session: Session, row: Any) -> bool:
    """Whether something that a new row refers to is being deleted. To the end of the transaction nothing of it is."""
    names = [
        (table, getattr(row, column.key))
        for table, columns in _REFERENCES.items()
        for column in columns
        if column.class_ is type(row)
    ]
    if isinstance(row, Dataset):
        sources = session.scalars(select(DatasetSource.job_id).where(DatasetSource.dataset_id == row.id))
        names += [(InjectionJob, job_id) for job_id in sources]
    for table, row_id in names:
        parent: Any = table
        # Waits for a deletion that has locked the row, and makes a later one wait for the new row.
        query = select(parent.workspace_id).where(parent.id == row_id).with_for_update(read=True, key_share=True)
        if session.scalar(query) == DELETED_WORKSPACE:
            return True
    return False


def with_pilots(session: Session, rows: Sequence[Any]) -> list[Any]:
    """The rows, and the pilots of the estimates among them."""
    pilots = [row.pilot_id for row in rows if isinstance(row, Estimate)]
    return [*rows, *session.scalars(select(InjectionJob).where(InjectionJob.id.in_(pilots)))]


def hide(session: Session, rows: Sequence[Any]) -> None:
    """Take the rows out of every workspace: for their users they are deleted when the transaction commits."""
    insert_ignore(session, Workspace, [{"id": DELETED_WORKSPACE, "name": DELETED_WORKSPACE_NAME}])
    ids = [row.id for row in rows]
    models = [row for row in rows if isinstance(row, LanguageModel)]
    # Nothing that stays may refer to what goes, and a name is free again at once.
    gone = TrainingRun.output_model_id.in_([model.id for model in models])
    session.execute(update(TrainingRun).where(gone).values(output_model_id=None))
    for model in models:
        model.name, model.base_model_id = model.id, None
    for row in rows:
        row.workspace_id = DELETED_WORKSPACE
        if isinstance(row, Dataset):
            row.import_key = None  # another workspace's same import may be being deleted as well
    session.execute(delete(Tag).where(Tag.subject_id.in_(ids)))
    # A repeated request whose resource is gone makes it anew.
    session.execute(delete(IdempotencyKey).where(IdempotencyKey.resource_id.in_(ids)))
    session.flush()


def purge(db: Database, store: StoreSettings, seconds: float) -> bool:
    """Delete what belongs to hidden rows, their files and then themselves, for about ``seconds``. True: all is gone.

    Raises what the database raises. Files that cannot be deleted are logged, and their row stays for the next time; so
    does a row that something refers to, which must not keep others from going.
    """
    until = time.monotonic() + seconds
    files = FileStore(store.files)
    done = True
    for table in _CONTENTS:
        for row in _hidden(db, table):
            try:
                if not _empty(db, row, until):
                    return False
                _remove_files(files, store, row)
                with db.begin() as session:
                    session.execute(delete(Event).where(Event.subject_id == row.id))
                    session.execute(delete(table).where(inspect(table).primary_key[0] == row.id))
            except OSError as error:
                log.warning("the files of %s cannot be deleted: %s", row.id, error)
                done = False
            except IntegrityError as error:
                log.error("%s cannot be deleted: %s", row.id, error.orig)
                done = False
    return done


def count_hidden(db: Database) -> int:
    """How many rows wait for :func:`purge`."""
    return sum(len(_hidden(db, table)) for table in _CONTENTS)


def _hidden(db: Database, table: Any) -> list[Any]:
    with db.read() as session:
        return list(session.scalars(select(table).where(table.workspace_id == DELETED_WORKSPACE)))


def _empty(db: Database, row: Any, until: float) -> bool:
    """Delete what belongs to a row. False: the time was over before."""
    for content in _CONTENTS[type(row)]:
        table, condition = (
            (content[0], content[1](row.id))
            if isinstance(content, tuple)
            else (
                content.class_,
                content == row.id,
            )
        )
        keys = inspect(table).primary_key
        key = keys[0] if len(keys) == 1 else tuple_(*keys)
        some = delete(table).where(key.in_(select(*keys).where(condition).limit(_ROWS)))
        while True:
            with db.begin() as session:
                result: Any = session.execute(some.execution_options(synchronize_session=False))
            if result.rowcount == 0:
                break
            if time.monotonic() > until:
                return False
    return True


def _remove_files(files: FileStore, store: StoreSettings, row: Any) -> None:
    folders = []
    if isinstance(row, Dataset):
        folders = [staged_folder(row.id), *([row.folder] if row.folder else [])]
    elif isinstance(row, TrainingRun):
        folders = [f"training/{row.id}"]
    elif isinstance(row, LanguageModel) and row.training_run_id:
        folders = [f"models/{row.training_run_id}"]
    elif isinstance(row, UploadedFile):
        folders = [upload_folder(row.id)]
    for folder in folders:
        try:
            files.remove(folder)
        except UnsafePath:
            log.warning("%s lies outside the file store and is left alone: %s", row.id, folder)
            continue
        if not files.is_local:
            shutil.rmtree(store.cache / folder, ignore_errors=True)
