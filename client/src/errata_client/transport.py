# Made from _async/transport.py by client/tools/generate.py: change that file, not this one.
"""HTTP as the client uses it: retries that cannot do a thing twice, errors as exceptions, pages as iterators."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx2 as httpx

from errata_client.errors import ServiceUnreachable, from_response
from errata_client.retries import far_off, pause, retried
from errata_client.waiting import sleep

T = TypeVar("T")


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
        return self._json("GET", path, params=_given(params))

    def post(self, path: str, json: Any = None, **more: Any) -> Any:
        """The JSON answer; ``more`` goes to httpx (``content``, ``headers``, ``params``)."""
        headers = {"Idempotency-Key": str(uuid.uuid4()), **more.pop("headers", {})}
        return self._json("POST", path, json=json, headers=headers, **more)

    def put(self, path: str, json: Any) -> Any:
        """The JSON answer."""
        return self._json("PUT", path, json=json)

    def patch(self, path: str, json: Any) -> Any:
        """The JSON answer."""
        return self._json("PATCH", path, json=json)

    def delete(self, path: str, **params: Any) -> Any:
        """The JSON answer."""
        return self._json("DELETE", path, params=_given(params))

    def _json(self, method: str, path: str, **more: Any) -> Any:
        response = self.request(method, path, **more)
        return response.json()

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """One answer below 400, after as many tries as it takes and is allowed."""
        for attempt in range(self._retries + 1):
            try:
                response = self._http.request(method, path, **more)
            except httpx.TransportError as error:
                if attempt == self._retries:
                    raise ServiceUnreachable(f"{self.base_url} does not answer: {error}") from error
                sleep(pause(attempt))
                continue
            if retried(response.status_code) and attempt < self._retries and not far_off(response.headers):
                sleep(pause(attempt, response.headers))
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

    def pages(self, path: str, **more: Any) -> Rows[dict[str, Any]]:
        """Every row of a list as it comes; ``more`` as for ``rows``."""
        return self.rows(dict, path, **more)

    def rows(
        self,
        made: Callable[[dict[str, Any]], T],
        path: str,
        *,
        page_size: int = 200,
        rows: str = "data",
        after: str | None = None,
        **params: Any,
    ) -> Rows[T]:
        """What ``made`` makes of every row of a list; ``rows``: the field they stand in. ``after``: a cursor."""

        def page(after: str | None) -> Any:
            return self.get(path, **params, limit=page_size, after=after)

        return Rows(page, made, rows, after)


class Rows(Iterator[T]):
    """The rows of a list. Pages are fetched as rows are asked for, so it costs no memory however long it is.

    ``cursor`` is the place behind the last page that was handed out whole. The same list with ``after=cursor`` goes on
    there, in another process or on another day: rows of the page in between come once more.
    """

    def __init__(
        self, page: Callable[[str | None], Any], made: Callable[[dict[str, Any]], T], field: str, after: str | None
    ) -> None:
        self.cursor = after
        self._page, self._made, self._field = page, made, field
        self._rows = self._read()

    def _read(self) -> Iterator[T]:
        while True:
            page = self._page(self.cursor)
            for row in page[self._field]:
                yield self._made(row)
            following = page.get("next")
            if not page["has_more"] or following is None:
                return
            self.cursor = following

    def __iter__(self) -> Rows[T]:
        return self

    def __next__(self) -> T:
        return next(self._rows)


def _given(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}
