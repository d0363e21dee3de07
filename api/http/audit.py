"""The audit log's plumbing: one row per changing request, in the transaction of the change where there is one.

``Audited`` notes each request that may change something. ``identify`` says who sends it. The first transaction that the
request commits then holds the row too, so no change is without its row. A request that commits nothing (it was refused)
gets its row before its answer is sent. Requests without a caller, such as those with a wrong key, leave none: they
belong to no workspace. Never written: bodies, queries, headers, secrets.
"""

from __future__ import annotations

import logging
import re
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import event, insert, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.access import AuditEntry
from models.base import new_id

log = logging.getLogger(__name__)
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
#: A GET that changes something all the same: it signs a browser in.
_CHANGING_PATHS = frozenset({"/oidc/callback"})
_ID = re.compile(r"[a-z]+_[0-9a-z]{1,40}")
_LONGEST = 200


@dataclass
class _Noted:
    """A request that may change something, and what is known of it so far."""

    scope: Scope
    entry_id: str = field(default_factory=lambda: new_id("audit"))
    workspace_id: str | None = None
    actor: str = ""
    actor_name: str | None = None
    object_id: str | None = None
    skipped: bool = False
    written: dict[str, Any] | None = None  # committed
    pending: tuple[Session, dict[str, Any]] | None = None  # written, not committed yet

    def row(self, status: int, location: str = "") -> dict[str, Any]:
        """The row's values for an answer with this status."""
        client = self.scope.get("client")
        route = getattr(self.scope.get("route"), "path", None) or self.scope["path"]
        return {
            "workspace_id": self.workspace_id,
            "actor": _plain(self.actor),
            "actor_name": _plain(self.actor_name),
            "method": self.scope["method"],
            "route": _plain(route),
            "object_id": _plain(self.object_id or _named(self.scope.get("path_params") or {}) or _made(location)),
            "status": status,
            "address": _plain(client[0]) if client else None,
            "request_id": self.scope.get("errata.request_id"),
        }

    def expected_status(self) -> int:
        """What the route answers when nothing goes wrong."""
        return int(getattr(self.scope.get("route"), "status_code", None) or 200)


_current: ContextVar[_Noted | None] = ContextVar("audited_request", default=None)


def identify(scope: Scope, workspace_id: str, actor: str, actor_name: str | None) -> None:
    """Say who sends the current request, where it is one that may change something."""
    noted = _current.get()
    if noted is not None:
        # The scope of the innermost router: it knows the route and what its path names.
        noted.scope = scope
        noted.workspace_id, noted.actor, noted.actor_name = workspace_id, actor, actor_name


def concerns(object_id: str) -> None:
    """Say which row the current request makes, so that its entry names it."""
    noted = _current.get()
    if noted is not None:
        noted.object_id = object_id


def leave_out() -> None:
    """The current request changes nothing although its method says so: it gets no entry."""
    noted = _current.get()
    if noted is not None:
        noted.skipped = True


def add_entry(session: Session, workspace_id: str, actor: str, action: str, object_id: str | None) -> None:
    """An entry for what was not a request, such as an operator's command, in the caller's transaction."""
    entry = {"workspace_id": workspace_id, "actor": actor, "method": "COMMAND", "route": action, "status": 200}
    session.add(AuditEntry(id=new_id("audit"), **entry, object_id=object_id))


@event.listens_for(Session, "before_commit")
def _write(session: Session) -> None:
    noted = _current.get()
    if noted is None or noted.workspace_id is None or noted.skipped or noted.written is not None:
        return
    if session.in_nested_transaction() or session.get_bind() is not _engine_of(noted.scope):
        return
    row = noted.row(noted.expected_status())
    session.connection().execute(insert(AuditEntry).values(id=noted.entry_id, **row))
    noted.pending = (session, row)


@event.listens_for(Session, "after_commit")
def _committed(session: Session) -> None:
    noted = _current.get()
    if noted is not None and noted.pending is not None and noted.pending[0] is session:
        noted.written, noted.pending = noted.pending[1], None


def _engine_of(scope: Scope) -> Any:
    return scope["app"].state.api.db.engine


class Audited:
    """Gives every changing request its entry before the answer is sent. It stands inside all other middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and write down how it was answered."""
        if scope["type"] != "http" or (scope["method"] in _READING and scope["path"] not in _CHANGING_PATHS):
            await self.app(scope, receive, send)
            return
        noted = _Noted(scope)
        answered = False

        async def send_noted(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start" and not answered:
                answered = True
                await run_in_threadpool(_settle, noted, message["status"], _location(message))
            await send(message)

        token = _current.set(noted)
        try:
            await self.app(scope, receive, send_noted)
        except Exception:
            if not answered:
                await run_in_threadpool(_settle, noted, 500, "")
            raise
        finally:
            _current.reset(token)


def _settle(noted: _Noted, status: int, location: str) -> None:
    """Write the entry of a request that committed nothing, or correct one whose answer was not the expected one."""
    if noted.workspace_id is None or noted.skipped:
        return
    row = noted.row(status, location)
    if row == noted.written:
        return
    statement: Any
    if noted.written is None:
        statement = insert(AuditEntry).values(id=noted.entry_id, **row)
    else:
        statement = update(AuditEntry).where(AuditEntry.id == noted.entry_id).values(row)
    noted.skipped = True  # this session's own commit must not write it again
    try:
        with noted.scope["app"].state.api.db.begin() as session:
            session.execute(statement.execution_options(synchronize_session=False))
    except SQLAlchemyError:
        # The answer is true all the same; what was changed has its entry already.
        log.exception("an entry of the audit log could not be written", extra={"status": status})


def _named(path_params: dict[str, Any]) -> str | None:
    """What a path names: the first id in it, else its first parameter."""
    values = [str(value) for value in path_params.values()]
    return next((value for value in values if _ID.fullmatch(value)), values[0] if values else None)


def _made(location: str) -> str | None:
    last = location.rstrip("/").rpartition("/")[2]
    return last if _ID.fullmatch(last) else None


def _location(message: Message) -> str:
    return next((value.decode("latin-1") for name, value in message["headers"] if name.lower() == b"location"), "")


def _plain(text: str | None) -> str | None:
    """Storable and printable, of bounded length: paths and subjects come from outside."""
    return None if text is None else "".join(c if c.isprintable() else "?" for c in text[:_LONGEST])
