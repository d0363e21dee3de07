"""What a stage gets and what it returns.

A stage is ``compute(context) -> Finish``: it reads in short transactions of its own, computes with no session open,
and returns what to write. The runner (workers.runner) then, in one transaction, makes the fenced state change first and
calls ``write`` only if the fence still held; so a stage done twice writes once. ``write`` must use unique keys with
``ON CONFLICT DO NOTHING`` (models.session.insert_ignore) and must not compute anything slow.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from sqlalchemy.orm import Session

from models.leases import Lease
from models.logs import engine_outage
from models.session import Database
from models.settings import StoreSettings
from models.states import Stage
from workers.batches.keep import keep_for
from workers.engines.base import (
    Completion,
    EngineError,
    GenerationRequest,
    Hear,
    Journal,
    ModelSpec,
    ScoreRequest,
    Scores,
)
from workers.engines.follow_ups import FollowUp
from workers.engines.kept import Keep, Parked
from workers.engines.meter import Meter
from workers.judge import JudgePool
from workers.stages.isolation import ProblemErrors
from workers.stages.request_cache import AnswerCache

if TYPE_CHECKING:
    from workers.engines.openai_batched import BatchedCalls

log = logging.getLogger(__name__)


class Generator(Protocol):
    """Generates with whichever language model is named; loads and swaps engines (workers.engines.pool)."""

    def generate(
        self,
        model: ModelSpec,
        requests: Sequence[GenerationRequest],
        cancelled: Callable[[], bool],
        journal: Journal | None = None,
        follow_up: FollowUp | None = None,
        hear: Hear | None = None,
        keep: Keep | None = None,
    ) -> list[list[Completion]]:
        """Completions per request, in request order; ``journal`` is told which engine it was and what it met.

        With ``follow_up`` the last completions of each request (workers.engines.follow_ups). ``hear`` is told the texts
        as they grow; its requests go before those of jobs. With ``keep`` requests may go in batches
        (workers.engines.kept).
        """
        ...

    def batches(self, model: ModelSpec) -> BatchedCalls:
        """The way to batches that were made for the model."""
        ...

    def score(
        self,
        model: ModelSpec,
        requests: Sequence[ScoreRequest],
        cancelled: Callable[[], bool],
        journal: Journal | None = None,
    ) -> list[Scores]:
        """Scores of given texts, in request order. Raises EngineError where the model's engine cannot tell them."""
        ...

    def close(self) -> None:
        """End every engine."""
        ...


@dataclass(frozen=True)
class StageContext:
    """Everything a stage may touch. ``cancelled()`` is true when the job is being cancelled or the lease is lost.

    ``errors``: the problems set aside because the method raised for them (workers.stages.isolation).
    ``cache``: the answers that are kept from earlier requests; None: every request is made.
    """

    db: Database
    store: StoreSettings
    lease: Lease
    engines: Generator
    judge: JudgePool
    cancelled: Callable[[], bool]
    journal: Journal = field(default_factory=Journal)
    errors: ProblemErrors = field(default_factory=ProblemErrors)
    cache: AnswerCache | None = None

    @property
    def meter(self) -> Meter:
        """Told what the stage will make and what of it is settled; the engine tells it the rest."""
        return self.journal.meter

    def generate(
        self, model: ModelSpec, requests: Sequence[GenerationRequest], follow_up: FollowUp | None = None
    ) -> list[list[Completion]]:
        """Completions per request. What the engine was and met stands in ``journal``, for the owner's events."""

        def ask(asked: Sequence[GenerationRequest], then: FollowUp | None) -> list[list[Completion]]:
            return self.engines.generate(model, asked, self.cancelled, self.journal, then)

        with _heard_of(model):
            keep = keep_for(self.db, self.lease, model)
            if keep is not None:  # batches are found again by their requests, so none of these may come from elsewhere
                return self.engines.generate(model, requests, self.cancelled, self.journal, follow_up, keep=keep)
            mark = self.cache.mark(self.engines, model, self.cancelled, self.journal) if self.cache else None
            if self.cache is None or mark is None:
                return ask(requests, follow_up)
            return self.cache.generate(ask, model, mark, requests, self.journal, follow_up)

    def score(self, model: ModelSpec, requests: Sequence[ScoreRequest]) -> list[Scores]:
        """Scores per request; see ``generate``."""
        with _heard_of(model):
            return self.engines.score(model, requests, self.cancelled, self.journal)


@contextmanager
def _heard_of(model: ModelSpec) -> Iterator[None]:
    """Tell in the log, once, that the model's engine is away, and that it is back."""
    try:
        yield
    except EngineError as error:
        if isinstance(error, Parked):
            engine_outage(model.name).back(log)
        elif error.retryable:  # what stands behind the colon may quote an answer
            engine_outage(model.name).away(log, str(error).partition(": ")[0])
        raise
    engine_outage(model.name).back(log)


def _nothing(_session: Session) -> None:
    """Write nothing."""


@dataclass(frozen=True)
class Finish:
    """A stage's outcome: the next stage (None: the shard is done) and what to write in the same transaction."""

    next_stage: Stage | None
    write: Callable[[Session], None] = _nothing


StageFunction = Callable[[StageContext], Finish]
