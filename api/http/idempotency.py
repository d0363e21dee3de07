"""``Idempotency-Key``: the same request sent twice makes one resource.

The key's row is written in the transaction that makes the resource, so there is never one without the other. Same key
and same body: the first resource, again. Same key, other body: 422. First request still in flight: the second waits
for it a moment, then 409. A refused request leaves no trace, so it may be corrected and sent again under its key.

The `openai` package sends no key. It numbers its tries instead (``X-Stainless-Retry-Count``), so a second try of a
request finds what the first one made by the same body, for ``_TRIES_MINUTES``. Its first tries make something new.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from sqlalchemy import select, text, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from api.http.audit import concerns
from api.http.errors import Conflict, Invalid
from api.http.routing import Api
from models.base import db_now
from models.session import insert_ignore
from models.workspaces import IdempotencyKey

_LOCK_NOT_AVAILABLE = "55P03"
_TRIES_MINUTES = 30  # the package waits up to ten minutes for each of its three tries
_NO_KEY = "no key\n"  # not printable, so that no key of a client begins like it


@dataclass(frozen=True)
class Idempotency:
    """The key of a request, if it has one, and the route it was sent to.

    ``tries``: how often a client without a key says that it has sent this request before; None where it does not say.
    """

    key: str | None
    route: str
    tries: int | None = None


def idempotency(
    request: Request,
    key: Annotated[
        str | None,
        Header(alias="Idempotency-Key", description="Up to 255 printable ASCII characters; unique per intended job."),
    ] = None,
) -> Idempotency:
    """The request's idempotency key. Raises Invalid for an unusable one."""
    if key is not None and not (0 < len(key) <= 255 and key.isascii() and key.isprintable()):
        raise Invalid.field(
            "Idempotency-Key", "not 1 to 255 printable ASCII characters", "use a fresh UUID for every intended job"
        )
    told = request.headers.get("X-Stainless-Retry-Count", "")
    tries = int(told) if key is None and re.fullmatch("[0-9]{1,4}", told) else None
    return Idempotency(key, f"{request.method} {request.url.path}"[:255], tries)


IdempotencyDep = Annotated[Idempotency, Depends(idempotency)]


def once(
    session: Session, api: Api, who: Idempotency, workspace_id: str, body: Any, make: Callable[[], str]
) -> tuple[str, bool]:
    """Run ``make`` (which adds a resource in this transaction and returns its id) unless the request came before.

    ``body`` is the request as JSON-friendly data, or its digest. The answer is the resource's id and whether it is new.
    Raises Conflict and Invalid as the module says.
    """
    row_id, new = _once(session, api, who, workspace_id, body, make)
    concerns(row_id)
    return row_id, new


def _once(
    session: Session, api: Api, who: Idempotency, workspace_id: str, body: Any, make: Callable[[], str]
) -> tuple[str, bool]:
    if who.key is None and who.tries is None:
        return make(), True
    digest = hashlib.sha256(json.dumps(body, sort_keys=True, default=str).encode()).hexdigest()
    if who.key is None:
        return _tried(session, api, who, workspace_id, digest, make)
    # The digest tells a repetition from another request under the same key; the body itself is not stored.
    key = {"workspace_id": workspace_id, "route": who.route, "key": who.key}
    mine = _claim(session, api, {**key, "request_sha256": digest, "resource_id": None})
    row = session.scalars(select(IdempotencyKey).filter_by(**key).execution_options(populate_existing=True)).one()
    if not mine:
        if row.resource_id is None:
            raise _in_flight()
        if row.request_sha256 != digest:
            raise Invalid.field(
                "Idempotency-Key", "was used before with another body", "use a fresh key for another request"
            )
        return row.resource_id, False
    # A refusal raised here rolls the key back too: the corrected request may use it again.
    resource_id = make()
    session.execute(update(IdempotencyKey).filter_by(**key).values(resource_id=resource_id))
    return resource_id, True


def _tried(
    session: Session, api: Api, who: Idempotency, workspace_id: str, digest: str, make: Callable[[], str]
) -> tuple[str, bool]:
    """Another try of a request without a key: what a try before it made. A first try, or one of long ago: anew."""
    key = {"workspace_id": workspace_id, "route": who.route, "key": _NO_KEY + digest}
    mine = _claim(session, api, {**key, "request_sha256": digest, "resource_id": None})
    if who.tries and not mine:
        recent = IdempotencyKey.created_at > db_now(-60 * _TRIES_MINUTES)
        asked = select(IdempotencyKey.resource_id).filter_by(**key).where(recent)
        if (found := session.scalar(asked)) is not None:
            return found, False
    resource_id = make()
    session.execute(update(IdempotencyKey).filter_by(**key).values(resource_id=resource_id, created_at=db_now()))
    return resource_id, True


def _claim(session: Session, api: Api, row: dict[str, Any]) -> bool:
    """Insert the key; waits for a transaction that is inserting the same one (SQLite lets only one write at all)."""
    if not api.db.is_postgres:
        return insert_ignore(session, IdempotencyKey, [row]) == 1
    # PostgreSQL blocks the second insert of a unique key until the first transaction ends; bounded, it becomes a 409.
    session.execute(text(f"SET LOCAL lock_timeout = '{int(api.settings.idempotency_wait_seconds * 1000)}ms'"))
    try:
        mine = insert_ignore(session, IdempotencyKey, [row]) == 1
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
            raise _in_flight() from None
        raise
    session.execute(text("SET LOCAL lock_timeout = '10s'"))
    return mine


def _in_flight() -> Conflict:
    return Conflict("the first request with this Idempotency-Key is still in flight", headers={"Retry-After": "1"})
