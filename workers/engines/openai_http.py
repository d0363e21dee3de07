"""HTTP to an OpenAI-compatible server: bounded retries with back-off and jitter. Knows nothing of prompts.

What passes (429, 5xx, time-outs, cut or refused connections, answers that are not JSON) is asked again; what does not
(other 4xx) raises Refused. When the attempts are used up, EngineError(retryable=True): the shard is put back and asked
again later, and no worker waits for a server that is away. The key travels in a header and nowhere else.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Literal
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from pydantic import BaseModel, ConfigDict, Field, field_validator

from workers.engines.base import EngineError

log = logging.getLogger(__name__)
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
_JITTER = random.Random()


class OpenAISettings(BaseModel):
    """A registry entry's settings for engine ``openai``. Times in seconds.

    ``path`` names the weights the server was started with, where they are to be trained. ``adapter``: a folder of the
    server's own disk, loaded under the name ``model`` when the server does not have it.

    ``timeout_seconds`` bounds one attempt, so it must outlast the longest completion; ``concurrency`` bounds the
    requests in flight per worker process, over all shards and all entries of one server. ``samples_per_request`` 1
    suits servers without ``n``.
    """

    model_config = ConfigDict(extra="forbid")

    base_url: str
    model: str
    api_key_env: str | None = None
    server: Literal["auto", "vllm", "sglang", "llamacpp", "openai"] = "auto"
    tokenizer: str | None = None
    path: str | None = None
    adapter: str | None = None
    revision: str | None = None
    max_context: int | None = Field(None, gt=0)
    concurrency: int = Field(64, gt=0, le=4096)
    samples_per_request: int | None = Field(None, gt=0)
    timeout_seconds: float = Field(600.0, gt=0)
    connect_seconds: float = Field(5.0, gt=0)
    retries: int = Field(5, ge=0)
    backoff_seconds: float = Field(0.5, ge=0)
    backoff_limit_seconds: float = Field(30.0, ge=0)
    retry_after_limit_seconds: float = Field(120.0, ge=0)

    @field_validator("base_url")
    @classmethod
    def _plain(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("give http://host:port/v1 or https://...")
        if parts.username or parts.password or parts.query:
            raise ValueError("no credentials in the address: name the key's environment variable in api_key_env")
        return value.rstrip("/")


class Refused(Exception):
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

    async def post(self, path: str, body: dict[str, Any], retried: Counter[str]) -> dict[str, Any]:
        """The JSON object answered below ``base_url``. Raises Refused or EngineError."""
        return await self._ask("POST", self._settings.base_url + path, body, retried)

    async def tell(self, path: str, body: dict[str, Any], retried: Counter[str]) -> None:
        """The same where nothing but the status is answered."""
        await self._ask("POST", self._settings.base_url + path, body, retried, read=False)

    async def get(self, path: str, retried: Counter[str], *, root: bool = False) -> dict[str, Any] | None:
        """The JSON object at ``path``, or None where the server has no such page."""
        base = self._settings.base_url
        url = (base.removesuffix("/v1") if root else base) + path
        try:
            return await self._ask("GET", url, None, retried)
        except Refused as refusal:
            if refusal.status in (401, 403):
                raise
            return None

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    async def _ask(
        self, method: str, url: str, body: dict[str, Any] | None, retried: Counter[str], *, read: bool = True
    ) -> dict[str, Any]:
        attempt = 0
        while True:
            try:
                response = await self._once(method, url, body)
                return _object(response) if read else {}
            except _Passing as passing:
                problem, asked_to_wait = str(passing), passing.retry_after
            attempt += 1
            retried[problem] += 1
            wait = wait_seconds(self._settings, attempt, asked_to_wait)
            if attempt > self._settings.retries or wait is None:
                told = f"; it asks to wait for {asked_to_wait:g} s" if wait is None else ""
                message = f"{urlsplit(url).netloc} did not answer in {attempt} attempts: {problem}{told}"
                raise EngineError(message, retryable=True, wait_seconds=asked_to_wait or 0.0)
            log.warning("%s: %s; attempt %d in %.1f s", urlsplit(url).netloc, problem, attempt + 1, wait)
            await asyncio.sleep(wait)

    async def _once(self, method: str, url: str, body: dict[str, Any] | None) -> Answer:
        try:
            async with asyncio.timeout(self._settings.timeout_seconds):
                answer = await self._exchange(method, url, body)
        except (aiohttp.ClientConnectorError, aiohttp.ServerTimeoutError) as error:
            raise _Passing("no connection") from error
        except TimeoutError:
            raise _Passing(f"no answer within {self._settings.timeout_seconds:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise _Passing("a cut connection") from error
        if answer.status in _RETRIED:
            raise _Passing(f"HTTP {answer.status}", _retry_after(answer.headers))
        if answer.status != HTTPStatus.OK:
            raise Refused(answer.status, _message(answer.content))
        return answer

    async def _exchange(self, method: str, url: str, body: dict[str, Any] | None) -> Answer:
        if self._session is None:
            # Shorter than servers keep an idle connection (uvicorn: 5 s), so that none is closed under a request.
            connector = aiohttp.TCPConnector(limit=self._settings.concurrency, keepalive_timeout=3.0)
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._settings.connect_seconds)
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=timeout,
                headers=self._headers,
                cookie_jar=aiohttp.DummyCookieJar(),
                proxy=_proxy(self._settings.base_url),
            )
        async with self._session.request(method, url, json=body, allow_redirects=False) as response:
            return Answer(response.status, response.headers, await response.read())


class _Passing(Exception):
    """A problem that may pass."""

    def __init__(self, problem: str, retry_after: float | None = None) -> None:
        super().__init__(problem)
        self.retry_after = retry_after


def _object(told: Answer) -> dict[str, Any]:
    try:
        answer = json.loads(told.content)
    except ValueError:
        raise _Passing("an answer that is not JSON") from None
    if not isinstance(answer, dict):
        raise _Passing("an answer that is not an object")
    return answer


def wait_seconds(settings: OpenAISettings, attempt: int, retry_after: float | None) -> float | None:
    """Seconds before the next attempt: what the server asks for, else exponential with full jitter.

    None where the server asks for more than ``retry_after_limit_seconds``.
    """
    if retry_after is not None:
        return None if retry_after > settings.retry_after_limit_seconds else retry_after * _JITTER.uniform(1, 1.1)
    ceiling = min(settings.backoff_limit_seconds, settings.backoff_seconds * 2.0 ** min(attempt, 30))
    return _JITTER.uniform(ceiling / 2, ceiling)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds the server asks to wait, given as a number or a date; None where it says nothing readable."""
    value = headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value[:9])
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
