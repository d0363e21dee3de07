"""Answers that are kept: a stage that asks what its workspace asked before is given the same text, and nothing is made.

It stands between the stages and every engine. A completion is found by all that it follows from: workspace, weights,
the settings of the model's entry, prompt, decoding, frame, and its own seed. The prompt is its turns: with weights,
tokenizer and the template's variables they determine the ids. Samples of one request are kept one by one, so a job that
draws more asks for the rest alone.

Kept is what a repeated request would give again: greedy texts, and sampled ones of engines with the capability
``per_request_seed``, of weights that have a mark (workers.engines.marks). Reading and writing are transactions of their
own. What goes wrong in them costs the answers and never the shard.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Protocol, runtime_checkable

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from models.cached_answers import Kept, find_answers, keep_answers
from models.jobs import InjectionJob
from models.leases import Lease
from models.outputs import Evaluation
from models.session import Database
from models.workspaces import PILOT_WORKSPACE
from workers.engines.base import Completion, FinishReason, GenerationRequest, Journal, ModelSpec
from workers.engines.follow_ups import FollowUp
from workers.engines.registry import ENGINES

log = logging.getLogger(__name__)
_FORM = 1  # raise it where the same request comes to mean other ids or another text
_UNKNOWN = "of no known revision"
Ask = Callable[[Sequence[GenerationRequest], FollowUp | None], list[list[Completion]]]


@runtime_checkable
class MarksWeights(Protocol):
    """Whoever generates and can tell which weights stand behind a model's name now."""

    def weights(self, model: ModelSpec, cancelled: Callable[[], bool], journal: Journal) -> str | None:
        """Their mark; None where nobody can say whether they are the same as before. Raises as ``generate``."""
        ...


@dataclass(frozen=True)
class AnswerCache:
    """The kept answers of the workspace that a leased shard belongs to.

    ``unknown_revisions``: also of models whose weights have no mark.
    """

    db: Database
    lease: Lease
    unknown_revisions: bool = False

    def mark(self, engines: object, model: ModelSpec, cancelled: Callable[[], bool], journal: Journal) -> str | None:
        """What the model's weights are known by now; None: its answers are neither kept nor looked for.

        Raises EngineError and Cancelled as generating does.
        """
        if not isinstance(engines, MarksWeights) or self._workspace is None:
            return None
        return engines.weights(model, cancelled, journal) or (_UNKNOWN if self.unknown_revisions else None)

    def generate(
        self,
        ask: Ask,
        model: ModelSpec,
        mark: str,
        requests: Sequence[GenerationRequest],
        journal: Journal,
        follow_up: FollowUp | None,
    ) -> list[list[Completion]]:
        """Completions per request, from what is kept and else by ``ask``; see ``StageContext.generate``."""
        identity = self._identity(model, mark)
        book = _Book(identity, list(requests), [[None] * request.n for request in requests])
        self._serve(book, journal, follow_up)
        parts = book.missing()
        if not parts:
            return book.answers()
        made: dict[bytes, Completion] = {}

        def is_sure(request: GenerationRequest) -> bool:
            # Who answers may have loaded its weights before they changed: what its answers are of is not known then.
            return mark in (journal.weights, _UNKNOWN) and _repeats(request, journal)

        def note(at: int, completion: Completion) -> GenerationRequest | None:
            request = book.requests[parts[at].at]
            if is_sure(request):
                made[answer_key(identity, request)] = completion
            following = None if follow_up is None else follow_up(parts[at].at, completion)
            if following is not None:
                book.requests[parts[at].at] = following
            return following

        found = ask([part.request for part in parts], None if follow_up is None else note)
        for part, completions in zip(parts, found, strict=True):
            book.found[part.at][part.first : part.first + len(completions)] = completions
            if follow_up is None and is_sure(part.request):
                keys = (answer_key(identity, part.request, sample) for sample in range(len(completions)))
                made.update(zip(keys, completions, strict=True))
        self._keep(made)
        return book.answers()

    def _serve(self, book: _Book, journal: Journal, follow_up: FollowUp | None) -> None:
        """Answer from what is kept, and what follows from such an answer likewise."""
        open_ = list(range(len(book.requests)))
        while open_:
            keys = {(at, sample): key for at in open_ for sample, key in enumerate(book.keys(at))}
            kept = self._find(list(dict.fromkeys(keys.values())))
            following: list[int] = []
            for (at, sample), key in keys.items():
                if key not in kept:
                    continue
                completion = _reused(kept[key])
                book.found[at][sample] = completion
                journal.meter.add([completion])
                journal.reused += completion.reused_tokens
                request = None if follow_up is None else follow_up(at, completion)
                if request is not None:
                    book.requests[at], book.found[at] = request, [None]
                    following.append(at)
            open_ = following

    @cached_property
    def _workspace(self) -> str | None:
        """Whose answers these are; None where the job wants none, and for pilots, which measure what a job costs."""
        table = InjectionJob if self.lease.table is InjectionJob else Evaluation
        query = select(table.workspace_id, table.config).where(table.id == self.lease.owner_id)
        try:
            with self.db.look() as session:
                row = session.execute(query).one()
        except SQLAlchemyError as error:
            log.warning("kept answers cannot be read, so they are made anew: %s", type(error).__name__)
            return None
        return row.workspace_id if row.config.get("cache", True) and row.workspace_id != PILOT_WORKSPACE else None

    def _identity(self, model: ModelSpec, mark: str) -> str:
        kind = ENGINES.get(model.engine)
        indifferent = frozenset() if kind is None else kind.indifferent
        settings = {name: value for name, value in model.config.items() if name not in indifferent}
        return json.dumps([_FORM, self._workspace, model.engine, settings, mark], sort_keys=True)

    def _find(self, keys: Sequence[bytes]) -> dict[bytes, Kept]:
        try:
            return find_answers(self.db, str(self._workspace), keys)
        except SQLAlchemyError as error:
            log.warning("kept answers cannot be read, so they are made anew: %s", type(error).__name__)
            return {}

    def _keep(self, made: dict[bytes, Completion]) -> None:
        # Nothing was generated where a prompt did not fit: it may, once the model has a longer context.
        kept = {key: Kept(each.text, each.finish_reason, each.length) for key, each in made.items() if each.length}
        try:
            keep_answers(self.db, str(self._workspace), kept)
        except SQLAlchemyError as error:
            log.warning("answers cannot be kept: %s", type(error).__name__)


@dataclass(frozen=True, slots=True)
class _Part:
    """Samples of request number ``at``, from ``first`` on, that nothing is kept of."""

    at: int
    first: int
    request: GenerationRequest


@dataclass
class _Book:
    """What each request is by now, and what is found of each of its samples."""

    identity: str
    requests: list[GenerationRequest]
    found: list[list[Completion | None]] = field(default_factory=list)

    def keys(self, at: int) -> list[bytes]:
        """The keys of a request's samples."""
        request = self.requests[at]
        return [answer_key(self.identity, request, sample) for sample in range(request.n)]

    def missing(self) -> list[_Part]:
        """Requests for the samples that are not there, neighbours together."""
        parts: list[_Part] = []
        for at, (request, found) in enumerate(zip(self.requests, self.found, strict=True)):
            first = 0
            while first < len(found):
                stop = next((s for s in range(first, len(found)) if found[s] is not None), len(found))
                if stop > first:
                    part = replace(request, n=stop - first, seed=request.seed + first)
                    parts.append(_Part(at, first, request if stop - first == request.n else part))
                first = stop + 1
        return parts

    def answers(self) -> list[list[Completion]]:
        """Everything found, per request."""
        return [[each for each in found if each is not None] for found in self.found]


def answer_key(identity: str, request: GenerationRequest, sample: int = 0) -> bytes:
    """The digest of all that one sample of a request follows from; ``identity`` says of which model, and for whom."""
    greedy = request.temperature == 0
    prompt = asdict(request.prompt)
    told = {
        "of": identity,
        "messages": prompt["messages"],
        "opening": request.prompt.assistant_prefix,
        "stop": list(dict.fromkeys((*request.stop, *request.prompt.stop))),
        "temperature": request.temperature,
        "top_p": 1.0 if greedy else request.top_p,
        "seed": None if greedy else request.seed + sample,
        "max_tokens": request.max_tokens,
        "frame": request.frame,
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).digest()


def _repeats(request: GenerationRequest, journal: Journal) -> bool:
    """Whether the same request would give the same text, as far as the engine that answered says."""
    able = journal.capabilities
    return able is not None and (request.temperature == 0 or able.per_request_seed)


def _reused(kept: Kept) -> Completion:
    reason: FinishReason = "stop" if kept.finish_reason == "stop" else "length"
    return Completion(kept.text, reason, 0, 0, reused_tokens=kept.tokens)
