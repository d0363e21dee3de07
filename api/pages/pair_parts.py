"""What stands beside a pair: its review, the values that its error changes, and the other edits of the same step."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from fastapi.responses import RedirectResponse, Response
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.http.errors import Forbidden, Invalid
from api.http.routing import ApiDep
from api.http.rows import path_row
from api.pages.acts import Given
from api.pages.format import visible
from api.pages.rendering import PageRoute, Viewer
from api.reviews import ReviewIn, decision, key_name
from errata.replay import value_chain
from models.curation import add_reviews, standing_reviews
from models.jobs import EditRow, PairRow, SolutionRow

router = APIRouter(route_class=PageRoute, include_in_schema=False)
_MAX_OTHERS = 12
_PAIR_ID = re.compile(r"pair_[0-9a-z]{1,40}")
_FILTERS = re.compile(r"\?[A-Za-z0-9_=&%+.-]{0,600}")


@dataclass(frozen=True, slots=True)
class OtherEdit:
    """Another edit of the step: ``reason`` says why it made no pair, ``pair`` is the one it made."""

    kind: str
    editor: str | None
    text: str | None
    reason: str | None
    pair: str | None


@dataclass(frozen=True, slots=True)
class Link:
    """A calculation of the solution and its value before and after the error. ``step`` counts from 1."""

    step: int
    equation: str
    before: str
    after: str


def beside(session: Session, row: PairRow, solution: SolutionRow, edit: EditRow | None, domain: str) -> dict[str, Any]:
    """What the page shows beside a pair, by name."""
    return {
        "review": standing_reviews(session, [row.id]).get(row.id),
        "chain": _chain(row, solution, edit) if domain == "math" else (),
        "others": _others(session, edit),
    }


def _chain(row: PairRow, solution: SolutionRow, edit: EditRow | None) -> tuple[Link, ...]:
    """The values behind a ``replay``; nothing for pairs with another proof."""
    if edit is None or edit.edited is None or row.evidence_kind != "replay":
        return ()
    found = value_chain(row.question, solution.text, edit.step_index, edit.edited)
    return tuple(Link(one.step + 1, visible(one.equation), str(one.before), str(one.after)) for one in found)


def _others(session: Session, edit: EditRow | None) -> tuple[OtherEdit, ...]:
    if edit is None:
        return ()
    same = (EditRow.solution_id == edit.solution_id, EditRow.step_index == edit.step_index, EditRow.id != edit.id)
    query = select(EditRow).where(*same).order_by(EditRow.kind).limit(_MAX_OTHERS)
    rows = session.scalars(query).all()
    made = select(PairRow.edit_id, PairRow.id).where(PairRow.edit_id.in_([other.id for other in rows]))
    pairs = {pair.edit_id: pair.id for pair in session.execute(made)}
    return tuple(OtherEdit(one.kind, one.editor, one.edited, one.reason, pairs.get(one.id)) for one in rows)


@router.post("/pairs/{pair_id}/review")
def review(api: ApiDep, viewer: Viewer, pair_id: str, given: Given) -> Response:
    """Accept or reject a pair, or take that back; then on to the pair that the form names, under the same filters."""
    if not viewer.may("write"):
        raise Forbidden("this key lacks the scope 'write'; sign in with one made with it")
    sent = {name: values[0] for name, values in given.items()}
    withdrawn = sent.get("verdict") == "withdrawn"
    body = None if withdrawn else _body(sent)
    with api.db.begin() as session:
        pair = path_row(session, PairRow, pair_id, viewer.workspace_id)
        reviewer = key_name(session, viewer)
        if body is not None:
            add_reviews(session, [pair], [decision(body, viewer, reviewer)])
        elif standing_reviews(session, [pair_id]):
            told = {"verdict": "withdrawn", "reason": None, "reviewer": reviewer}
            add_reviews(session, [pair], [{**told, "key_id": viewer.key_id, "source": "api"}])
    following = sent.get("then", "")
    target = following if _PAIR_ID.fullmatch(following) and not withdrawn else pair_id
    filters = sent.get("filters", "")
    return RedirectResponse(f"/pairs/{target}" + (filters if _FILTERS.fullmatch(filters) else ""), 303)


def _body(sent: Mapping[str, str]) -> ReviewIn:
    try:
        return ReviewIn.model_validate(
            {"verdict": sent.get("verdict"), "reason": sent.get("reason", "").strip() or None}
        )
    except ValidationError:
        raise Invalid("A pair is accepted or rejected, for a reason of at most 10,000 characters.") from None
