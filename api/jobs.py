"""Jobs over HTTP, written once for every kind: posting, listing, reading, cancelling, and events.

A resource describes its kind of job as a :class:`JobResource` and registers it on its router. That gives

    POST    idempotent, 202 with ``Location`` and ``Retry-After``; hints are sent after the commit
    GET     a list, newest first, with filters
    GET     one job
    POST    its cancellation
    GET     its events, as a list or a stream

Routes that only one kind has stand in its own module.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from inspect import Parameter, Signature
from typing import Annotated, Any, Generic, Literal, Protocol, TypeVar

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session, defer

from api.http import events
from api.http.auth import Caller, Reader, Writer
from api.http.conditional import NOT_MODIFIED, unless_known
from api.http.errors import Conflict, Invalid, documented, invalid_below
from api.http.events import EVENT_RESPONSES, EventOut, LastEventId
from api.http.idempotency import IdempotencyDep, once
from api.http.routing import Api, ApiDep, accepted
from api.http.rows import KINDS, Kind, Listing, PageDep, body_row, paginate, path_row, sent, where_given
from api.language_models import model_names
from api.progress import progress_of
from api.quotas import admit_job
from api.schemas import RowAnswer, RowId, Tag
from api.stream_progress import streamed
from models.base import Base
from models.curation import tagged, tags_of
from models.deletion import parents_hidden
from models.leases import OwnerTable
from models.states import JobState
from workers.dispatch import Hint, cancel, complete_owner

log = logging.getLogger(__name__)
Row = TypeVar("Row", bound=Base)
Body = TypeVar("Body", bound=BaseModel)
Answer = TypeVar("Answer", bound=RowAnswer)
Config = TypeVar("Config")
Operation = Literal["create", "list", "get", "cancel"]


def _itself(row: Any) -> tuple[OwnerTable, str]:
    return type(row), row.id


@dataclass(frozen=True, kw_only=True)
class JobResource(Generic[Row, Body, Answer]):
    """A kind of job: its table, its body and answer, and the functions between them.

    ``name`` makes operation ids (``cancel_injection_job``). ``noun`` makes texts and the path parameter. ``create``
    checks a body and adds the job with its shards in the caller's transaction; it returns the row and the hints to send
    after the commit. ``answers`` describes the rows of a list, by default with their progress, the name of their
    language model and ``listed``, which stands for columns that lists do not tell. ``answer`` describes a single row
    where more is told of one. ``texts`` are the descriptions of operations that OpenAPI shows. A resource whose
    ``cancel`` text is missing has no such route here.
    """

    table: type[Row]
    body: type[Body]
    model: type[Answer]
    name: str
    create: Callable[[Session, str, Body], tuple[Row, list[Hint]]]
    texts: Mapping[Operation, str]
    answers: Callable[[Session, Sequence[Row]], list[Answer]] | None = None
    noun: str = ""  # by default the name
    plural: str = ""  # of the name, where it takes more than an s
    listed: Mapping[str, Any] = field(default_factory=dict)
    answer: Callable[[Session, Row], Answer] | None = None
    caller: Any = Writer  # who may post
    states: type[StrEnum] | None = JobState  # the filter ``state``; None: no such filter
    references: Mapping[str, type[Base]] = field(default_factory=dict)  # filters by the row of a column NAME_id
    leased: Callable[[Row], tuple[OwnerTable, str]] = _itself  # the row that owns the shards
    create_path: str | None = None  # below the router's prefix, where it is not the list's
    create_name: str | None = None
    id_name: str | None = None  # of the path parameter, where it is not the noun's
    has_events: bool = True

    @property
    def words(self) -> str:
        """What one job is called in texts."""
        return self.noun or self.name.replace("_", " ")

    @property
    def kind(self) -> Kind:
        """Prefix, name and address of this resource."""
        return KINDS[self.table]

    def one(self, session: Session, row_id: str) -> Answer:
        """The answer for a job as it now stands, its row read anew."""
        return self._answer(session, session.get_one(self.table, row_id, populate_existing=True))

    def _answer(self, session: Session, row: Row) -> Answer:
        answer = self.answer(session, row) if self.answer else self.summaries(session, [row])[0]
        return self.tagged(session, [row], [answer])[0]

    def tagged(self, session: Session, rows: Sequence[Any], answers: list[Answer]) -> list[Answer]:
        """The answers for these rows with the rows' tags, where this kind of job has tags."""
        if rows and "tags" in self.model.model_fields:
            found = tags_of(session, rows[0].workspace_id, [row.id for row in rows])
            for row, answer in zip(rows, answers, strict=True):
                answer.tags = found.get(row.id, [])  # type: ignore[attr-defined]
        return answers

    def summaries(self, session: Session, rows: Sequence[Any]) -> list[Answer]:
        """What a list tells of these rows."""
        if self.answers:
            return self.answers(session, rows)
        table: Any = self.table
        progress = progress_of(session, table, rows)
        names = model_names(session, [getattr(row, "language_model_id", None) for row in rows])
        return [
            self.model.of(
                row,
                progress=progress[row.id],
                language_model=names.get(getattr(row, "language_model_id", None) or ""),
                **self.listed,
            )
            for row in rows
        ]

    def change(
        self, api: Api, caller: Caller, row_id: str, response: Response, act: Callable[[Session, Row], list[Hint]]
    ) -> Answer:
        """Change the job a path names in one transaction, and answer what it then is, as a 202.

        ``act`` raises Conflict where the job's state does not allow it, and returns hints to send after the commit.
        """
        with api.db.begin() as session:
            hints = act(session, path_row(session, self.table, row_id, caller.workspace_id))
            session.flush()  # the answer reads the row anew
            answer = self.one(session, row_id)
        api.dispatcher.send(hints)
        log.info("job changed", extra={"job": row_id, "kind": self.words, "state": getattr(answer, "state", None)})
        accepted(response, f"{self.kind.url}/{row_id}")
        return answer

    def register(self, router: APIRouter) -> JobResource[Row, Body, Answer]:
        """Add the routes of this kind of job; returns the resource."""
        base = self.kind.url.removeprefix(router.prefix)
        self._add_create(router, base if self.create_path is None else self.create_path)
        self._add_list(router, base)
        id_name = self.id_name or f"{self.noun or self.name}_id"
        row_id, path = Annotated[str, Path(alias=id_name)], f"{base}/{{{id_name}}}"
        self._add_get(router, path, row_id)
        if "cancel" in self.texts:
            self._add_cancel(router, f"{path}/cancel", row_id)
        if self.has_events:
            self._add_events(router, f"{path}/events", row_id)
        return self

    def _add_create(self, router: APIRouter, path: str) -> None:
        def create(caller: Caller, api: ApiDep, who: IdempotencyDep, body: Body, response: Response) -> Answer:
            hints: list[Hint] = []
            with api.db.begin() as session:

                def make() -> str:
                    row: Any
                    admit_job(session, caller.workspace_id, self.table)
                    row, planned = self.create(session, caller.workspace_id, body)
                    if parents_hidden(session, row):
                        raise Conflict("something that this names has just been deleted; look again and name another")
                    hints.extend(planned)
                    return str(row.id)

                row_id, new = once(session, api, who, caller.workspace_id, body.model_dump(mode="json"), make)
                answer = self.one(session, row_id)
            # A hint sent before the commit could reach a worker that does not see the shard yet.
            api.dispatcher.send(hints)
            if new:
                told = {"job": row_id, "kind": self.words, "workspace": caller.workspace_id, "shards": len(hints)}
                log.info("job accepted", extra=told)
            accepted(response, f"{self.kind.url}/{row_id}", replayed=not new)
            return answer

        router.add_api_route(
            path,
            typed(create, caller=self.caller, body=self.body),
            methods=["POST"],
            status_code=202,
            responses=documented(408, 409, 413, 415, 429),
            **self._described("create", self.create_name or f"create_{self.name}"),
        )

    def _add_list(self, router: APIRouter, path: str) -> None:
        def list_jobs(caller: Reader, api: ApiDep, page: PageDep, given: dict[str, Any]) -> Response:
            table: Any = self.table
            filters, tag = {table.workspace_id: caller.workspace_id}, given.pop("tag", None)
            with api.db.look() as session:
                for name, value in given.items():
                    if name in self.references and value is not None:
                        body_row(session, self.references[name], value, caller.workspace_id, name)
                    filters[getattr(table, f"{name}_id" if name in self.references else name)] = value
                unread = [defer(getattr(table, name)) for name in self.listed]
                query = where_given(select(table), filters).options(*unread)
                if tag is not None:
                    query = query.where(tagged(table, caller.workspace_id, tag))
                found = paginate(session, query, (table.created_at, table.id), page, descending=True)
                answers = self.tagged(session, found.rows, self.summaries(session, found.rows))
            return sent(found.listing_of(answers))

        many = self.plural or f"{self.name}s"
        options = self._described("list", f"list_{many}") | {"response_model": Listing[self.model]}  # type: ignore[name-defined]
        router.add_api_route(path, typed(list_jobs, given=Annotated[Any, Depends(self._filters())]), **options)

    def _filters(self) -> Callable[..., Coroutine[Any, Any, dict[str, Any]]]:
        """A dependency that takes the list's query parameters: which ones there are differs from kind to kind."""

        async def given(**values: Any) -> dict[str, Any]:
            return values

        types: dict[str, Any] = {"state": self.states} if self.states else {}
        types |= dict.fromkeys(self.references, RowId)
        if "tags" in self.model.model_fields:
            types["tag"] = Tag
        parameters = [
            Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, Query()])
            for name, kind in types.items()
        ]
        given.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        return given

    def _add_get(self, router: APIRouter, path: str, id_type: Any) -> None:
        def get(request: Request, caller: Reader, api: ApiDep, row_id: str) -> Any:
            with api.db.look() as session:
                answer = self._answer(session, path_row(session, self.table, row_id, caller.workspace_id))
            return unless_known(request, answer)

        options = self._described("get", f"get_{self.name}")
        router.add_api_route(path, typed(get, row_id=id_type), responses=NOT_MODIFIED | documented(404), **options)

    def _add_cancel(self, router: APIRouter, path: str, id_type: Any) -> None:
        def stop(caller: Caller, api: ApiDep, row_id: str, response: Response) -> Answer:
            return self.change(api, caller, row_id, response, self.stop)

        router.add_api_route(
            path,
            typed(stop, caller=self.caller, row_id=id_type),
            methods=["POST"],
            status_code=202,
            responses=documented(404, 409),
            **self._described("cancel", f"cancel_{self.name}"),
        )

    def stop(self, session: Session, row: Row) -> list[Hint]:
        """Cancel a job in the caller's transaction. Raises Conflict where it has ended."""
        table, owner_id = self.leased(row)
        if not cancel(session, table, owner_id):
            owner: Any = session.get_one(table, owner_id)
            raise Conflict(f"the {self.words} has already ended: {owner.state}")
        # Where no shard runs the job ends here and now: no worker would come by to end it.
        complete_owner(session, table, owner_id)
        return []

    def _add_events(self, router: APIRouter, path: str, id_type: Any) -> None:
        def list_events(
            request: Request, caller: Reader, api: ApiDep, row_id: str, page: PageDep, last_event_id: LastEventId = None
        ) -> Any:
            return events.answer(request, api, self.table, row_id, caller, page, last_event_id, self._progress)

        router.add_api_route(
            path,
            typed(list_events, row_id=id_type),
            name=f"list_{self.name}_events",
            description=f"What happened to the {self.words}: a list, or a stream.",
            responses=EVENT_RESPONSES,
            response_model=Listing[EventOut],
        )

    def _progress(self, session: Session, row_id: str) -> dict[str, Any]:
        """What a stream tells of a job between its events; nothing of one that has not moved."""
        row = session.get_one(self.table, row_id)
        return streamed(self.answer(session, row) if self.answer else self.summaries(session, [row])[0])

    def _described(self, operation: Operation, name: str) -> dict[str, Any]:
        return {"name": name, "description": self.texts[operation], "response_model": self.model}


def typed(handler: Callable[..., Any], **types: Any) -> Callable[..., Any]:
    """``handler`` with parameter types that are known only at run time: FastAPI reads them from its annotations."""
    handler.__annotations__ |= types
    return handler


class Preset(Protocol):
    """A body that names a preset and what differs from it."""

    preset: str
    config: dict[str, Any]


def resolved(body: Preset, presets: Collection[str], resolve: Callable[[str, dict[str, Any]], Config]) -> Config:
    """The complete configuration a request asks for. Raises Invalid naming the field."""
    if body.preset not in presets:
        raise Invalid.field("preset", "there is no preset of this name", f"give one of {', '.join(presets)}")
    if "preset" in body.config:
        raise Invalid.field("config.preset", "the preset is not part of its overrides", "give it as `preset`")
    with invalid_below("config"):
        return resolve(body.preset, body.config)
