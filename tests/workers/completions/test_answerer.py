"""Completions as a worker answers them: on both databases, by an engine child, given up, given back, or failed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict
from sqlalchemy import update

from models.base import db_now, new_id
from models.completions import (
    CompletionPieceRow,
    CompletionRow,
    News,
    add,
    any_waiting,
    claim,
    forget_unwanted,
    look,
    remove,
    write,
)
from models.migrate import Base
from models.session import Database
from models.usage import usage_of
from models.workspaces import DEFAULT_WORKSPACE, LanguageModel, Workspace
from tests.processes import until
from workers.completions.answer import Answer
from workers.completions.answerer import Answerer
from workers.engines.base import EngineError, ModelSpec, PromptRefused
from workers.engines.pool import EnginePool
from workers.engines.registry import ENGINES, EngineKind

STORED = {"n": 1, "temperature": 0.0, "top_p": 1.0, "max_tokens": 4, "stop": [], "seed": 0}
PROMPTS = [{"messages": [{"role": "user", "content": "hello"}]}]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="allow")


@pytest.fixture
def rows(database: Database) -> Callable[..., str]:
    """Adds completions for a model of the engine ``slow-toy``."""
    Base.metadata.create_all(database.engine)
    with database.begin() as session:
        session.add(Workspace(id=DEFAULT_WORKSPACE, name="default"))
        session.flush()
        entry = {"workspace_id": DEFAULT_WORKSPACE, "name": "toy", "engine": "slow-toy", "config": {}}
        session.add(LanguageModel(id="model_toy", **entry))

    def make(model: str = "model_toy") -> str:
        row_id = new_id("cmpl")
        with database.begin() as session:
            add(session, row_id, DEFAULT_WORKSPACE, model, {**STORED, "prompts": PROMPTS})
        return row_id

    return make


def told(database: Database, row_id: str, after: int = 0) -> News:
    with database.read() as session:
        return look(session, row_id, after)


def claimed(database: Database, holder: str = "a worker") -> CompletionRow:
    with database.begin() as session:
        row = claim(session, holder)
    assert row is not None
    return row


class Engine:
    """Does what a test says with what it is asked."""

    def __init__(self, act: Callable[..., Any]) -> None:
        self.generate = act


def test_a_row_goes_from_waiting_to_done_and_is_gone_with_its_pieces(
    database: Database, rows: Callable[..., str]
) -> None:
    second, first = rows(), rows()
    with database.begin() as session:
        session.execute(update(CompletionRow).where(CompletionRow.id == first).values(created_at=db_now(-60)))
    row = claimed(database)
    assert row.id == first, "the oldest"
    assert claimed(database, "another").id == second
    with database.begin() as session:
        assert not any_waiting(session)
        assert claim(session, "a third") is None
        assert write(session, first, "a worker", 1, [(0, "He", None)])
        assert not write(session, first, "another", 1, [(0, "xx", None)]), "it is not its holder"
    assert told(database, first).pieces == ((0, "He", None),)
    with database.begin() as session:
        usage = {"prompt": 1, "completion": 2, "cached": 0}
        assert write(session, first, "a worker", 2, [(0, "llo", "stop")], state="done", usage=usage)
    news = told(database, first, 1)
    assert (news.state, news.pieces, news.usage, news.lost) == ("done", ((0, "llo", "stop"),), usage, False)
    with database.begin() as session:
        lease = update(CompletionRow).where(CompletionRow.id == second).values(lease_until=db_now(-1))
        session.execute(lease)
    assert told(database, second).lost, "its worker did not say that it lives"
    with database.begin() as session:
        remove(session, first)
        session.execute(update(CompletionRow).values(wanted_until=db_now(-1)))
        forget_unwanted(session)
        assert session.query(CompletionRow).count() == session.query(CompletionPieceRow).count() == 0
    assert told(database, first).state is None


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (PromptRefused("no template"), "refused"),
        (EngineError("away", retryable=True, wait_seconds=3), "unavailable"),
        (EngineError("dead"), "engine"),
        (ValueError("a fault"), "engine"),
    ],
)
def test_what_fails_is_told(sqlite_database: Database, error: Exception, kind: str) -> None:
    row_id, row = _one(sqlite_database)

    def fail(*_: Any, **__: Any) -> None:
        raise error

    Answer(sqlite_database, Engine(fail), row, threading.Event()).run(ModelSpec("toy", "slow-toy"))  # type: ignore[arg-type]
    news = told(sqlite_database, row_id)
    assert news.state == "failed"
    assert news.error is not None
    assert news.error["kind"] == kind
    assert ("a fault" in news.error["message"]) is False


def _one(database: Database) -> tuple[str, CompletionRow]:
    row_id = new_id("cmpl")
    with database.begin() as session:
        session.add(Workspace(id=DEFAULT_WORKSPACE, name="default"))
        session.flush()
        add(session, row_id, DEFAULT_WORKSPACE, "model_toy", {**STORED, "prompts": PROMPTS})
    return row_id, claimed(database)


def test_a_model_that_was_deleted_fails_its_completions(sqlite_database: Database) -> None:
    row_id = new_id("cmpl")
    with sqlite_database.begin() as session:
        session.add(Workspace(id=DEFAULT_WORKSPACE, name="default"))
        session.flush()
        add(session, row_id, DEFAULT_WORKSPACE, "model_gone", {**STORED, "prompts": PROMPTS})

    class Held:
        db, name = sqlite_database, "a worker"

        class settings:
            completion_threads = 1

    assert Answerer(Held)._claimed() is None  # type: ignore[arg-type]
    assert "no longer registered" in str(told(sqlite_database, row_id).error)


@contextmanager
def answering(database: Database, pool: EnginePool, row: CompletionRow, model: ModelSpec) -> Iterator[threading.Event]:
    """The row is answered in a thread; the event says that the worker stops."""
    stopping = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(Answer(database, pool, row, stopping).run, model)
        yield stopping
        future.result(60)


def test_an_engine_child_is_heard_stopped_and_given_back(
    sqlite_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One child for all of it: what it writes is seen before its end, and who leaves or stops ends it."""
    kind = EngineKind("slow-toy", _Settings, "tests.workers.engines.toy_engine:SlowToyEngine", lambda *_: None)
    monkeypatch.setitem(ENGINES, "slow-toy", kind)
    pool, hold = EnginePool(), tmp_path / "hold"
    model = ModelSpec("toy", "slow-toy", {"hold": str(hold)})
    hold.touch()
    row_id, row = _one(sqlite_database)
    with answering(sqlite_database, pool, row, model):
        until(lambda: told(sqlite_database, row_id).pieces, "the first letters")
        assert told(sqlite_database, row_id).pieces == ((0, "HEL", None),)
        hold.unlink()
    news = told(sqlite_database, row_id)
    assert ("".join(text for _, text, _ in news.pieces), news.state) == ("HELLO", "done")
    assert news.usage == {"prompt": 1, "completion": 1, "cached": 0}
    with sqlite_database.read() as session:
        assert usage_of(session, DEFAULT_WORKSPACE).tokens_today == 1

    hold.touch()
    with sqlite_database.begin() as session:
        add(session, "cmpl-left", DEFAULT_WORKSPACE, "m", {**STORED, "prompts": PROMPTS})
    with answering(sqlite_database, pool, claimed(sqlite_database), model):
        until(lambda: told(sqlite_database, "cmpl-left").pieces, "the first letters")
        with sqlite_database.begin() as session:
            remove(session, "cmpl-left")  # what the API does when its client has left
    assert told(sqlite_database, "cmpl-left").state is None

    with sqlite_database.begin() as session:
        add(session, "cmpl-stopped", DEFAULT_WORKSPACE, "m", {**STORED, "prompts": PROMPTS})
    with answering(sqlite_database, pool, claimed(sqlite_database), model) as stopping:
        until(lambda: told(sqlite_database, "cmpl-stopped").pieces, "the first letters")
        stopping.set()
    assert told(sqlite_database, "cmpl-stopped").error == {
        "kind": "unavailable",
        "message": "the worker that answered has stopped",
        "wait_seconds": 0.0,
    }
    with sqlite_database.begin() as session:
        add(session, "cmpl-back", DEFAULT_WORKSPACE, "m", {**STORED, "prompts": PROMPTS})
    row = claimed(sqlite_database)
    with answering(sqlite_database, pool, row, model) as stopping:
        stopping.set()  # before anything was told
    assert told(sqlite_database, "cmpl-back").state in ("waiting", "failed")
    pool.close()
