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
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
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
from workers.engines.base import EngineError
from workers.engines.entry_settings import OpenAISettings
from workers.engines.openai_stream import STREAMED, StreamedAnswer

log = logging.getLogger(__name__)
RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
_JITTER = random.Random()
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


@dataclass(frozen=True)
class Upload:
    """A file that is sent as a form, with further fields of the form before it."""

    name: str
    content: bytes
    fields: Mapping[str, str]

    def form(self) -> aiohttp.FormData:
        """The form, made anew for each attempt: one can be sent once."""
        form = aiohttp.FormData(dict(self.fields))
        form.add_field("file", self.content, filename=self.name, content_type="application/jsonl")
        return form


Body = dict[str, Any] | Upload | None


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
        once: bool = False,
    ) -> dict[str, Any]:
        """The JSON object answered below ``base_url``, or beside its ``/v1``. Raises RequestRejected or EngineError.

        With ``tell`` it is asked for as a stream. ``tell`` then hears how many tokens have come, ``hear`` all of it.
        ``once``: asked one time only, for what must not be done twice.
        """
        asked = body if tell is None else body | STREAMED
        made = None if tell is None else (lambda: StreamedAnswer(tell, hear))
        return await self._ask("POST", self._url(path, root=root), asked, retried, _object, made=made, once=once)

    async def upload(self, path: str, file: Upload, retried: Counter[str]) -> dict[str, Any]:
        """The JSON object answered to a file."""
        return await self._ask("POST", self._url(path), file, retried, _object)

    async def content(self, path: str, retried: Counter[str]) -> bytes:
        """What stands at ``path``, as it is. Raises RequestRejected where there is nothing."""
        return await self._ask("GET", self._url(path), None, retried, lambda answer: answer.content)

    async def delete(self, path: str, retried: Counter[str]) -> None:
        """Delete what stands at ``path``. Raises RequestRejected where the server deletes none."""
        await self._ask("DELETE", self._url(path), None, retried, lambda _: None, once=True)

    async def tell(self, path: str, body: dict[str, Any], retried: Counter[str]) -> None:
        """The same where nothing but the status is answered."""
        await self._ask("POST", self._url(path), body, retried, lambda _: None)

    async def get(self, path: str, retried: Counter[str], *, root: bool = False) -> dict[str, Any] | None:
        """The JSON object at ``path``, or None where the server has no such page."""
        try:
            return await self._ask("GET", self._url(path, root=root), None, retried, _object)
        except RequestRejected as refusal:
            if refusal.status in (401, 403):
                raise
            return None

    def _url(self, path: str, *, root: bool = False) -> str:
        base = self._settings.url
        return (base.removesuffix("/v1") if root else base) + path

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    async def _ask(
        self,
        method: str,
        url: str,
        body: Body,
        retried: Counter[str],
        read: Callable[[Answer], T],
        *,
        made: Callable[[], StreamedAnswer] | None = None,
        once: bool = False,
    ) -> T:
        # Our own loop, where a retry library would do for the waiting: each attempt is counted under its cause, and a
        # server that asks for a longer wait than allowed ends the loop and closes the engine for that long.
        attempt, retries = 0, 0 if once else self._settings.retries
        while True:
            try:
                return read(await self._once(method, url, body, made))
            except _Transient as passing:
                problem, asked_to_wait = str(passing), passing.retry_after
            attempt += 1
            retried[problem] += 1
            wait = wait_seconds(self._settings, attempt, asked_to_wait)
            if attempt > retries or wait is None:
                told = f"; it asks to wait for {asked_to_wait:g} s" if wait is None else ""
                message = f"{urlsplit(url).netloc} did not answer in {attempt} attempts: {problem}{told}"
                raise EngineError(message, retryable=True, wait_seconds=asked_to_wait or 0.0)
            # One line per outage is written where the stage meets it; every request of a batch comes by here.
            log.debug("%s: %s; attempt %d in %.1f s", urlsplit(url).netloc, problem, attempt + 1, wait)
            await asyncio.sleep(wait)

    async def _once(self, method: str, url: str, body: Body, made: Callable[[], StreamedAnswer] | None) -> Answer:
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
        if answer.status in RETRIED:
            raise _Transient(f"HTTP {answer.status}", _retry_after(answer.headers))
        if answer.status != HTTPStatus.OK:
            raise RequestRejected(answer.status, _message(answer.content))
        return answer

    async def _exchange(self, method: str, url: str, body: Body, made: Callable[[], StreamedAnswer] | None) -> Answer:
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
                proxy=_proxy(self._settings.url),
            )
        # No redirects: the key would travel to wherever the server points.
        sent: dict[str, Any] = {"data": body.form()} if isinstance(body, Upload) else {"json": body}
        async with self._session.request(
            method, url, allow_redirects=False, headers=trace_headers() or None, **sent
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
        return error_text(json.loads(content))
    except ValueError:
        return error_text(content.decode(errors="replace"))


def error_text(body: Any) -> str:
    """The same of what came as JSON."""
    found = body
    while isinstance(found, dict):
        found = next((found[key] for key in ("error", "message", "detail") if found.get(key)), None)
    return str(found or body)[:300]
