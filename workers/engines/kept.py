"""What an engine that asks in batches keeps beyond its call: which batches are open, and what was answered.

A batch takes minutes to a day. No stage waits for one: it asks, is given back (``Parked``), and is run again when its
batches have ended. Then it makes the same requests and finds their answers kept. An engine knows no database; who
keeps its answers is told it as a ``Keep`` (workers.batches.keep).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from workers.engines.base import EngineError


class Parked(EngineError):
    """Nothing went wrong: the answers are on their way. ``until_ended``: the end of a batch ends the wait."""

    def __init__(self, message: str, wait_seconds: float, *, until_ended: bool) -> None:
        super().__init__(message, retryable=True, wait_seconds=wait_seconds)
        self.until_ended = until_ended


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and the JSON object that came with it."""

    status: int
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one request: its answer, whether an open batch asks for it, how often it was not answered."""

    answer: Answer | None
    is_open: bool
    tries: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Opening:
    """A batch that is being made: our id for it, the provider's file where there is one, when (in Unix time)."""

    id: str
    input_file: str | None
    began_at: float


class Keep(Protocol):
    """Keeps one stage's requests, for whoever holds its shard. Called from the stage's thread."""

    def known(self) -> Mapping[str, Known]:
        """Every request that was asked, by key."""
        ...

    def unsettled(self) -> list[Opening]:
        """Batches of which it is not known whether the provider made them."""
        ...

    def begin(self, keys: Collection[str]) -> Opening | None:
        """A batch is about to be made. None: as many are open as may be. Raises Cancelled where nobody wants it."""
        ...

    def uploaded(self, opening: Opening, file_id: str) -> Opening:
        """The provider has the batch's file; the batch with it. Raises Cancelled where nobody wants it any more."""
        ...

    def created(self, opening: Opening, remote_id: str) -> bool:
        """The provider has made the batch. False: another holder of the shard gave it up, so it must be cancelled."""
        ...

    def drop(self, opening: Opening) -> None:
        """The provider did not make the batch."""
        ...

    def try_anew(self, keys: Collection[str]) -> None:
        """Forget how often these were not answered."""
        ...
