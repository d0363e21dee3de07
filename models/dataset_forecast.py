"""How many pairs of injection jobs a dataset would hold, counted before it is frozen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from errata.output_config import DatasetConfig
from errata.rests import LeftOut, RestKind
from errata.types import Verdict
from models.curation import not_retracted
from models.jobs import PairRow, SolutionRow
from models.pair_filters import pair_conditions, problem_conditions
from models.workspaces import ProblemRow

_CUT = "length"  # the finish reason of a sample that was cut


@dataclass
class Forecast:
    """Counts of what the filters take; draws and splits come later. ``unknown``: pairs of before rests were stored.

    ``whole`` counts pairs of each type that go on to their answers; ``left_out`` says why the others do not.
    """

    pairs: Counter[str] = field(default_factory=Counter)
    whole: Counter[str] = field(default_factory=Counter)
    left_out: Counter[LeftOut] = field(default_factory=Counter)
    unknown: int = 0
    samples: int = 0


def forecast(session: Session, jobs: Sequence[str], config: DatasetConfig) -> Forecast:
    """Count the pairs and samples of these jobs that pass the filters. One pass over the jobs' pairs."""
    found = Forecast()
    of_problems = problem_conditions(config)
    where: list[ColumnElement[bool]] = [PairRow.job_id.in_(jobs), *pair_conditions(config)]
    if of_problems:
        where.append(PairRow.problem_id.in_(select(ProblemRow.id).where(*of_problems)))
    kind, why = (PairRow.rest[name].as_string() for name in ("kind", "why"))
    query = select(PairRow.type, kind, why, func.count()).where(*where).group_by(PairRow.type, kind, why)
    for type_, kind_, why_, count in session.execute(query):
        found.pairs[type_] += count
        stays = config.whole_right_answers and why_ == LeftOut.ANSWER_STAYS
        if kind_ in set(RestKind) or stays:
            found.whole[type_] += count
        elif why_ in set(LeftOut):
            found.left_out[LeftOut(why_)] += count
        else:
            found.unknown += count
    found.samples = _samples(session, jobs, config, of_problems)
    return found


def _samples(session: Session, jobs: Sequence[str], config: DatasetConfig, of_problems: Sequence[Any]) -> int:
    query = select(func.count(SolutionRow.id)).where(
        SolutionRow.job_id.in_(jobs),
        SolutionRow.verdict == Verdict.CORRECT,
        or_(SolutionRow.finish_reason.is_(None), SolutionRow.finish_reason != _CUT),
        not_retracted(SolutionRow),
    )
    if config.sources is not None:
        query = query.where(SolutionRow.source.in_(config.sources))
    if of_problems:
        query = query.where(SolutionRow.problem_id.in_(select(ProblemRow.id).where(*of_problems)))
    return session.scalar(query) or 0
