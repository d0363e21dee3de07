"""A campaign looked at: rounds with the newest model until one of its rules ends it, or its last round is done."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy.orm import Session

from api.language_models import model_names
from api.studies.parts import PartFailed, Parts
from api.studies.rounds import evaluated, injected, trained
from errata.study_config import CampaignConfig, stop_reason
from models.evaluation_results import compare
from models.outputs import Evaluation
from models.studies import Campaign


def look_at_campaign(session: Session, campaign: Campaign, parts: Parts) -> dict[str, Any]:
    """Go on with a campaign, whose ``result`` is kept up to date; returns it when it has ended.

    ``rounds`` lists round 0, which is the start model's evaluation, and every round that was made, each with its
    evaluation, ``accuracy`` and ``interval`` at the first temperature, its job, dataset and training run, and the
    paired differences to the ``before`` round and to the ``start``. ``stopped`` names the rule that ended it, or is
    "rounds"; ``best`` is the model of the round with the highest accuracy. Raises Waiting and PartFailed.
    """
    config = CampaignConfig.model_validate(campaign.config)
    model = model_names(session, [campaign.language_model_id]).get(campaign.language_model_id, "")
    rows = [evaluated(parts, campaign.evaluation_set_id, model, config.evaluation)]
    rounds = [_told(session, rows, 0, model)]
    stopped = None
    for number in range(1, config.rounds + 1):
        if stopped := stop_reason(config.stop, [row["accuracy"] for row in rounds]):
            break
        seed = config.seed + number - 1
        job = injected(parts, config, campaign.problem_set_id, model, seed)
        pairs = int((job.funnel or {}).get("pairs", {}).get("total", 0))
        if config.stop.min_pairs is not None and pairs < config.stop.min_pairs:
            stopped = "min_pairs"
            break
        name = f"{campaign.id[-10:]}-r{number}"
        made = trained(parts, config, job, model, name, config.training, seed)
        model = made.model
        rows.append(evaluated(parts, campaign.evaluation_set_id, model, config.evaluation))
        rounds.append(_told(session, rows, number, model) | {"made": asdict(made)})
        campaign.result = _result(rounds, None)
    if stopped is None:
        stopped = stop_reason(config.stop, [row["accuracy"] for row in rounds]) or "rounds"
    return _result(rounds, stopped)


def _result(rounds: list[dict[str, Any]], stopped: str | None) -> dict[str, Any]:
    best = max(rounds, key=lambda row: row["accuracy"])
    return {
        "rounds": list(rounds),
        "stopped": stopped,
        "best": best["language_model"],
        "newest": rounds[-1]["language_model"],
    }


def _told(session: Session, rows: list[Evaluation], number: int, model: str) -> dict[str, Any]:
    result = rows[-1].result or {}
    if result.get("accuracy") is None:
        raise PartFailed(f"{rows[-1].id} judged no answer")
    found = {"round": number, "language_model": model, "evaluation": rows[-1].id}
    found |= {name: result[name] for name in ("accuracy", "interval")}
    found["temperatures"] = [
        {name: each[name] for name in ("temperature", "accuracy", "interval")} for each in result["temperatures"]
    ]
    if number:
        found["before"] = _difference(session, rows[-2], rows[-1])
        found["start"] = _difference(session, rows[0], rows[-1])
    return found


def _difference(session: Session, before: Evaluation, after: Evaluation) -> dict[str, Any]:
    found = compare(session, before.id, after.id)
    return {name: found[name] for name in ("delta", "interval", "p_value", "gained", "lost", "temperatures")}
