"""The event loop that all engines over HTTP share, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import wait
from typing import Any, TypeVar

from workers.engines.base import Cancelled
from workers.engines.openai_gate import URGENT_REQUESTS, Gate

_POLL_SECONDS = 0.2
T = TypeVar("T")


class ServerLoop:
    """An event loop in a thread of its own; other threads run their coroutines on it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._gates: dict[str, Gate] = {}
        self._urgent: dict[str, asyncio.Semaphore] = {}
        self._thread = threading.Thread(target=self._loop.run_forever, name="servers", daemon=True)
        self._thread.start()

    def gate(self, url: str) -> Gate:
        """The gate of the server at this address."""
        return self._gates.setdefault(url, Gate())

    def urgent_gate(self, url: str) -> asyncio.Semaphore:
        """The places of those who do not wait behind a job's requests: a few beyond what the gate lets through."""
        return self._urgent.setdefault(url, asyncio.Semaphore(URGENT_REQUESTS))

    def run(self, work: Coroutine[Any, Any, T], cancelled: Callable[[], bool] = lambda: False) -> T:
        """The coroutine's result. Raises Cancelled soon after ``cancelled()``, or when the loop is closed."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        while not wait([future], timeout=_POLL_SECONDS).done:
            if cancelled():
                future.cancel()  # runs the coroutine's clean-up on the loop; this thread does not wait for it
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


async def all_or_none(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Every result in order. Where one raises, or the whole is cancelled, the others are cancelled too."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:  # cancelled too: closing a connection stops the server's work on its request
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # until they have let go of the gate
        raise


async def _end(last: Iterable[Coroutine[Any, Any, None]]) -> None:
    # Tasks first and connections after them: a closed session under a running request would be its error.
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.gather(*last, return_exceptions=True)
