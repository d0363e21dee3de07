"""Requests of a stage asked in batches: the bodies are those of single requests, and so are the ways to read answers.

Each call goes through all its requests with the answers that are kept. What has none is *pending*, and so is what would
follow from it. Everything pending that no open batch asks for makes the next one, and then the stage is parked. When it
is run again it makes the same requests, since all of it follows from the job's seeds.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, TypeVar

from workers.engines.base import Cancelled, Completion, EngineError, GenerationRequest
from workers.engines.entry_settings import BatchSettings
from workers.engines.kept import Answer, Keep, Known, Opening, Parked
from workers.engines.openai_asking import Asker, Line
from workers.engines.openai_batch_wire import Line as FileLine
from workers.engines.openai_batch_wire import RemoteBatch, read_lines, request_key, request_line
from workers.engines.openai_batches import BatchClient
from workers.engines.openai_call import Call
from workers.engines.openai_http import RequestRejected, error_text
from workers.engines.openai_loop import ServerLoop, all_or_none
from workers.engines.openai_wire import Unit, units

log = logging.getLogger(__name__)
T = TypeVar("T")
#: The end of a batch ends a wait; this is for an end that was missed.
_LOOK_YOURSELF_SECONDS = 600.0
_FULL = 10  # times the entry's interval: waiting for a place among open batches, nothing ends that wait but time


class _Pending(Exception):
    """The request has no answer yet."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request as a line of a batch's file."""

    key: str
    path: str
    line: bytes


@dataclass
class _Round:
    """One look at all requests of a call: answers that are kept are given, and what has none is noted."""

    url: str
    known: Mapping[str, Known]
    pending: dict[str, _Asked] = field(default_factory=dict)

    async def post(self, path: str, body: dict[str, Any], _unit: Unit) -> dict[str, Any]:
        """The kept answer to a body. Raises _Pending where there is none."""
        key = request_key(self.url, path, body)
        found = self.known.get(key)
        if found is None or found.answer is None:
            self.pending[key] = _Asked(key, path, request_line(key, path, body))
            raise _Pending
        return _given(found.answer)


def _given(answer: Answer) -> dict[str, Any]:
    if answer.status != 200:
        raise RequestRejected(answer.status, error_text(answer.body))
    return answer.body


class BatchedCalls:
    """Asks one server in batches, for one registry entry. Thread-safe: it holds nothing of a call."""

    def __init__(
        self, name: str, url: str, settings: BatchSettings, retries: int, client: BatchClient, loop: ServerLoop
    ) -> None:
        self._name, self._url, self._settings, self._retries = name, url, settings, retries
        self._client, self._loop = client, loop

    def generate(
        self, requests: Sequence[GenerationRequest], planned: Sequence[Unit], asker: Asker, call: Call, keep: Keep
    ) -> list[list[Completion]]:
        """Completions per request where all answers are kept. Raises Parked where some are not, once they are asked."""
        self._settle(keep, call)
        round_ = _Round(self._url, keep.known())
        answers = self._run(all_or_none(_answered(unit, asker, call, round_) for unit in planned), call)
        if round_.pending:
            self._ask(round_, keep, call)
        results: list[list[Completion]] = [[] for _ in requests]
        for unit, answer in zip(planned, answers, strict=True):
            results[unit.index] += answer
            call.meter.add(answer)
        return results

    def look(self, remote_id: str) -> tuple[RemoteBatch | None, list[FileLine]]:
        """How far a batch is, and what it answered once it has ended. None: the provider knows of none."""
        return self._loop.run(self._look(remote_id))

    def cancel(self, opening: Opening, remote_id: str | None) -> None:
        """Cancel a batch, also one of which only our own id is known, and delete its file."""
        self._loop.run(self._cancel(opening, remote_id))

    def clear(self, files: Sequence[str]) -> None:
        """Delete files that are read."""
        self._loop.run(self._clear(files))

    def _run(self, work: Coroutine[Any, Any, T], call: Call) -> T:
        return self._loop.run(work, call.cancelled)

    async def _look(self, remote_id: str) -> tuple[RemoteBatch | None, list[FileLine]]:
        retried: Counter[str] = Counter()
        batch = await self._client.look(remote_id, retried)
        lines: list[FileLine] = []
        if batch is not None and batch.has_ended:
            for file in batch.files:
                lines += read_lines(await self._client.content(file, retried))
        return batch, lines

    async def _cancel(self, opening: Opening, remote_id: str | None) -> None:
        retried: Counter[str] = Counter()
        if remote_id is None and opening.input_file is not None:
            found = await self._client.find(opening, retried)
            remote_id = None if found is None else found.id
        if remote_id is not None:
            await self._client.cancel(remote_id, retried)
        if opening.input_file is not None:
            await self._client.delete(opening.input_file, retried)

    async def _clear(self, files: Sequence[str]) -> None:
        for file in files:
            await self._client.delete(file, Counter())

    def _settle(self, keep: Keep, call: Call) -> None:
        """Find out about batches whose making was broken off: the provider has them, or they are made anew."""
        for opening in keep.unsettled():
            # Without a file the provider cannot have been asked for a batch.
            found = self._run(self._client.find(opening, call.retried), call) if opening.input_file else None
            if found is None:
                keep.drop(opening)
            elif not keep.created(opening, found.id):
                raise Cancelled

    def _ask(self, round_: _Round, keep: Keep, call: Call) -> None:
        """Put what is pending and not asked for into batches. Raises Parked."""
        waiting = [asked for key, asked in round_.pending.items() if not _is_open(round_.known.get(key))]
        tired = {
            asked.key: known
            for asked in waiting
            if (known := round_.known.get(asked.key)) is not None and known.tries > self._retries
        }
        if tired:
            keep.try_anew(tired.keys())  # at the shard's next attempt, if it has one
            [first, *_] = tired.values()
            raise EngineError(f"language model {self._name!r}: {len(tired)} requests in batches failed: {first.error}")
        for part in self._parts(waiting):
            self._open(part, keep, call)
        raise Parked(f"{self._name!r}: its batches are open", _LOOK_YOURSELF_SECONDS, until_ended=True)

    def _parts(self, waiting: Sequence[_Asked]) -> Iterator[list[_Asked]]:
        """What makes one batch each: requests of one path, within the provider's limits."""
        for _, same in groupby(sorted(waiting, key=lambda asked: asked.path), key=lambda asked: asked.path):
            part: list[_Asked] = []
            size = 0
            for asked in same:
                if part and (
                    len(part) == self._settings.max_requests or size + len(asked.line) > self._settings.max_bytes
                ):
                    yield part
                    part, size = [], 0
                part.append(asked)
                size += len(asked.line)
            yield part

    def _open(self, part: Sequence[_Asked], keep: Keep, call: Call) -> None:
        """Make one batch. Its row stands before the provider hears of it, so that it is found again after any death."""
        opening = keep.begin([asked.key for asked in part])
        if opening is None:
            wait = _FULL * self._settings.poll_seconds
            raise Parked(f"{self._name!r}: as many batches are open as may be", wait, until_ended=False)
        call.meter.doing("asking the provider for a batch")
        content = b"".join(asked.line for asked in part)
        try:
            file_id = self._run(self._client.upload(f"{opening.id}.jsonl", content, call.retried), call)
        except (EngineError, RequestRejected):
            keep.drop(opening)
            raise
        opening = keep.uploaded(opening, file_id)
        create = self._client.create(opening, file_id, part[0].path, self._settings.window, call.retried)
        try:
            # What is lost on its way may have arrived: the row stays, and the next holder looks for the batch. It is
            # waited for whoever wants to stop: only who hears the batch's name can cancel it where the lease is lost.
            remote_id = self._loop.run(create)
        except RequestRejected:
            keep.drop(opening)
            raise
        if not keep.created(opening, remote_id):
            self.cancel(opening, remote_id)
            raise Cancelled


def _is_open(known: Known | None) -> bool:
    return known is not None and known.is_open


async def _answered(unit: Unit, asker: Asker, call: Call, round_: _Round) -> list[Completion]:
    """The unit's completions and what followed from them; none where an answer is pending."""
    line = Line(round_.post, call.retried)
    try:
        while True:
            answer = await asker.ask(unit, line)
            following = None if call.follow_up is None else call.follow_up(unit.index, answer[0])
            if following is None:
                return answer
            [unit] = units(unit.index, following, None)
    except _Pending:
        return []
