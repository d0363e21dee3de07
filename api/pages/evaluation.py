"""One evaluation beside others of the same problem set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.pages.format import as_share, flat
from models.outputs import Evaluation
from models.workspaces import LanguageModel, ProblemSet

_MAX_PEERS = 11


@dataclass(frozen=True, slots=True)
class Accuracy:
    """An evaluation's accuracy with its 95 % interval, each from 0 to 1."""

    id: str
    title: str
    decoding: str
    value: float
    low: float
    high: float
    current: bool
    problems: int | None


def evaluation_context(session: Session, row: Evaluation) -> dict[str, Any]:
    """What the page of an evaluation shows: also the newest finished ones of its problem set in the same workspace."""
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
        .limit(_MAX_PEERS)
    )
    own = accuracy_of(row, model, current=True)
    found = session.execute(peers).all()
    mine = problems_of(row)
    # An accuracy over the first 60 problems of a set says nothing beside one over all 200.
    same = [accuracy_of(peer, name, current=False) for peer, name in found if problems_of(peer) == mine]
    others = [accuracy_of(peer, name, current=False) for peer, name in found if problems_of(peer) != mine]
    return {
        "language_model": model,
        "problem_set": session.get_one(ProblemSet, row.problem_set_id).name,
        "accuracy": own,
        "accuracies": sorted((item for item in (own, *same) if item), key=lambda item: -item.value),
        "others": [item for item in others if item],
        "figures": _figures(row.result or {}),
    }


def _figures(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The figures of a result; those of the first temperature are the result's own, so only further ones are added."""
    own = {name: value for name, value in result.items() if name != "temperatures"}
    further = [each for each in result.get("temperatures") or () if isinstance(each, dict)][1:]
    found = flat(own)
    for each in further:
        figures = {name: value for name, value in each.items() if name != "temperature"}
        found += flat(figures, f"T = {each.get('temperature')}: ")
    return found


def problems_of(row: Evaluation) -> int | None:
    """How many problems an evaluation is over, always the first of its set; None where it does not say."""
    told = (row.result or {}).get("problems")
    return told if told is not None else row.config.get("limit")


def accuracy_of(row: Evaluation, model: str, *, current: bool) -> Accuracy | None:
    """The accuracy a result holds; None where no sample was judged."""
    result = row.result or {}
    value = as_share(result.get("accuracy"))
    if value is None:
        return None
    low, high = result.get("interval") or (value, value)
    return Accuracy(row.id, row.name or model, _decoding(row.config), value, low, high, current, problems_of(row))


def _decoding(config: dict[str, Any]) -> str:
    """ "greedy" or "sampled, T = 0.7"."""
    temperature = config["temperature"]
    return "greedy" if temperature == 0 else f"sampled, T\u202f=\u202f{temperature:g}"
