"""How many requests one server is given at once, whoever asks."""

from __future__ import annotations

import asyncio
from typing import Any

#: Beyond the limit of a server's entries, for those who do not wait behind a job's requests.
URGENT_REQUESTS = 8


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
        # Permits that are out cannot be called back: tasks take them as they return, and never give them up.
        for _ in range(self._size - size):
            task = asyncio.create_task(self._free.acquire())
            self._shrinking.add(task)
            task.add_done_callback(self._shrinking.discard)
        self._size = size

    async def __aenter__(self) -> None:
        await self._free.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._free.release()
