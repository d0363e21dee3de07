"""Answers to polling: a status that has not changed is a 304 without a body.

The ``ETag`` is weak. It covers everything but what runs with the clock, so a job between two changes keeps its tag.
"""

from __future__ import annotations

import hashlib
from typing import Any

from fastapi import Request, Response
from pydantic import BaseModel

from api.http.downloads import matches

NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "Not changed since the `ETag` was given."}}
#: What changes without anything having happened.
_CLOCK = {
    "eta_seconds": True,
    "seconds_per_step": True,
    "progress": {"elapsed_seconds", "eta_seconds", "problems_per_second"},
}
_POLL_SECONDS = "5"


def unless_known(request: Request, answer: BaseModel) -> Response:
    """The answer with its tag, or 304 where the request knows it (``If-None-Match``).

    One that has not ended says by ``Retry-After`` when to ask again.
    """
    known: Any = {name: inner for name, inner in _CLOCK.items() if name in type(answer).model_fields}
    stable = answer.model_dump_json(by_alias=True, exclude=known)
    tag = hashlib.sha256(stable.encode()).hexdigest()[:32]
    headers = {"ETag": f'W/"{tag}"', "Cache-Control": "private, no-cache"}
    if getattr(answer, "finished_at", None) is None:
        headers["Retry-After"] = _POLL_SECONDS
    if matches(request.headers.get("if-none-match"), f'"{tag}"'):
        return Response(status_code=304, headers=headers)
    body = answer.model_dump_json(by_alias=True)
    return Response(body, media_type="application/json", headers=headers)
