"""How many requests one server is given at once, whoever asks."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

#: Beyond the limit of a server's entries, for those who do not wait behind a job's requests.
URGENT_REQUESTS = 8


class Gate:
    """Lets so many requests through to one server at once, in the order they come.

    Several registry entries may name one server; it is the server that is to be spared, so the smallest of their limits
    counts for all of them together. Belongs to the loop's thread.
    """

    def __init__(self) -> None:
        self._limits: dict[str, int] = {}
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._watchers: list[Callable[[], None]] = []
        self.size = self.in_use = 0

    @property
    def has_room(self) -> bool:
        """Whether a request may go at once. Nobody overtakes those that wait."""
        return self.in_use < self.size and not self._waiting

    @property
    def load(self) -> int:
        """How many requests are at the server or wait for it here."""
        return self.in_use + len(self._waiting)

    async def limit(self, name: str, most: int) -> None:
        """The entry ``name`` allows ``most``. A smaller limit than before takes effect as requests come back."""
        self._limits[name] = most
        self.size = min(self._limits.values())
        self._hand_on()

    def watch(self, told: Callable[[], None]) -> None:
        """``told`` is called whenever there is room and nobody waits at this gate for it."""
        self._watchers.append(told)

    def take(self) -> None:
        """Take a place. Call where ``has_room`` only."""
        self.in_use += 1

    def leave(self) -> None:
        """Give a place back."""
        self.in_use -= 1
        self._hand_on()

    def _hand_on(self) -> None:
        while self.in_use < self.size and self._waiting:
            next_one = self._waiting.popleft()
            if not next_one.done():
                self.in_use += 1
                next_one.set_result(None)
        for told in self._watchers if self.has_room else ():
            told()

    async def __aenter__(self) -> None:
        if self.has_room:
            self.take()
            return
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():  # given at the very moment in which nobody wanted it any more
                self.leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        self.leave()
