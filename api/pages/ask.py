"""One question to two language models, side by side: a form that works as it is, and streams where scripts run.

Each answer is a completion (api.completions), so quotas and limits hold, and a browser that leaves stops both.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from sqlalchemy import select
from sqlalchemy.orm import Session
from sse_starlette import EventSourceResponse
from starlette.concurrency import run_in_threadpool

from api.completions.errors import document
from api.completions.following import Sampling, begin, follow
from api.completions.schemas import MOST_TOKENS
from api.http.audit import leave_out
from api.http.auth import Caller
from api.http.errors import Forbidden, Invalid
from api.http.routing import Api, ApiDep
from api.http.strict_json import JsonError, check_text
from api.language_models import find_model, model_names, visible
from api.pages.acts import Given
from api.pages.format import visible as shown
from api.pages.forms import Values
from api.pages.rendering import PageRoute, Viewer, page
from models.workspaces import LanguageModel

router = APIRouter(route_class=PageRoute, include_in_schema=False)
_CHOICES = 500
_MOST_CHARACTERS = 20_000
Told = dict[str, Any]
"""What a stream says of one side: ``text`` to add; in the end ``end`` and ``tokens``, or ``error``."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the form was sent with. ``models``: of the left side, and of the right one where there is one."""

    question: str = ""
    models: tuple[str, ...] = ()
    temperature: float = 0.0
    max_tokens: int = 512

    @property
    def sampling(self) -> Sampling:
        """The same seed for both sides, so that a difference is the models'."""
        return Sampling(temperature=self.temperature, max_tokens=self.max_tokens, seed=0)


@dataclass(frozen=True, slots=True)
class Side:
    """One model's whole answer, for the page without scripts."""

    model: str
    text: str = ""
    status: str = ""
    error: str | None = None


@router.get("/ask")
def show_ask(api: ApiDep, viewer: Viewer, model: Annotated[str | None, Query(max_length=200)] = None) -> Response:
    """The form. ``model`` stands on the right then, beside the one that it was trained from."""
    _may_ask(viewer)
    with api.db.read() as session:
        names = _names(session, viewer.workspace_id)
        pair = _pair(session, viewer.workspace_id, model)
    return _page(names, Asked(models=pair or tuple(names[:1])))


@router.post("/ask", dependencies=[Depends(leave_out)])
async def send_ask(api: ApiDep, viewer: Viewer, given: Given) -> Response:
    """Ask both, wait for both, and show the answers."""
    _may_ask(viewer)
    names = await run_in_threadpool(_all_names, api, viewer.workspace_id)
    try:
        asked = _asked(given)
    except Invalid as error:
        again = Asked(_first(given, "question"), (_first(given, "left"), _first(given, "right")))
        return _page(names, again, status=error.status, refused=str(error.detail))
    sides = [Side(model) for model in asked.models]
    async with aclosing(_both(api, viewer.workspace_id, asked)) as found:
        async for at, told in found:
            sides[at] = _added(sides[at], told)
    return _page(names, asked, sides)


@router.post("/ask/stream", dependencies=[Depends(leave_out)])
async def stream_ask(api: ApiDep, viewer: Viewer, given: Given) -> Response:
    """The same as server-sent events: ``{"side": 0, "text": ...}``, and how each side ended."""
    _may_ask(viewer)
    asked = _asked(given)
    return EventSourceResponse(
        _events(api, viewer.workspace_id, asked), ping=api.settings.event_heartbeat_seconds, sep="\n"
    )


async def _events(api: Api, workspace_id: str, asked: Asked) -> AsyncGenerator[dict[str, str], None]:
    async with aclosing(_both(api, workspace_id, asked)) as found:
        async for at, told in found:
            if told.get("text") != "":  # a look that found nothing
                yield {"data": json.dumps({"side": at, **told, "status": _status(told)})}


async def _both(api: Api, workspace_id: str, asked: Asked) -> AsyncGenerator[tuple[int, Told], None]:
    """What the sides tell, by turns: each waits a moment between two looks, so neither holds up the other."""
    open_ = {at: _side(api, workspace_id, model, asked) for at, model in enumerate(asked.models)}
    try:
        while open_:
            for at, side in list(open_.items()):
                told = await anext(side, None)
                if told is None:
                    del open_[at]
                else:
                    yield at, told
    finally:
        for side in open_.values():
            await side.aclose()


async def _side(api: Api, workspace_id: str, model: str, asked: Asked) -> AsyncGenerator[Told, None]:
    prompts = [{"messages": [{"role": "user", "content": asked.question}]}]
    try:
        row_id = await run_in_threadpool(begin, api, workspace_id, model, prompts, asked.sampling, "chatcmpl")
        async with aclosing(follow(api, row_id)) as found:
            async for news in found:
                yield {"text": shown("".join(text for _, text, _ in news.pieces))}
                if news.state == "done":
                    end = next((end for *_, end in reversed(news.pieces) if end), "stop")
                    yield {"end": end, "tokens": int((news.usage or {}).get("completion", 0))}
    except Exception as error:
        yield {"error": document(error)[1]["error"]["message"]}


def _added(side: Side, told: Told) -> Side:
    if "error" in told:
        return replace(side, error=told["error"])
    if "end" in told:
        return replace(side, status=_status(told))
    return replace(side, text=side.text + told["text"])


def _status(told: Told) -> str:
    if "end" not in told:
        return ""
    cut = ", cut at the limit" if told["end"] == "length" else ""
    return f"{told['tokens']:,} tokens{cut}"


def _may_ask(viewer: Caller) -> None:
    if not viewer.may("write"):
        raise Forbidden("this key lacks the scope 'write'; sign in with one made with it")


def _first(given: Values, name: str) -> str:
    return given.get(name, [""])[0].strip()


def _asked(given: Values) -> Asked:
    """Raises Invalid naming a field that is missing or wrong."""
    question, left, right = (_first(given, name).replace("\r\n", "\n") for name in ("question", "left", "right"))
    if not question or len(question) > _MOST_CHARACTERS:
        raise Invalid.field("question", f"give 1 to {_MOST_CHARACTERS:,} characters", "write a question")
    try:
        check_text(question)
    except JsonError as error:
        raise Invalid.field("question", f"holds {error}", "leave it out") from None
    if not left:
        raise Invalid.field("left", "no model is chosen", "choose one")
    try:
        temperature = float(_first(given, "temperature") or 0)
        tokens = int(_first(given, "max_tokens") or 512)
    except ValueError:
        raise Invalid.field("temperature or max_tokens", "this is no number", "give one") from None
    if not 0 <= temperature <= 2:
        raise Invalid.field("temperature", "give a number from 0 to 2", "0 is greedy")
    if not 1 <= tokens <= MOST_TOKENS:
        raise Invalid.field("max_tokens", f"give a number from 1 to {MOST_TOKENS:,}", "512 is enough for most")
    return Asked(question, (left, right) if right else (left,), temperature, tokens)


def _all_names(api: Api, workspace_id: str) -> list[str]:
    with api.db.read() as session:
        return _names(session, workspace_id)


def _names(session: Session, workspace_id: str) -> list[str]:
    """The models to choose from, newest first."""
    query = select(LanguageModel.name).where(visible(workspace_id)).order_by(LanguageModel.created_at.desc())
    return list(dict.fromkeys(session.scalars(query.limit(_CHOICES))))


def _pair(session: Session, workspace_id: str, model: str | None) -> tuple[str, ...]:
    """A model and the one it was trained from, on the left; of no model named, the newest that was trained."""
    row = find_model(session, model, workspace_id) if model else None
    if model is None:
        trained = select(LanguageModel).where(visible(workspace_id), LanguageModel.base_model_id.is_not(None))
        row = session.scalars(trained.order_by(LanguageModel.created_at.desc()).limit(1)).one_or_none()
    if row is None:
        return ()
    base = model_names(session, [row.base_model_id]).get(row.base_model_id or "")
    return (base, row.name) if base else (row.name,)


def _page(
    names: Sequence[str], asked: Asked, sides: Sequence[Side] = (), *, status: int = 200, refused: str | None = None
) -> Response:
    # Two places at least: a script puts what a stream tells into them.
    places = [*sides, Side(""), Side("")][: max(2, len(sides))]
    context: dict[str, Any] = {"names": names, "asked": asked, "sides": places, "refused": refused}
    return page("ask.html", status, section="ask", **context)
