"""A PostgreSQL connection that is given up when the server does not answer in time.

The server's own timeouts end what it works on. They end nothing where the connection is half open: a balancer or a
proxy that has stopped still acknowledges every packet, so neither TCP keepalives nor ``tcp_user_timeout`` find
anything wrong, and libpq waits for ever. Here the client counts the seconds itself.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

import psycopg
from psycopg.errors import OperationalError

_INTERVAL_SECONDS = 0.1


class BoundedConnection(psycopg.Connection[Any]):
    """A psycopg connection on which one wait for the server takes ``answer_seconds`` at most.

    A wait is one statement, one commit or one block of COPY. Then the connection is closed, and
    ``psycopg.OperationalError`` is raised: what was asked for may have been done, as after any lost connection.
    """

    answer_seconds: float = 75.0

    def wait(self, gen: Any, interval: float = _INTERVAL_SECONDS, timeout: float | None = None) -> Any:
        """What ``gen`` returns. Raises ``psycopg.OperationalError`` when no answer comes in time."""
        if timeout is None:  # which psycopg before 3.3 does not know
            return super().wait(self._bounded(gen), interval)
        return super().wait(self._bounded(gen), interval, timeout)

    def _bounded(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        deadline = time.monotonic() + self.answer_seconds
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                # Not ready: an interval has passed without news. An answer that is there is read, however late.
                if not ready and time.monotonic() > deadline:
                    self.close()
                    raise OperationalError(
                        f"no answer from the database within {self.answer_seconds:g} s (ERRATA_STATEMENT_SECONDS)"
                    )
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value
