"""The rows that a study or campaign makes: each found again by its key, or made once.

A study is written as if everything were there at once: it asks for a part, and goes on with its row. What is not there
yet raises Waiting, and the study is asked again from the beginning, with what there is by then. So it can be killed at
any point: what it knows is its rows. Rows are made by the functions that requests make them by, with the same checks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.datasets import DatasetIn, new_dataset
from api.evaluations import EvaluationIn, new_evaluation
from api.http.errors import ApiError, TooManyRequests
from api.injection_jobs.jobs import InjectionJobIn, new_injection_job
from api.quotas import admit_job
from api.training.routes import cancel_run, new_training_job
from api.training.schemas import TrainingJobIn
from models.base import Base
from models.events import record
from models.jobs import InjectionJob
from models.outputs import Dataset, Evaluation, TrainingRun
from models.states import TERMINAL, JobState
from models.studies import Campaign, CampaignPart, Study, StudyPart
from workers.dispatch import Hint, cancel, complete_owner

Row = TypeVar("Row", InjectionJob, Dataset, TrainingRun, Evaluation)
Owner = Study | Campaign
_PREFIXES: dict[str, type[Base]] = {"inj": InjectionJob, "ds": Dataset, "train": TrainingRun, "eval": Evaluation}


class Waiting(Exception):
    """A part has not ended, or cannot be made yet."""


class PartFailed(Exception):
    """A part ended without success, is gone, or is refused as it was asked for."""


class Parts:
    """The parts of one owner in the caller's transaction, which holds a lock on the owner's row.

    ``hints`` are to be sent after the commit. At most ``concurrency`` parts are open at once.
    """

    def __init__(self, session: Session, owner: Owner, concurrency: int) -> None:
        self.session, self.owner, self.hints = session, owner, list[Hint]()
        self._parts: Any = StudyPart if isinstance(owner, Study) else CampaignPart
        self._column = "study_id" if isinstance(owner, Study) else "campaign_id"
        query = select(self._parts.key, self._parts.row_id).where(getattr(self._parts, self._column) == owner.id)
        # No dict(): a result has keys(), so dict() would take it for a mapping.
        self.ids: dict[str, str] = {key: row_id for key, row_id in session.execute(query)}  # noqa: C416
        self._free = concurrency - len(self.open_rows())

    def rows(self) -> list[Any]:
        """Every row that was made and is still there."""
        found: list[Any] = []
        for prefix, table in _PREFIXES.items():
            ids = [row_id for row_id in self.ids.values() if row_id.startswith(f"{prefix}_")]
            entity: Any = table
            mine = (entity.id.in_(ids), entity.workspace_id == self.owner.workspace_id)
            found += self.session.scalars(select(table).where(*mine)) if ids else []
        return found

    def open_rows(self) -> list[Any]:
        """Those that have not ended."""
        return [row for row in self.rows() if row.state not in TERMINAL]

    def job(self, key: str, body: InjectionJobIn) -> InjectionJob:
        """The injection job, once it has succeeded."""
        return self._part(key, InjectionJob, body, new_injection_job)

    def dataset(self, key: str, body: DatasetIn) -> Dataset:
        """The dataset, once it is frozen."""
        return self._part(key, Dataset, body, new_dataset)

    def training(self, key: str, body: TrainingJobIn) -> TrainingRun:
        """The training run, once it has made its model."""
        return self._part(key, TrainingRun, body, new_training_job)

    def evaluation(self, key: str, body: EvaluationIn) -> Evaluation:
        """The evaluation, once it has its result."""
        return self._part(key, Evaluation, body, new_evaluation)

    def cancel_all(self) -> bool:
        """Ask what is open to stop. True: nothing is open any more."""
        for row in self.open_rows():
            if isinstance(row, TrainingRun):
                cancel_run(self.session, row, None)
            else:
                cancel(self.session, type(row), row.id)
                complete_owner(self.session, type(row), row.id)
        self.session.flush()
        self.session.expire_all()
        return not self.open_rows()

    def _part(
        self, key: str, table: type[Row], body: Any, create: Callable[[Session, str, Any], tuple[Row, list[Hint]]]
    ) -> Row:
        if key not in self.ids:
            self._make(key, table, body, create)
            raise Waiting
        row = self.session.get(table, self.ids[key])
        if row is None or row.workspace_id != self.owner.workspace_id:
            raise PartFailed(f"{self.ids[key]} was deleted")
        if row.state not in TERMINAL:
            raise Waiting
        if row.state != JobState.SUCCEEDED:
            told = getattr(row, "error", None)
            raise PartFailed(f"{row.id} {row.state}{f': {told}' if told else ''}")
        return row

    def _make(
        self, key: str, table: type[Any], body: Any, create: Callable[[Session, str, Any], tuple[Any, list[Hint]]]
    ) -> None:
        if self._free <= 0:
            raise Waiting
        try:
            admit_job(self.session, self.owner.workspace_id, table)
            with self.session.begin_nested():
                row, hints = create(self.session, self.owner.workspace_id, body)
        except TooManyRequests:  # a quota that time frees: tried again at the next look
            raise Waiting from None
        except ApiError as error:
            raise PartFailed(told(error)) from None
        self.session.add(self._parts(**{self._column: self.owner.id, "key": key, "row_id": row.id}))
        self.session.flush()
        record(self.session, self.owner.workspace_id, self.owner.id, "part_started", part=row.id)
        self.ids[key] = row.id
        self._free -= 1
        self.hints += hints


def key_of(kind: str, given: Mapping[str, Any]) -> str:
    """The key of a part: equal for equal requests, so that arms share what they have in common."""
    text = json.dumps(given, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return f"{kind}:{hashlib.sha256(text.encode()).hexdigest()[:40]}"


def told(error: ApiError) -> str:
    """A refusal in one line, with its fields."""
    fields = "; ".join(f"{each.field}: {each.message}" for each in getattr(error, "errors", None) or ())
    return fields or str(error.detail)
