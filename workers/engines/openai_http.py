"""HTTP to an OpenAI-compatible server: bounded retries with back-off and jitter. Knows nothing of prompts.

What passes (429, 5xx, time-outs, cut or refused connections, answers that are not JSON) is asked again; what does not
(other 4xx) raises RequestRejected. When the attempts are used up, EngineError(retryable=True): the shard is put back,
and no worker waits for a server that is away. The key travels in a header and nowhere else.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import wait
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from models.telemetry.metrics import ENGINE_HTTP_SECONDS, timed
from models.telemetry.tracing import span, trace_headers
from workers.engines.base import Cancelled, EngineError
from workers.engines.openai_gate import URGENT_REQUESTS, Gate
from workers.engines.openai_stream import STREAMED, StreamedAnswer
from workers.engines.registry import OpenAISettings

log = logging.getLogger(__name__)
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
_JITTER = random.Random()
_POLL_SECONDS = 0.2
T = TypeVar("T")
Tell = Callable[[int], None]
HearChoices = Callable[[Sequence[dict[str, Any]]], None]


class RequestRejected(Exception):
    """The server refuses a request and would refuse it again."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"HTTP {status}: {message}")
        self.status, self.message = status, message


@dataclass(frozen=True)
class Answer:
    """What came back whole."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Server:
    """A client of one server. Belongs to one event loop. ``retried`` of a call counts what went wrong, by name."""

    def __init__(self, settings: OpenAISettings) -> None:
        self._settings = settings
        self._headers = _headers(settings)
        self._session: aiohttp.ClientSession | None = None

    async def post(
        self,
        path: str,
        body: dict[str, Any],
        retried: Counter[str],
        *,
        root: bool = False,
        tell: Tell | None = None,
        hear: HearChoices | None = None,
    ) -> dict[str, Any]:
        """The JSON object answered below ``base_url``, or beside its ``/v1``. Raises RequestRejected or EngineError.

        With ``tell`` it is asked for as a stream. ``tell`` then hears how many tokens have come, ``hear`` all of it.
        """
        asked = body if tell is None else body | STREAMED
        made = None if tell is None else (lambda: StreamedAnswer(tell, hear))
        return await self._ask("POST", self._url(path, root=root), asked, retried, made=made)

    async def tell(self, path: str, body: dict[str, Any], retried: Counter[str]) -> None:
        """The same where nothing but the status is answered."""
        await self._ask("POST", self._settings.base_url + path, body, retried, read=False)

    async def get(self, path: str, retried: Counter[str], *, root: bool = False) -> dict[str, Any] | None:
        """The JSON object at ``path``, or None where the server has no such page."""
        try:
            return await self._ask("GET", self._url(path, root=root), None, retried)
        except RequestRejected as refusal:
            if refusal.status in (401, 403):
                raise
            return None

    def _url(self, path: str, *, root: bool) -> str:
        base = self._settings.base_url
        return (base.removesuffix("/v1") if root else base) + path

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    async def _ask(
        self,
        method: str,
        url: str,
        body: dict[str, Any] | None,
        retried: Counter[str],
        *,
        read: bool = True,
        made: Callable[[], StreamedAnswer] | None = None,
    ) -> dict[str, Any]:
        # Our own loop, where a retry library would do for the waiting: each attempt is counted under its cause, and a
        # server that asks for a longer wait than allowed ends the loop and closes the engine for that long.
        attempt = 0
        while True:
            try:
                response = await self._once(method, url, body, made)
                return _object(response) if read else {}
            except _Transient as passing:
                problem, asked_to_wait = str(passing), passing.retry_after
            attempt += 1
            retried[problem] += 1
            wait = wait_seconds(self._settings, attempt, asked_to_wait)
            if attempt > self._settings.retries or wait is None:
                told = f"; it asks to wait for {asked_to_wait:g} s" if wait is None else ""
                message = f"{urlsplit(url).netloc} did not answer in {attempt} attempts: {problem}{told}"
                raise EngineError(message, retryable=True, wait_seconds=asked_to_wait or 0.0)
            # One line per outage is written where the stage meets it; every request of a batch comes by here.
            log.debug("%s: %s; attempt %d in %.1f s", urlsplit(url).netloc, problem, attempt + 1, wait)
            await asyncio.sleep(wait)

    async def _once(
        self, method: str, url: str, body: dict[str, Any] | None, made: Callable[[], StreamedAnswer] | None
    ) -> Answer:
        try:
            # The whole exchange, body included: aiohttp's own total would count the wait for a free connection.
            with timed(ENGINE_HTTP_SECONDS) as outcome, span(f"{method} {urlsplit(url).path}", "client") as told:
                told.set(http__request__method=method, server__address=urlsplit(url).hostname)
                async with asyncio.timeout(self._settings.timeout_seconds):
                    answer = await self._exchange(method, url, body, made)
                outcome[0] = str(answer.status)
                told.set(http__response__status_code=answer.status)
        except (aiohttp.ClientConnectorError, aiohttp.ServerTimeoutError) as error:
            raise _Transient("no connection") from error
        except TimeoutError:
            raise _Transient(f"no answer within {self._settings.timeout_seconds:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise _Transient("a cut connection") from error
        if answer.status in _RETRIED:
            raise _Transient(f"HTTP {answer.status}", _retry_after(answer.headers))
        if answer.status != HTTPStatus.OK:
            raise RequestRejected(answer.status, _message(answer.content))
        return answer

    async def _exchange(
        self, method: str, url: str, body: dict[str, Any] | None, made: Callable[[], StreamedAnswer] | None
    ) -> Answer:
        if self._session is None:
            # Shorter than servers keep an idle connection (uvicorn: 5 s), so that none is closed under a request.
            # Without a limit of its own: the gates let through what may be in flight.
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=3.0)
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._settings.connect_seconds)
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=timeout,
                headers=self._headers,
                cookie_jar=aiohttp.DummyCookieJar(),
                proxy=_proxy(self._settings.base_url),
            )
        # No redirects: the key would travel to wherever the server points.
        trace = trace_headers()
        async with self._session.request(
            method, url, json=body, allow_redirects=False, headers=trace or None
        ) as response:
            content = await (_read_stream(response, made()) if made is not None else response.read())
            return Answer(response.status, response.headers, content)


async def _read_stream(response: aiohttp.ClientResponse, made: StreamedAnswer) -> bytes:
    """The whole answer that a stream makes; what is no stream (a refusal, a server that makes none) as it is."""
    if response.content_type != "text/event-stream":
        return await response.read()
    try:
        async for data in response.content.iter_any():
            made.feed(data)
    except ValueError:
        raise _Transient("an answer that is not JSON") from None
    return json.dumps(made.answer()).encode()


class _Transient(Exception):
    """A problem that may be gone at the next attempt."""

    def __init__(self, problem: str, retry_after: float | None = None) -> None:
        super().__init__(problem)
        self.retry_after = retry_after


def _object(told: Answer) -> dict[str, Any]:
    try:
        answer = json.loads(told.content)
    except ValueError:
        raise _Transient("an answer that is not JSON") from None
    if not isinstance(answer, dict):
        raise _Transient("an answer that is not an object")
    return answer


def wait_seconds(settings: OpenAISettings, attempt: int, retry_after: float | None) -> float | None:
    """Seconds before the next attempt: what the server asks for, else exponential with full jitter.

    None where the server asks for more than ``retry_after_limit_seconds``.
    """
    if retry_after is not None:
        return None if retry_after > settings.retry_after_limit_seconds else retry_after * _JITTER.uniform(1, 1.1)
    # Half of it is certain, half is drawn: clients that failed together do not come back together.
    ceiling = min(settings.backoff_limit_seconds, settings.backoff_seconds * 2.0 ** min(attempt, 30))
    return _JITTER.uniform(ceiling / 2, ceiling)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds the server asks to wait, given as a number or a date; None where it says nothing readable."""
    value = headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value[:9])  # bounded: a number of a thousand digits is no float
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def _proxy(url: str) -> str | None:
    """What the environment (``HTTPS_PROXY``, ``NO_PROXY``) says for this address."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)


def _headers(settings: OpenAISettings) -> dict[str, str]:
    if settings.api_key_env is None:
        return {}
    key = os.environ.get(settings.api_key_env)
    if not key:
        raise EngineError(f"the worker's environment has no {settings.api_key_env}, which should hold the server's key")
    return {"Authorization": f"Bearer {key}"}


def _message(content: bytes) -> str:
    """What the server says is wrong, shortened."""
    try:
        body = json.loads(content)
    except ValueError:
        body = content.decode(errors="replace")
    found: Any = body
    while isinstance(found, dict):
        found = next((found[key] for key in ("error", "message", "detail") if found.get(key)), None)
    return str(found or body)[:300]


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
