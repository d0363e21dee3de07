"""HTTP as the client uses it: retries that cannot do a thing twice, errors as exceptions, pages as iterators."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from errata_client.errors import ServiceUnreachable, from_response

_RETRIED = frozenset({429, 502, 503, 504})
_LONGEST_WAIT = 30.0  # seconds, whatever Retry-After says


class Transport:
    """Requests to one service. A POST carries an idempotency key, so that it may be sent again like a GET."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        timeout_seconds: float = 60.0,
        retries: int = 5,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        timeout = httpx.Timeout(timeout_seconds, connect=10.0)
        self._http = httpx.Client(base_url=base_url, headers=headers, timeout=timeout, transport=transport)
        self._retries = retries

    @property
    def base_url(self) -> str:
        """Where the service is."""
        return str(self._http.base_url).rstrip("/")

    def close(self) -> None:
        """Close every connection."""
        self._http.close()

    def get(self, path: str, **params: Any) -> Any:
        """The JSON answer; parameters that are None are left out. Raises ApiError and ServiceUnreachable."""
        return self.request("GET", path, params=_given(params)).json()

    def post(self, path: str, json: Any = None, **more: Any) -> Any:
        """The JSON answer; ``more`` goes to httpx (``content``, ``headers``, ``params``)."""
        headers = {"Idempotency-Key": str(uuid.uuid4()), **more.pop("headers", {})}
        return self.request("POST", path, json=json, headers=headers, **more).json()

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """One answer below 400, after as many tries as it takes and is allowed."""
        for attempt in range(self._retries + 1):
            try:
                response = self._http.request(method, path, **more)
            except httpx.TransportError as error:
                if attempt == self._retries:
                    raise ServiceUnreachable(f"{self.base_url} does not answer: {error}") from error
                time.sleep(_pause(attempt))
                continue
            if response.status_code in _RETRIED and attempt < self._retries and not _far_off(response.headers):
                time.sleep(_pause(attempt, response.headers))
                continue
            if response.status_code >= 400:
                raise from_response(response)
            return response
        raise AssertionError("unreachable: the last attempt returns or raises")

    @contextmanager
    def stream(self, path: str, headers: Mapping[str, str], *, endless: bool = False) -> Iterator[httpx.Response]:
        """An answer read piece by piece, not retried; ``endless``: silence up to a minute is normal."""
        timeout = httpx.Timeout(60.0, connect=10.0) if endless else httpx.USE_CLIENT_DEFAULT
        try:
            with self._http.stream("GET", path, headers=dict(headers), timeout=timeout) as response:
                if response.status_code >= 400:
                    response.read()
                    raise from_response(response)
                yield response
        except httpx.TransportError as error:
            raise ServiceUnreachable(f"{self.base_url} broke off: {error}") from error

    def pages(self, path: str, *, page_size: int = 200, rows: str = "data", **params: Any) -> Iterator[dict[str, Any]]:
        """Every row of a list, page by page; ``rows`` is the field they stand in."""
        after: str | None = None
        while True:
            page = self.get(path, **params, limit=page_size, after=after)
            yield from page[rows]
            after = page.get("next")
            if not page["has_more"] or after is None:
                return


def _given(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


def _far_off(headers: Mapping[str, str]) -> bool:
    """Whether the service says that trying soon is no use, as for a quota of the day."""
    told = headers.get("retry-after", "")
    return told.isdecimal() and float(told) > _LONGEST_WAIT


def _pause(attempt: int, headers: Mapping[str, str] | None = None) -> float:
    """Seconds to wait: what the service asks for, else doubling from 0.2 with jitter."""
    told = (headers or {}).get("retry-after", "")
    if told.isdecimal():
        return min(float(told), _LONGEST_WAIT)
    return min(0.2 * 2.0**attempt, _LONGEST_WAIT) * random.uniform(0.5, 1.0)
