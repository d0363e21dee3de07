"""Events of a job: a list, or with ``Accept: text/event-stream`` a stream that ends when its subject does.

A stream opens a short session per look and holds none in between; ``Last-Event-ID`` (or ``after``) resumes it, comments
keep the connection alive, and no event is missed at the end: the subject's state is read before its last events.
Between its events the stream says how far the subject is, as ``progress`` without an id: that is stored nowhere, so no
list has it, and a stream that resumes says it anew.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal

import anyio
from fastapi import Header, Request, Response
from pydantic import Field, computed_field
from sqlalchemy import select
from sqlalchemy.orm import Session
from sse_starlette import EventSourceResponse
from starlette.concurrency import run_in_threadpool

from api.http.auth import Caller, still_allowed
from api.http.errors import Invalid, documented
from api.http.routing import Api
from api.http.rows import Listing, PageRequest, decode, encode, path_row
from api.schemas import RowAnswer
from errata.event_sentences import sentence_of
from models import events
from models.base import db_now
from models.outputs import Event
from models.states import TERMINAL

_CURSOR = "events"
_BATCH = 100
_PROGRESS_SECONDS = 1.0
_ALLOWED_SECONDS = 5.0  # how long a stream outlives its key at most
# These move with the clock alone: no event is worth them, but one that is sent tells them.
_OF_THE_CLOCK = frozenset({"eta_seconds", "tokens_per_second"})
ProgressOf = Callable[[Session, str], dict[str, Any]]
"""How far the row of this id is, as JSON values; empty while it has not moved."""
EVENT_RESPONSES = {
    **documented(404),
    200: {
        "description": "A list, or with Accept: text/event-stream a stream of the same events.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    },
}
LastEventId = Annotated[str | None, Header(alias="Last-Event-ID", description="Resume a stream behind this event.")]


class EventOut(RowAnswer):
    """Something that happened to a job, dataset, training job or evaluation; ids grow."""

    object: Literal["event"] = "event"
    id: int
    subject: str = Field(validation_alias="subject_id")
    type: str
    data: dict[str, Any]
    created_at: datetime

    @computed_field(description="What happened, for people; its words may change.")  # type: ignore[prop-decorator]
    @property
    def sentence(self) -> str:
        """What happened, for people."""
        return sentence_of(self.type, self.data)


def answer(
    request: Request,
    api: Api,
    table: type[Any],
    row_id: str,
    caller: Caller,
    page: PageRequest,
    last: str | None,
    progress_of: ProgressOf | None = None,
) -> Response | Listing[EventOut]:
    """The events of one row, as the request prefers them; a stream tells its progress too, where it is known.

    Raises NotFound and Invalid. A stream breaks off within seconds once its key is revoked or has expired; who connects
    again is refused.
    """
    with api.db.read() as session:
        path_row(session, table, row_id, caller.workspace_id)
    after = _position(page.after, last)
    if "text/event-stream" in request.headers.get("accept", ""):
        stream = _stream(api, table, row_id, after, progress_of, partial(still_allowed, api, caller))
        return EventSourceResponse(stream, ping=api.settings.event_heartbeat_seconds, sep="\n")
    with api.db.read() as session:
        rows = events.after(session, row_id, after, page.limit + 1)
    more = len(rows) > page.limit
    rows = rows[: page.limit]
    following = encode(_CURSOR, [rows[-1].id]) if more else None
    return Listing(data=[EventOut.of(row) for row in rows], has_more=more, next=following)


def _position(after: str | None, last: str | None) -> int:
    if last is not None:
        if not last.isascii() or not last.isdecimal() or len(last) > 18:
            raise Invalid.field("Last-Event-ID", "not the id of an event", "give the last `id` received")
        return int(last)
    value = 0 if after is None else decode(_CURSOR, after, 1)[0]
    if not isinstance(value, int) or not 0 <= value < 2**62:
        raise Invalid.field("after", "this is not a cursor of this list", "give `next` of the page before, unchanged")
    return value


async def _stream(
    api: Api,
    table: type[Any],
    row_id: str,
    after: int,
    progress_of: ProgressOf | None,
    allowed: Callable[[], bool],
) -> AsyncIterator[dict[str, Any]]:
    told: dict[str, Any] = {}
    pace = Pace()
    looked = asked = time.monotonic()  # the first look would tell of jobs that end in a moment
    while True:
        if time.monotonic() - asked >= _ALLOWED_SECONDS:
            if not await run_in_threadpool(allowed):
                return
            asked = time.monotonic()
        ended, rows = await run_in_threadpool(_look, api, table, row_id, after)
        for row in rows:
            after = row.id
            yield {"id": str(row.id), "event": row.type, "data": EventOut.of(row).model_dump_json()}
        # A full batch may have more behind it: only a short one is the last.
        if ended and len(rows) < _BATCH:
            yield {"event": "end", "data": json.dumps({"subject": row_id, "state": ended})}
            return
        if progress_of is not None and time.monotonic() - looked >= _PROGRESS_SECONDS:
            found, looked = await run_in_threadpool(_progress, api, row_id, after, progress_of), time.monotonic()
            if found is not None and (moved := _without_clock(found.data)) != told:
                told = moved
                pace.add(looked, found.data)
                yield {"event": found.type, "data": found.model_dump_json()}
        if len(rows) < _BATCH:
            await anyio.sleep(api.settings.event_poll_seconds)


def _without_clock(data: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in _OF_THE_CLOCK}


class Pace:
    """Generated tokens per second over the last few looks of one stream, added to what it tells."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque(maxlen=15)

    def add(self, at: float, data: dict[str, Any]) -> None:
        """Add ``tokens_per_second`` to ``data`` seen at ``at`` seconds, where its tokens grew since an earlier look."""
        tokens = data.get("tokens", {}).get("completion")
        if tokens is None:
            return
        self._seen.append((at, tokens))
        first, before = self._seen[0]
        if at > first and tokens > before:
            data["tokens_per_second"] = round((tokens - before) / (at - first), 1)


def _progress(api: Api, row_id: str, after: int, progress_of: ProgressOf) -> EventOut | None:
    """How far the subject is, in the shape of an event; its id is that of the last one told."""
    with api.db.read() as session:
        data = progress_of(session, row_id)
        now = session.scalars(select(db_now())).one()
    return EventOut(id=after, subject=row_id, type="progress", data=data, created_at=now) if data else None


def _look(api: Api, table: type[Any], row_id: str, after: int) -> tuple[str | None, Sequence[Event]]:
    """The subject's state where terminal, read first, and the events behind ``after``.

    State first: an event committed between the two reads is then among those read, and none is missed at the end.
    """
    with api.db.read() as session:
        state = session.scalar(select(table.state).where(table.id == row_id)) or "failed"
    with api.db.read() as session:
        return (state if state in TERMINAL else None), events.after(session, row_id, after, _BATCH)
