"""Rows of the caller's workspace: one by its public id, or a list page by page.

A public id starts with a prefix that names its resource. Lists have ``limit``, ``after``, ``has_more``, opaque cursors
and a stable order (keyset, never offsets). A cursor holds the sort values of the last row seen, so that rows added
meanwhile neither repeat nor hide others. It is bound to the list it came from. Filters may change between pages at the
caller's own risk.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar, cast

from fastapi import Depends, Query, Response
from pydantic import BaseModel, Field
from sqlalchemy import ColumnElement, Select, literal, select, tuple_
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import InstrumentedAttribute, Session

from api.http.errors import Invalid, NotFound
from models.base import Base
from models.curation import Retraction
from models.jobs import Estimate, InjectionJob, PairRow
from models.outputs import Dataset, Evaluation, Rejudging, TrainingRun
from models.session import Database
from models.studies import Campaign, Study
from models.webhooks import WebhookDelivery, WebhookEndpoint
from models.workspaces import ApiKey, ProblemSet

T = TypeVar("T")
Row = TypeVar("Row")
TableRow = TypeVar("TableRow", bound=Base)
MAX_LIMIT = 500


class Kind(NamedTuple):
    """A resource with public ids: the prefix of its ids, what it is called, and where it is listed."""

    prefix: str
    name: str
    url: str


#: Every resource that a path or a body names by id. A new resource adds its line here.
KINDS: dict[type[Base], Kind] = {
    ProblemSet: Kind("pset", "problem set", "/v1/problem-sets"),
    InjectionJob: Kind("inj", "injection job", "/v1/injection-jobs"),
    PairRow: Kind("pair", "pair", "/v1/pairs"),
    Dataset: Kind("ds", "dataset", "/v1/datasets"),
    TrainingRun: Kind("train", "training job", "/v1/training-jobs"),
    Evaluation: Kind("eval", "evaluation", "/v1/evaluations"),
    Study: Kind("study", "study", "/v1/studies"),
    Campaign: Kind("camp", "campaign", "/v1/campaigns"),
    Rejudging: Kind("rejudge", "rejudging", "/v1/rejudgings"),
    Retraction: Kind("retract", "retraction", "/v1/retractions"),
    Estimate: Kind("est", "estimate", "/v1/estimates"),
    ApiKey: Kind("key", "API key", "/v1/keys"),
    WebhookEndpoint: Kind("hook", "webhook", "/v1/webhooks"),
    WebhookDelivery: Kind("msg", "webhook delivery", "/v1/webhooks/{id}/deliveries"),
}
_BY_PREFIX = {kind.prefix: kind for kind in KINDS.values()}
_ID = re.compile(r"[a-z]+_[0-9a-z]{1,40}")


def path_row(session: Session, table: type[TableRow], row_id: str, workspace_id: str) -> TableRow:
    """The row a path names. Raises NotFound; a row of another workspace is not found either."""
    row = _find(session, table, row_id, workspace_id)
    if row is None:
        kind = KINDS[table]
        raise NotFound(f"there is no such {kind.name}{_hint(row_id, kind.prefix)}")
    return row


def body_row(session: Session, table: type[TableRow], row_id: str, workspace_id: str, field: str) -> TableRow:
    """The row a body's field names. Raises Invalid naming the field."""
    row = _find(session, table, row_id, workspace_id)
    if row is None:
        kind = KINDS[table]
        message = f"there is no such {kind.name}{_hint(row_id, kind.prefix)}"
        raise Invalid.field(field, message, f"give an id that starts with '{kind.prefix}_', from GET {kind.url}")
    return row


def lock_row(session: Session, row: Any) -> None:
    """Lock a row of the caller's to the end of the transaction and read it anew. Raises NotFound: it was just deleted.

    Without the look behind the lock, what a deletion has hidden meanwhile would be built upon.
    """
    name = KINDS[type(row)].name if type(row) in KINDS else "language model"
    workspace_id = row.workspace_id
    try:
        session.refresh(row, with_for_update=True)
    except InvalidRequestError:  # it is gone altogether
        raise NotFound(f"there is no such {name}") from None
    if row.workspace_id != workspace_id:
        raise NotFound(f"there is no such {name}")


def _find(session: Session, table: type[TableRow], row_id: str, workspace_id: str) -> TableRow | None:
    # An id of another shape never reaches the database: it may hold what PostgreSQL cannot take, such as NUL.
    if not _ID.fullmatch(row_id):
        return None
    row: Any = session.get(table, row_id)
    return None if row is None or row.workspace_id != workspace_id else row


def _hint(row_id: str, prefix: str) -> str:
    """What is seen of an id that cannot be right: of which kind it is instead, or how one of this kind begins."""
    other, mark, _ = row_id.partition("_")
    if other == prefix:
        return ""
    if not mark or other not in _BY_PREFIX:
        return f": ids of this kind begin with '{prefix}_'"
    _, name, url = _BY_PREFIX[other]
    return f": this is the id of {'an' if name[0] in 'aeiou' else 'a'} {name} (see {url})"


class Listing(BaseModel, Generic[T]):
    """One page of a list."""

    object: Literal["list"] = "list"
    data: list[T]
    has_more: bool
    next: str | None = Field(None, description="Give it as `after` for the next page; null on the last one.")

    @classmethod
    def whole(cls, data: list[T]) -> Listing[T]:
        """A list that is never cut into pages."""
        return cls(data=data, has_more=False, next=None)


@dataclass(frozen=True)
class PageRequest:
    """Which page is wanted."""

    limit: int
    after: str | None


async def page_request(
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Rows per page.")] = 50,
    after: Annotated[str | None, Query(max_length=600, description="`next` of the page before.")] = None,
) -> PageRequest:
    """The page parameters every list has."""
    return PageRequest(limit, after)


PageDep = Annotated[PageRequest, Depends(page_request)]


@dataclass(frozen=True)
class Page(Generic[Row]):
    """The rows of one page and the cursor of the next."""

    rows: Sequence[Row]
    next: str | None

    def listing(self, answer: Callable[[Row], T]) -> Listing[T]:
        """The page as an answer, row by row."""
        return self.listing_of([answer(row) for row in self.rows])

    def listing_of(self, answers: list[T]) -> Listing[T]:
        """The page as an answer whose rows were made together."""
        return Listing(data=answers, has_more=self.next is not None, next=self.next)


def paginate(
    session: Session,
    query: Select[Row],
    keys: Sequence[InstrumentedAttribute[Any]],
    page: PageRequest,
    *,
    descending: bool = False,
    index_first: bool = False,
) -> Page[Row]:
    """One page of ``query`` in the order of ``keys``, the last of which is unique. Raises Invalid for a bad cursor.

    ``index_first``: choose the rows by that last key and then read them. It costs a statement more, and pays where the
    condition is no range of an index but the index holds its columns: rows that fail it are then never read.
    """
    if page.after is not None:
        query = query.where(rows_behind(keys, page.after, descending=descending))
    order = [key.desc() if descending else key.asc() for key in keys]
    query = query.order_by(*order).limit(page.limit + 1)  # one more than asked for tells whether there are more
    if index_first:
        chosen = session.scalars(query.with_only_columns(keys[-1])).all()
        query = cast("Select[Row]", select(keys[-1].class_)).where(keys[-1].in_(chosen)).order_by(*order)
    rows = session.scalars(query).all()
    if len(rows) <= page.limit:
        return Page(rows, None)
    last = rows[page.limit - 1]
    return Page(rows[: page.limit], cursor_of(keys, [getattr(last, key.key) for key in keys], descending=descending))


def rows_behind(
    keys: Sequence[InstrumentedAttribute[Any]], cursor: str, *, descending: bool = False
) -> ColumnElement[bool]:
    """The rows behind a cursor of ``cursor_of``, as a condition. Raises Invalid where it is none of this order."""
    # Compared as a tuple: an index can answer this at any depth, unlike OFFSET.
    values = [
        _typed(key, value) for key, value in zip(keys, decode(_name(keys, descending), cursor, len(keys)), strict=True)
    ]
    row, at = tuple_(*keys), tuple_(*at_row(keys, values))
    return row < at if descending else row > at


def at_row(keys: Sequence[InstrumentedAttribute[Any]], values: Sequence[Any]) -> list[ColumnElement[Any]]:
    """The values of a row's keys, to be compared with ``keys``."""
    return [literal(value, key.type) for key, value in zip(keys, values, strict=True)]


def cursor_of(keys: Sequence[InstrumentedAttribute[Any]], values: Sequence[Any], *, descending: bool = False) -> str:
    """The cursor that stands behind the row with these values of ``keys``."""
    return encode(_name(keys, descending), values)


def _name(keys: Sequence[InstrumentedAttribute[Any]], descending: bool) -> str:
    return ".".join(f"{key.class_.__tablename__}-{key.key}" for key in keys) + ("-" if descending else "+")


def sent(listing: Listing[Any]) -> Response:
    """The list as a response. Made in the thread of the request: the framework would need another one for it."""
    return Response(listing.model_dump_json(by_alias=True), media_type="application/json")


def where_given(query: Select[Row], filters: Mapping[InstrumentedAttribute[Any], Any]) -> Select[Row]:
    """``query`` with only the rows whose columns hold these values; a filter that is None was not asked for."""
    return query.where(*(column == value for column, value in filters.items() if value is not None))


def child_listing(
    answer: Callable[[Any], T],
    db: Database,
    parent: type[TableRow],
    parent_id: str,
    workspace_id: str,
    keys: Sequence[InstrumentedAttribute[Any]],
    page: PageRequest,
    filters: Mapping[InstrumentedAttribute[Any], Any],
) -> Listing[T]:
    """One page of what belongs to the row a path names, in the order of ``keys``, which are columns of the table read.

    The first filter is the column that names the parent. Raises NotFound for the parent, Invalid for a bad cursor.
    """
    with db.read() as session:
        path_row(session, parent, parent_id, workspace_id)
        return paginate(session, where_given(select(keys[0].class_), filters), keys, page).listing(answer)


def encode(name: str, values: Sequence[Any]) -> str:
    """An opaque cursor of the list ``name``."""
    plain = [value.isoformat() if isinstance(value, datetime) else value for value in values]
    return base64.urlsafe_b64encode(json.dumps([name, *plain]).encode()).decode().rstrip("=")


def decode(name: str, cursor: str, count: int) -> list[Any]:
    """The values of a cursor. Raises Invalid when it is not one of this list."""
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if values[0] == name and len(values) == count + 1:
            return list(values[1:])
    except (binascii.Error, ValueError, TypeError, IndexError, KeyError, RecursionError):
        pass
    raise _bad_cursor()


def _bad_cursor() -> Invalid:
    return Invalid.field("after", "this is not a cursor of this list", "give `next` of the page before, unchanged")


def _typed(key: InstrumentedAttribute[Any], value: Any) -> Any:
    # A cursor comes from the caller: what the database could not compare must be refused here, not fail there.
    wanted = key.type.python_type
    if isinstance(value, str) and wanted is datetime:
        try:
            return datetime.fromisoformat(value).astimezone(UTC)
        except (ValueError, OverflowError):
            raise _bad_cursor() from None
    valid = isinstance(value, wanted) and not isinstance(value, bool)
    if not valid or (isinstance(value, int) and abs(value) >= 2**31) or (isinstance(value, str) and "\x00" in value):
        raise _bad_cursor()
    return value
