"""Answering one completion: its texts are written as they come, until it ends, fails, or nobody waits for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from models.completions import LEASE_SECONDS, CompletionRow, Piece, write
from models.logs import DATABASE
from models.session import Database, passing
from models.usage import count_tokens
from workers.completions.flow import Flow
from workers.completions.requests import requests_of
from workers.engines.base import Cancelled, Completion, EngineError, Journal, LacksCapability, ModelSpec, PromptRefused
from workers.stages.base import Generator

log = logging.getLogger(__name__)
_WRITE_SECONDS = 0.1
_BEAT_SECONDS = 1.0
_AGAIN_SECONDS = 0.5
SUBJECT = "completions"  # what the tokens are counted under


class Answer:
    """One completion that this worker holds. ``run`` answers it and raises nothing that is not a fault of ours."""

    def __init__(self, db: Database, engines: Generator, row: CompletionRow, stopping: threading.Event) -> None:
        self._db, self._engines, self._row, self._stopping = db, engines, row, stopping
        self._requests = requests_of(row.request)
        self._flow = Flow(row.request["n"], row.request["stop"])
        self._journal = Journal()
        self._over, self._lost = threading.Event(), threading.Event()
        self._failure: EngineError | None = None
        self._number, self._written = 0, time.monotonic()
        self._pending: list[Piece] = []  # taken from the flow and not written yet
        self._end: list[Piece] = []

    def run(self, model: ModelSpec) -> None:
        """Generate, and write what comes; the tokens count towards the workspace's quota however it ends."""
        writer = threading.Thread(target=self._write_pieces, name="completion-pieces", daemon=True)
        writer.start()
        try:
            outcome = self._outcome(model)
        finally:
            self._over.set()
            writer.join()
        self._store(_failed(self._failure) if self._failure is not None else outcome)

    def _outcome(self, model: ModelSpec) -> dict[str, Any]:
        """What the row becomes."""
        try:
            found = self._engines.generate(model, self._requests, self._unwanted, self._journal, hear=self._flow.hear)
            if all(one.finish_reason == "length" and not one.completion_tokens for each in found for one in each):
                raise PromptRefused("the prompt leaves no room in the model's context: give a shorter one")
            self._over.set()  # the writer takes nothing any more that stands before the end
            self._end = self._flow.end(found)
            return {"state": "done", "usage": _usage(found)}
        except Cancelled:
            return self._given_up()
        except EngineError as error:
            return self._given_up() if self._unwanted() else _failed(error)
        except Exception:
            log.exception("a completion failed")
            return _failed(EngineError("an error of ours; it has been logged"))

    def _unwanted(self) -> bool:
        return self._lost.is_set() or self._stopping.is_set() or self._failure is not None

    def _given_up(self) -> dict[str, Any]:
        """Another worker may begin where nothing was told yet; else the client has half an answer, and asks again."""
        if self._number == 0:
            return {"state": "waiting", "holder": None, "lease_until": None}
        return _failed(EngineError("the worker that answered has stopped", retryable=True))

    def _write_pieces(self) -> None:
        """Write what has come ten times a second, and say every second that this worker lives."""
        while not self._over.wait(_WRITE_SECONDS) and not self._lost.is_set():
            try:
                self._pending += self._flow.take()
            except EngineError as error:
                self._failure = error
                return
            due = self._pending or time.monotonic() - self._written >= _BEAT_SECONDS
            if due and self._tried(self._pending):
                self._pending = []

    def _tried(self, pieces: Sequence[Piece], **values: Any) -> bool:
        """Whether it was written. A completion that is not ours any more, or a database long away, is lost."""
        try:
            with self._db.begin() as session:
                mine = write(session, self._row.id, self._row.holder or "", self._number + 1, pieces, **values)
        except SQLAlchemyError as error:
            if not passing(error):
                log.exception("pieces of a completion cannot be written")
            DATABASE.away(log, error)
            if not passing(error) or time.monotonic() - self._written > LEASE_SECONDS:
                self._lost.set()
            return False
        if not mine:
            self._lost.set()
            return False
        self._number += bool(pieces)
        self._written = time.monotonic()
        return True

    def _store(self, values: dict[str, Any]) -> None:
        pieces = [] if values["state"] == "waiting" else [*self._pending, *self._end]
        while not self._lost.is_set() and not self._tried(pieces, **values):
            time.sleep(_AGAIN_SECONDS)
        spent = (self._journal.meter.snapshot() or {}).get("completion", 0)
        try:
            with self._db.begin() as session:
                count_tokens(session, self._row.workspace_id, SUBJECT, spent)
        except SQLAlchemyError as error:
            DATABASE.away(log, error)


def _failed(error: EngineError) -> dict[str, Any]:
    """``kind``: whose fault it is, so that the API answers with the right status."""
    refused = isinstance(error, PromptRefused | LacksCapability)
    kind = "refused" if refused else "unavailable" if error.retryable or error.shared else "engine"
    told = {"kind": kind, "message": str(error)[:1000], "wait_seconds": error.wait_seconds}
    return {"state": "failed", "error": told}


def _usage(found: Sequence[Sequence[Completion]]) -> dict[str, int]:
    every = [completion for completions in found for completion in completions]
    return {
        kind: sum(getattr(completion, f"{kind}_tokens") for completion in every)
        for kind in ("prompt", "completion", "cached")
    }
