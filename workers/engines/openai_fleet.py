"""Several servers behind one entry: which of them is asked next, and what becomes of the requests of one that is out.

A prompt goes to the server that was asked for the longest beginning of it, as long as that one has room and is not far
busier than the least busy; else to the least busy one. Where none has room it waits for the one it would have gone to,
and a server that runs out of work of its own takes over from the longest queue. A server that fails is out: what waited
for it goes to the others, and it is asked what it is before it gets requests again, at growing intervals.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from errata.types import Prompt
from workers.engines.base import EngineError
from workers.engines.openai_backend import Backend
from workers.engines.openai_prefixes import Prefixes, pieces_of

log = logging.getLogger(__name__)
_LEAST_SLACK = 4  # requests


@dataclass(eq=False)
class _Waiter:
    """A request that no server has room for."""

    chain: list[int]
    place: asyncio.Future[Backend] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Fleet:
    """The servers of one entry, one or several. Belongs to the servers' event loop."""

    def __init__(self, backends: Sequence[Backend]) -> None:
        self.backends = list(backends)
        self._queues: dict[Backend, deque[_Waiter]] = {each: deque() for each in backends}
        self._prefixes = Prefixes()
        self._trying: set[asyncio.Task[None]] = set()
        if len(self.backends) > 1:
            for each in self.backends:
                each.gate.watch(partial(self._serve, each))

    @property
    def is_one(self) -> bool:
        """Whether there is a single server: it has no other to give its requests to."""
        return len(self.backends) == 1

    @asynccontextmanager
    async def place(self, prompt: Prompt, *, urgent: bool = False) -> AsyncIterator[Backend]:
        """A server for the prompt, with a place at it. ``urgent`` ones have places of their own."""
        if self.is_one or urgent:
            backend = self.backends[0] if self.is_one else await self._least_busy()
            async with backend.urgent if urgent else backend.gate:
                yield backend
            return
        backend = await self._placed(pieces_of(prompt))
        try:
            yield backend
        finally:
            backend.gate.leave()

    async def introduce(self, retried: Counter[str]) -> None:
        """Ask every server what it is, where that has to be asked. Raises EngineError where none answers."""
        if self.is_one:
            await self.backends[0].introduce(retried)
            return
        tried = [each for each in self.backends if each.is_new and self._may_try(each)]
        found = await asyncio.gather(*(each.introduce(retried) for each in tried), return_exceptions=True)
        for each, error in zip(tried, found, strict=True):
            if error is None:
                self._is_back(each)
            elif isinstance(error, EngineError) and error.retryable:
                self._is_out(each, error)
            else:
                raise error
        if not self._up():
            told = next((e for e in found if isinstance(e, EngineError)), None)
            raise told or EngineError("none of the entry's servers answers", retryable=True, wait_seconds=self._rest())

    def goes_on(self, backend: Backend, error: EngineError, attempt: int, retries: int) -> bool:
        """Whether a request that failed there is asked again, by whichever server there is."""
        if self.is_one or not error.retryable:
            return False
        if backend.failed(error):
            self._is_out(backend, error, noted=True)
        return attempt <= retries

    def _up(self) -> list[Backend]:
        return [each for each in self.backends if each.out_until is None]

    def _may_try(self, backend: Backend) -> bool:
        return backend.out_until is None or time.monotonic() >= backend.out_until

    def _rest(self) -> float:
        """Seconds until a server that is out may be tried."""
        return max(0.0, min((each.out_until or 0.0) for each in self.backends) - time.monotonic())

    async def _least_busy(self) -> Backend:
        await self._someone_up()
        return min(self._up(), key=lambda each: each.gate.load)

    async def _someone_up(self) -> None:
        """Wait until a server is not out. Raises EngineError where the next one to be tried does not answer."""
        self._try_again()
        if self._up():
            return
        await asyncio.sleep(self._rest())
        self._try_again()
        await asyncio.gather(*self._trying)
        if not self._up():
            raise EngineError("none of the entry's servers answers", retryable=True)

    async def _placed(self, chain: list[int]) -> Backend:
        await self._someone_up()
        chosen = self._choose(chain)
        if chosen.gate.has_room and not self._queues[chosen]:
            chosen.gate.take()
            self._prefixes.note(chain, self.backends.index(chosen))
            return chosen
        waiter = _Waiter(chain)
        self._queues[chosen].append(waiter)
        try:
            return await waiter.place
        except asyncio.CancelledError:
            if waiter.place.done() and not waiter.place.cancelled() and waiter.place.exception() is None:
                waiter.place.result().gate.leave()
            raise

    def _choose(self, chain: Sequence[int]) -> Backend:
        up = self._up()
        free = [each for each in up if each.gate.has_room and not self._queues[each]]
        among = free or up
        least = min(map(self._load, among))
        near = [each for each in among if self._load(each) <= least + self._slack(each)]
        shared = {each: self._prefixes.shared(chain, self.backends.index(each)) for each in near}
        return max(near, key=lambda each: (shared[each], -self._load(each)))

    def _load(self, backend: Backend) -> int:
        return backend.gate.load + len(self._queues[backend])

    @staticmethod
    def _slack(backend: Backend) -> int:
        return max(_LEAST_SLACK, backend.gate.size // 4)

    def _serve(self, backend: Backend) -> None:
        """There is room at this server: for who waits for it, else for the last of the longest queue."""
        while backend.out_until is None and backend.gate.has_room:
            own = self._queues[backend]
            longest = max(self._queues.values(), key=len)
            if not own and not longest:
                return
            # Its neighbours stand before it and stay together at the server that knows their beginning.
            waiter = own.popleft() if own else longest.pop()
            if not waiter.place.done():
                backend.gate.take()
                self._prefixes.note(waiter.chain, self.backends.index(backend))
                waiter.place.set_result(backend)

    def _is_out(self, backend: Backend, error: EngineError, *, noted: bool = False) -> None:
        if not noted:
            backend.leave_alone(error.wait_seconds)
        log.info("one of several servers is out: %s", str(error).partition(": ")[0])
        self._prefixes.forget(self.backends.index(backend))
        waiting, self._queues[backend] = self._queues[backend], deque()
        others = self._up()
        for waiter in waiting:
            if not others:
                if not waiter.place.done():
                    waiter.place.set_exception(EngineError(str(error), retryable=True))
                continue
            self._queues[min(others, key=self._load)].append(waiter)
        for other in others:
            self._serve(other)

    def _is_back(self, backend: Backend) -> None:
        was_out = backend.out_until is not None
        backend.back()
        if was_out:
            log.info("one of several servers is back")
            self._serve(backend)

    def _try_again(self) -> None:
        """Ask every server whose time out is over what it is; a request is no way to find out."""
        for each in self.backends:
            if each.out_until is not None and self._may_try(each):
                each.out_until = time.monotonic() + 3600.0  # until it has answered, or not
                task = asyncio.create_task(self._try(each))
                self._trying.add(task)
                task.add_done_callback(self._trying.discard)

    async def _try(self, backend: Backend) -> None:
        backend.stale = True
        try:
            await backend.introduce(Counter())
        except EngineError as error:
            self._is_out(backend, error)
        except BaseException:
            backend.out_until = time.monotonic()
            raise
        else:
            self._is_back(backend)
