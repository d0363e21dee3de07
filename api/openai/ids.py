"""Ids and pages as OpenAI's client knows them: ``ftjob-...`` is our ``train_...``; ``after`` is the id of a row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar

from fastapi import Query
from pydantic import BaseModel, Field
from sqlalchemy import Select, literal, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from api.http.errors import Invalid

Item = TypeVar("Item")
#: OpenAI's prefix and ours.
_PREFIXES = {"file-": "file_", "ftjob-": "train_", "ftckpt-": "ckpt_"}
_OURS = {ours: theirs for theirs, ours in _PREFIXES.items()}
_ID = re.compile(r"(file|ftjob|ftckpt)-[0-9a-z]{1,40}")
After = Annotated[str | None, Query(max_length=100, description="The id of the last row of the page before.")]


def public_id(row_id: str) -> str:
    """The id of our row as OpenAI's routes tell it."""
    prefix, _, rest = row_id.partition("_")
    return f"{_OURS[prefix + '_']}{rest}"


def row_id(public: str) -> str | None:
    """The id of our row; None for what is no id of these routes, or of another of them."""
    if not _ID.fullmatch(public):
        return None
    prefix, _, rest = public.partition("-")
    return f"{_PREFIXES[prefix + '-']}{rest}"


def unix(time: datetime) -> int:
    """Seconds since 1970, as OpenAI tells times."""
    return int(time.timestamp())


class Page(BaseModel, Generic[Item]):
    """One page of a list; the id of its last row is ``after`` of the next one."""

    object: Literal["list"] = "list"
    data: list[Item]
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool = Field(description="Whether rows follow.")

    @classmethod
    def of(cls, items: Sequence[Any], *, has_more: bool) -> Page[Item]:
        """A page of these answers, each of which has an id."""
        ends = {"first_id": items[0].id, "last_id": items[-1].id} if items else {}
        return cls(data=list(items), has_more=has_more, **ends)


class Keys(NamedTuple):
    """The columns of a list's order: a time, and what tells rows of one time apart."""

    time: InstrumentedAttribute[Any]
    tie: InstrumentedAttribute[Any]


def anchor(session: Session, keys: Keys, *conditions: Any) -> tuple[datetime, Any]:
    """Where a list goes on: the keys of the row that ``after`` names. Raises Invalid where the list has no such row."""
    found = session.execute(select(keys.time, keys.tie).where(*conditions)).first()
    if found is None:
        raise unknown_after()
    return found[0], found[1]


def unknown_after() -> Invalid:
    """The refusal of an ``after`` that names no row of the list."""
    return Invalid.field("after", "this list has no row of this id", "give the id of the last row of the page before")


def rows_behind(
    session: Session,
    query: Select[*tuple[Any, ...]],
    keys: Keys,
    at: tuple[datetime, Any] | None,
    limit: int,
    *,
    descending: bool = True,
) -> tuple[list[Any], bool]:
    """Rows of ``query`` behind ``at``, in the order of ``keys``, and whether more follow."""
    pair = tuple_(keys.time, keys.tie)
    if at is not None:
        # In the order of the tuple an index answers this at any depth, unlike OFFSET.
        here = tuple_(literal(at[0], keys.time.type), literal(at[1], keys.tie.type))
        query = query.where(pair < here if descending else pair > here)
    query = query.order_by(*(key.desc() if descending else key.asc() for key in keys)).limit(limit + 1)
    rows = list(session.execute(query).all())
    return rows[:limit], len(rows) > limit
