"""One of an entry's servers: what it is, how it is asked, how busy it is, and whether it is out."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter

from workers.engines.base import EngineError
from workers.engines.entry_settings import OpenAISettings
from workers.engines.openai_about import ask_about
from workers.engines.openai_asking import Asker, Line
from workers.engines.openai_http import Server, wait_seconds
from workers.engines.openai_loop import ServerLoop
from workers.engines.rendering import LocalTokenizer

_ASK_AGAIN_SECONDS = 60.0
_FAILURES = 3  # in a row; a server that answers 500 may only dislike one request


class Backend:
    """Belongs to the servers' event loop. Times by the monotonic clock.

    ``stale``: something went wrong, so it is asked anew what stands there: it may have been replaced.
    ``out_until``: when a server that is out may be tried again; None while it is not.
    """

    def __init__(self, name: str, settings: OpenAISettings, loop: ServerLoop, tokenizer: LocalTokenizer | None) -> None:
        self._name, self._settings = name, settings
        self.server = Server(settings)
        self.gate, self.urgent = loop.gate(settings.url), loop.urgent_gate(settings.url)
        self.asker = Asker(name, settings, tokenizer)
        self.stale = False
        self.out_until: float | None = None
        self._asked = -math.inf
        self._failures = 0  # in a row
        self._outages = 0  # in a row
        self._asking = asyncio.Lock()

    @property
    def is_new(self) -> bool:
        """Whether it has to be asked what it is: for the first time, after trouble, and from time to time."""
        return self.asker.about is None or self.stale or time.monotonic() - self._asked > _ASK_AGAIN_SECONDS

    async def introduce(self, retried: Counter[str]) -> None:
        """Ask what it is, where that has to be asked. Raises EngineError."""
        async with self._asking:
            if not self.is_new:
                return
            self.stale, self._asked = False, time.monotonic()
            try:
                self.asker.about = await ask_about(self._name, self._settings, self.server, retried)
            except BaseException:
                self.stale = True
                raise

    def line(self, retried: Counter[str]) -> Line:
        """The way to it for one request."""
        return Line(
            lambda path, body, unit: self.server.post(path, body, retried, tell=unit.tell, hear=unit.hear), retried
        )

    def answered(self) -> None:
        """It gave an answer."""
        self._failures = 0

    def failed(self, error: EngineError) -> bool:
        """Note that a request to it failed; whether it is out now."""
        self._failures += 1
        self.stale = True
        # A server that answers, if with a refusal, is there: only when it goes on so is it left alone.
        if "HTTP" in str(error) and not error.wait_seconds and self._failures < _FAILURES:
            return self.out_until is not None
        self.leave_alone(error.wait_seconds)
        return True

    def leave_alone(self, seconds: float = 0.0) -> None:
        """Take it out, each time in a row for twice as long, and at least for so many seconds."""
        self._outages += 1
        growing = wait_seconds(self._settings, self._outages, None) or 0.0
        self.out_until = time.monotonic() + max(seconds, growing)

    def back(self) -> None:
        """It is there again."""
        self.out_until, self._failures, self._outages = None, 0, 0
