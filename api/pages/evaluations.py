"""One evaluation: its accuracy with interval, beside other evaluations of the same problem set."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.pages import progress
from api.pages.training import flat
from models.outputs import Evaluation
from models.workspaces import LanguageModel, ProblemSet

PEERS = 11


@dataclass(frozen=True, slots=True)
class Estimate:
    """An accuracy with its 95 % interval, from 0 to 1."""

    id: str
    title: str
    decoding: str
    value: float
    low: float
    high: float
    current: bool


@dataclass(frozen=True, slots=True)
class EvaluationView:
    """Everything the page of one evaluation shows."""

    row: Evaluation
    share: float
    eta: float | None
    elapsed: float | None
    language_model: str
    problem_set: str
    estimate: Estimate | None
    estimates: tuple[Estimate, ...]
    settings: tuple[tuple[str, str], ...]
    figures: tuple[tuple[str, str], ...]

    @property
    def live(self) -> bool:
        """Whether the evaluation can still change."""
        return progress.is_live(self.row.state)


def evaluation_view(session: Session, row: Evaluation, now: datetime) -> EvaluationView:
    """An evaluation and the newest finished ones of its problem set in the same workspace."""
    share = progress.load(session, Evaluation, [row.id])[row.id].share
    model = session.get_one(LanguageModel, row.language_model_id).name
    peers = (
        select(Evaluation, LanguageModel.name)
        .join(LanguageModel, LanguageModel.id == Evaluation.language_model_id)
        .where(
            Evaluation.workspace_id == row.workspace_id,
            Evaluation.problem_set_id == row.problem_set_id,
            Evaluation.id != row.id,
            Evaluation.result.is_not(None),
        )
        .order_by(Evaluation.created_at.desc())
        .limit(PEERS)
    )
    own = estimate_of(row, model, current=True)
    others = [estimate_of(peer, name, current=False) for peer, name in session.execute(peers)]
    shown = [item for item in [own, *others] if item is not None]
    return EvaluationView(
        row=row,
        share=share,
        eta=progress.eta_seconds(row.state, share, row.started_at, now),
        elapsed=progress.elapsed_seconds(row.started_at, row.finished_at, now),
        language_model=model,
        problem_set=session.get_one(ProblemSet, row.problem_set_id).name,
        estimate=own,
        estimates=tuple(sorted(shown, key=lambda item: -item.value)),
        settings=tuple(flat(row.config)),
        figures=tuple(flat(row.result or {})),
    )


def estimate_of(row: Evaluation, model: str, *, current: bool) -> Estimate | None:
    """The accuracy a result holds, None where it holds none."""
    result = row.result or {}
    value = _share(result.get("accuracy"))
    if value is None:
        return None
    low, high = _interval(result)
    title = row.name or model
    return Estimate(
        row.id,
        title,
        decoding(row.config),
        value,
        value if low is None else low,
        value if high is None else high,
        current,
    )


def decoding(config: dict[str, Any]) -> str:
    """ "greedy" or "sampled, T = 0.7"."""
    temperature = config.get("temperature")
    if not isinstance(temperature, int | float):
        return ""
    return "greedy" if temperature == 0 else f"sampled, T\u202f=\u202f{temperature:g}"


def _interval(result: dict[str, Any]) -> tuple[float | None, float | None]:
    for name in ("interval", "ci95", "accuracy_interval"):
        ends = result.get(name)
        if isinstance(ends, list | tuple) and len(ends) == 2:
            return _share(ends[0]), _share(ends[1])
    return _share(result.get("low")), _share(result.get("high"))


def _share(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        return None
    return float(value)
