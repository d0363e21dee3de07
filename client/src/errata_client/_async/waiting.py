"""What differs between the two clients by more than words: here for asyncio. Written by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def sleep(seconds: float) -> None:
    """Let other tasks run meanwhile."""
    await asyncio.sleep(seconds)


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What a function answers that reads large files or waits: in a thread, so that other tasks run meanwhile."""
    return await asyncio.to_thread(function, *args, **kwargs)
