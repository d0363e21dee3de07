"""The event loop that every served language model of a worker shares, and how many requests a server gets at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import wait
from typing import Any, TypeVar

from workers.engines.base import Cancelled

T = TypeVar("T")
_POLL_SECONDS = 0.2


class Gate:
    """Lets so many requests through to one server at once, in the order they come.

    Several registry entries may name one server; it is the server that is to be spared, so the smallest of their limits
    counts for all of them together. Belongs to the loop's thread.
    """

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(0)
        self._limits: dict[str, int] = {}
        self._size = 0
        self._shrinking: set[asyncio.Task[Any]] = set()

    async def limit(self, name: str, most: int) -> None:
        """The entry ``name`` allows ``most``. A smaller limit than before takes effect as requests come back."""
        self._limits[name] = most
        size = min(self._limits.values())
        for _ in range(size - self._size):
            self._free.release()
        for _ in range(self._size - size):
            task = asyncio.create_task(self._free.acquire())
            self._shrinking.add(task)
            task.add_done_callback(self._shrinking.discard)
        self._size = size

    async def __aenter__(self) -> None:
        await self._free.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._free.release()


class ServerLoop:
    """An event loop in a thread of its own; other threads run their coroutines on it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._gates: dict[str, Gate] = {}
        self._thread = threading.Thread(target=self._loop.run_forever, name="servers", daemon=True)
        self._thread.start()

    def gate(self, url: str) -> Gate:
        """The gate of the server at this address."""
        return self._gates.setdefault(url, Gate())

    def run(self, work: Coroutine[Any, Any, T], cancelled: Callable[[], bool] = lambda: False) -> T:
        """The coroutine's result. Raises Cancelled soon after ``cancelled()``, or when the loop is closed."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        while not wait([future], timeout=_POLL_SECONDS).done:
            if cancelled():
                future.cancel()
                raise Cancelled
        if future.cancelled():
            raise Cancelled
        return future.result()

    def close(self, last: Iterable[Coroutine[Any, Any, None]] = ()) -> None:
        """Cancel what runs, do what is to be done ``last``, and end the thread."""
        asyncio.run_coroutine_threadsafe(_end(last), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


async def _end(last: Iterable[Coroutine[Any, Any, None]]) -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.gather(*last, return_exceptions=True)
