"""Work that cannot look whether it is still wanted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from workers.engines.base import Cancelled

_LOOK_SECONDS = 0.1
T = TypeVar("T")


def stoppable(work: Callable[[], T], cancelled: Callable[[], bool]) -> T:
    """What ``work`` returns or raises. Raises Cancelled within a moment after ``cancelled()`` is true.

    The work then goes on unheard in its thread: it must not mind that its files disappear.
    """
    result: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            result.append(work())
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, name="stoppable", daemon=True)
    thread.start()
    while thread.is_alive():
        if cancelled():
            raise Cancelled
        thread.join(_LOOK_SECONDS)
    if raised:
        raise raised[0]
    return result[0]
