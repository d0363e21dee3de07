"""What the database knows of pairs whose files do not tell it: their problems' subjects and levels, and reviews."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from errata.output_config import DatasetFilters
from models.jobs import InjectionJob, PairRow
from models.pair_filters import problem_conditions
from models.workspaces import ProblemRow
from workers.stages.bulk_reading import fetch, table_of

_IDS = pa.schema([("id", pa.string())])


@dataclass(frozen=True)
class Known:
    """Which rows of files pass ``subjects``, ``levels`` and ``reviews``. None: the filter is not given.

    ``problems``: ids of problems of the subjects and levels; ``accepted`` and ``rejected``: ids of pairs by their
    standing review. Memory: about 30 bytes an id.
    """

    problems: Any = None
    accepted: Any = None
    rejected: Any = None

    def pairs(self, table: pa.Table) -> pa.Table:
        """The rows of a table of pairs that pass."""
        table = self.samples(table)
        if self.accepted is not None:
            table = table.filter(pc.is_in(table["pair_id"], value_set=self.accepted))
        if self.rejected is not None:
            table = table.filter(pc.invert(pc.is_in(table["pair_id"], value_set=self.rejected)))
        return table

    def samples(self, table: pa.Table) -> pa.Table:
        """The rows of a table of samples that pass. Nobody reviews samples."""
        if self.problems is None:
            return table
        return table.filter(pc.is_in(table["problem_id"], value_set=self.problems))


NOTHING = Known()


def known_of(session: Session, jobs: Sequence[InjectionJob], filters: DatasetFilters) -> Known:
    """What the database knows of the pairs of these jobs, as far as the filters ask for it."""
    problems = accepted = rejected = None
    conditions = problem_conditions(filters)
    if conditions:
        sets = sorted({job.problem_set_id for job in jobs})
        problems = _ids(session, select(ProblemRow.id).where(ProblemRow.problem_set_id.in_(sets), *conditions))
    of_jobs = select(PairRow.id).where(PairRow.job_id.in_([job.id for job in jobs]))
    if filters.reviews == "accepted":
        accepted = _ids(session, of_jobs.where(PairRow.review == "accepted"))
    elif filters.reviews == "not_rejected":
        rejected = _ids(session, of_jobs.where(PairRow.review == "rejected"))
    return Known(problems, accepted, rejected)


def _ids(session: Session, query: Select[Any]) -> Any:
    return table_of(fetch(session, query), _IDS)["id"].combine_chunks()
