"""What a job's tokens cost by the prices of its models' entries, and whether a budget in money can be held."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.http.errors import Invalid
from errata.config import InjectionConfig
from errata.funnel import Funnel
from errata.prices import Prices, read_prices
from errata.stopping import StopConfig
from models.base import db_now
from models.jobs import InjectionJob
from models.states import Stage
from models.workspaces import LanguageModel
from workers.dispatch import price_of

_REMEDY = (
    "give its entry the settings price_prompt and price_completion (per million tokens), or limit the tokens instead"
)


class SpentOut(BaseModel):
    """What a job's tokens cost until now, by the prices that its models had when it was accepted."""

    amount: float = Field(description="Reused tokens cost nothing.")
    currency: str = Field(description="The label that the models' entries give.")


def prices_of(config: InjectionConfig, model: LanguageModel | None, editor: LanguageModel | None) -> Prices | str:
    """The prices of a job's models, or why there are none. ``editor``: where another model edits."""
    asked: dict[Stage, LanguageModel] = {}
    if model is not None and config.needs_model:
        asked = {Stage.SAMPLE: model, Stage.EDIT: model, Stage.CONTINUE: model}
    if editor is not None:
        asked[Stage.EDIT] = editor
    if not asked:
        return "the job asks no language model, so it spends nothing"
    found = {stage: (row, price_of(row.config)) for stage, row in asked.items()}
    missing = next((row.name for row, price in found.values() if price is None), None)
    if missing is not None:
        return f"language model '{missing}' has no price"
    currencies = sorted({price[1] for _, price in found.values() if price is not None})
    if len(currencies) > 1:
        return f"its language models are priced in {' and '.join(currencies)}, which cannot be added"
    stages = {str(stage): price[0] for stage, (_, price) in found.items() if price is not None}
    return Prices(currency=currencies[0], stages=stages)


def stored_prices(found: Prices | str) -> dict[str, Any] | None:
    """The prices as a job keeps them."""
    return None if isinstance(found, str) else found.model_dump(mode="json")


def check_stop(session: Session, stop: StopConfig, prices: Prices | str | None, at: str = "config.stop.") -> None:
    """Raises Invalid for a budget in money without prices, and for a deadline that has passed.

    ``at``: what stands before their names in the request.
    """
    if stop.money is not None and not isinstance(prices, Prices):
        raise Invalid.field(f"{at}money", prices or "its language model had no price when it was accepted", _REMEDY)
    if stop.deadline is not None and stop.deadline <= session.scalars(select(db_now())).one():
        raise Invalid.field(f"{at}deadline", "this time has passed", "give a later one, or null for none")


def spent_of(job: InjectionJob, funnel: Funnel) -> SpentOut | None:
    """What a job has spent; None where its models had no prices."""
    prices = read_prices(job.prices)
    if prices is None:
        return None
    return SpentOut(amount=round(prices.spent(funnel.counts["tokens"]), 6), currency=prices.currency)
