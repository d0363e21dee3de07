"""``/v1/pairs/{id}/review`` and ``/v1/pairs/reviews``: accepting and rejecting pairs, with reasons and history.

The newest review of a pair stands. A review changes no dataset that is frozen already; later freezes can filter by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.http.auth import Caller, Reader, Writer
from api.http.errors import FieldError, Invalid, NotFound, documented
from api.http.routing import ApiDep, make_router
from api.http.rows import Listing, PageDep, child_listing, path_row
from api.schemas import Name, Request, RowAnswer, RowId, Storable
from models.curation import Review, add_reviews, standing_reviews
from models.jobs import PairRow
from models.workspaces import ApiKey

MOST_AT_ONCE = 1_000
router = make_router("/v1/pairs", "reviews")
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=10_000), Storable]


class ReviewIn(Request):
    """A decision about a pair."""

    verdict: Literal["accepted", "rejected"]
    reason: Reason | None = None
    reviewer: Name | None = Field(None, description="Who decided; by default the name of the API key.")


class PairReviewIn(ReviewIn):
    """A decision about the pair it names."""

    pair: RowId


class ReviewsIn(Request):
    """Many decisions: all of them are taken, or none."""

    reviews: list[PairReviewIn] = Field(min_length=1, max_length=MOST_AT_ONCE)


class ReviewOut(RowAnswer):
    """A decision about a pair. ``withdrawn`` ends the one before; the newest stands."""

    object: Literal["review"] = "review"
    id: str
    pair: str = Field(validation_alias="pair_id")
    verdict: Literal["accepted", "rejected", "withdrawn"]
    reason: str | None
    reviewer: str | None
    source: Literal["api", "argilla"]
    created_at: datetime


def key_name(session: Session, caller: Caller) -> str | None:
    """The name of the caller's API key; null for requests without one."""
    key = session.get(ApiKey, caller.key_id) if caller.key_id else None
    return key.name if key else None


def decision(body: ReviewIn, caller: Caller, by_default: str | None) -> dict[str, Any]:
    """A request's decision as models.curation.add_reviews takes it."""
    reviewer = body.reviewer or by_default
    told = {"verdict": body.verdict, "reason": body.reason, "reviewer": reviewer}
    return {**told, "key_id": caller.key_id, "source": "api"}


def pairs_named(session: Session, ids: Sequence[str], workspace_id: str, field: str) -> list[PairRow]:
    """The pairs with these ids, in their order. Raises Invalid naming each that is missing, by ``field``."""
    found = session.scalars(select(PairRow).where(PairRow.id.in_(set(ids)), PairRow.workspace_id == workspace_id))
    rows = {row.id: row for row in found}
    missing = [at for at, pair_id in enumerate(ids) if pair_id not in rows]
    if missing:
        remedy = "give an id that starts with 'pair_', from GET /v1/pairs"
        places = [field.format(at=at) for at in missing]
        errors = [FieldError(field=place, message="there is no such pair", remedy=remedy) for place in places]
        raise Invalid(f"{places[0]}: there is no such pair ({len(missing)} of {len(ids)})", errors)
    return [rows[pair_id] for pair_id in ids]


@router.put("/{pair_id}/review", responses=documented(404, 413, 415))
def review_pair(caller: Writer, api: ApiDep, pair_id: str, body: ReviewIn) -> ReviewOut:
    """Accept or reject a pair. The same decision again changes nothing."""
    with api.db.begin() as session:
        pair = path_row(session, PairRow, pair_id, caller.workspace_id)
        told = decision(body, caller, key_name(session, caller))
        return ReviewOut.of(add_reviews(session, [pair], [told])[0])


@router.delete("/{pair_id}/review", responses=documented(404))
def withdraw_review(caller: Writer, api: ApiDep, pair_id: str) -> ReviewOut:
    """Take a pair's standing review back: the pair then has none. What was decided stays in its history."""
    with api.db.begin() as session:
        pair = path_row(session, PairRow, pair_id, caller.workspace_id)
        if not standing_reviews(session, [pair_id]):
            raise NotFound("the pair has no review to withdraw")
        told = {"verdict": "withdrawn", "reason": None, "reviewer": key_name(session, caller)}
        return ReviewOut.of(add_reviews(session, [pair], [{**told, "key_id": caller.key_id, "source": "api"}])[0])


@router.post("/reviews", responses=documented(413, 415))
def review_pairs(caller: Writer, api: ApiDep, body: ReviewsIn) -> Listing[ReviewOut]:
    """Accept or reject many pairs: all of them, or none. Of a pair that is named twice the last decision stands."""
    with api.db.begin() as session:
        pairs = pairs_named(session, [row.pair for row in body.reviews], caller.workspace_id, "reviews.{at}.pair")
        by_default = key_name(session, caller)
        rows = add_reviews(session, pairs, [decision(row, caller, by_default) for row in body.reviews])
        return Listing.whole([ReviewOut.of(row) for row in rows])


@router.get("/{pair_id}/reviews", responses=documented(404))
def list_reviews(caller: Reader, api: ApiDep, pair_id: str, page: PageDep) -> Listing[ReviewOut]:
    """Every decision about a pair, oldest first; the last one stands."""
    filters, keys = {Review.pair_id: pair_id}, (Review.position,)
    return child_listing(ReviewOut.of, api.db, PairRow, pair_id, caller.workspace_id, keys, page, filters)
