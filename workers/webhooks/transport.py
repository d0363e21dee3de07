"""One POST to an address of a user's: looked up, checked, and connected to exactly where the check looked.

No redirects, no proxies, no cookies. Of the answer only its status counts; at most 16 KiB of it are read. The whole
exchange has one time limit, whatever the other side does.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpcore

from models.webhook_urls import Address, RefusedAddress, WebhookRules, check_address, check_url

_MOST_READ = 16 * 1024
_MOST_ADDRESSES = 3
_CONNECT_SECONDS = 5.0
Resolve = Callable[[str, int], Sequence[Address]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one attempt: a status, or why there is none. ``retry_after`` in seconds."""

    status: int | None
    error: str | None = None
    retry_after: float | None = None

    @property
    def delivered(self) -> bool:
        """Whether the other side took the message."""
        return self.status is not None and 200 <= self.status < 300


def resolve(host: str, port: int) -> Sequence[Address]:
    """Every address of a name, by the system's resolver. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))


class _CheckedBackend(httpcore.NetworkBackend):
    """Connects to addresses that the rules allow, by their numbers. ``abort`` ends whatever is connected."""

    def __init__(self, scheme: str, rules: WebhookRules, look_up: Resolve) -> None:
        self._scheme, self._rules, self._resolve = scheme, rules, look_up
        self._sock: socket.socket | None = None
        self._lock = threading.Lock()
        self.aborted = False

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002 - httpcore's signature
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        """A connection to the first address of ``host`` that may be reached and answers. Raises RefusedAddress."""
        last: Exception = httpcore.ConnectError("the name has no address")
        for address in self._allowed(host, port):
            try:
                stream = httpcore.SyncBackend().connect_tcp(str(address), port, timeout)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last = error
                continue
            self._keep(stream.get_extra_info("socket"))
            return stream
        raise last

    def _keep(self, sock: socket.socket) -> None:
        # A second handle: TLS takes the first one's descriptor over.
        with self._lock:
            self._sock = sock.dup()
            if self.aborted:
                self._sock.shutdown(socket.SHUT_RDWR)

    def _allowed(self, host: str, port: int) -> list[Address]:
        allowed: list[Address] = []
        refused: RefusedAddress | None = None
        for address in self._resolve(host, port):
            try:
                check_address(address, self._scheme, port, self._rules)
                allowed.append(address)
            except RefusedAddress as error:
                refused = error
        if refused is not None and not allowed:
            raise refused
        return allowed[:_MOST_ADDRESSES]

    def abort(self) -> None:
        """End the connection; whoever reads or writes it fails at once."""
        with self._lock:
            self.aborted = True
            if self._sock is not None:
                with suppress(OSError):  # it has ended by itself
                    self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            if self._sock is not None:
                self._sock.close()
                self._sock = None


@cache
def _trusted() -> ssl.SSLContext:
    return ssl.create_default_context()


def post(
    url: str,
    headers: Mapping[str, str],
    body: str,
    rules: WebhookRules,
    seconds: float,
    *,
    look_up: Resolve = resolve,
    trusted: ssl.SSLContext | None = None,
) -> Answer:
    """Send one message and say what came of it. Raises nothing that the other side could cause."""
    try:
        scheme, _, _ = check_url(url, rules)
    except RefusedAddress as error:
        return Answer(None, f"not sent: {error}")
    backend = _CheckedBackend(scheme, rules, look_up)
    timer = threading.Timer(seconds, backend.abort)
    timer.daemon = True
    timer.start()
    try:
        return _exchange(url, headers, body, backend, seconds, trusted or _trusted())
    except RefusedAddress as error:
        return Answer(None, f"not sent: {error}")
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, OSError, ValueError) as error:
        late = backend.aborted or isinstance(error, httpcore.TimeoutException)
        why = f"no answer within {seconds:g} s" if late else f"{type(error).__name__}: {str(error)[:300]}".strip(": ")
        return Answer(None, why)
    finally:
        timer.cancel()
        backend.close()


def _exchange(
    url: str, headers: Mapping[str, str], body: str, backend: _CheckedBackend, seconds: float, trusted: ssl.SSLContext
) -> Answer:
    timeout = {"connect": min(_CONNECT_SECONDS, seconds), "read": seconds, "write": seconds, "pool": seconds}
    sent = [(name.encode(), value.encode()) for name, value in {**headers, "connection": "close"}.items()]
    with (
        httpcore.ConnectionPool(ssl_context=trusted, network_backend=backend, http2=False) as pool,
        pool.stream("POST", url, headers=sent, content=body.encode(), extensions={"timeout": timeout}) as response,
    ):
        read = 0
        for piece in response.iter_stream():
            read += len(piece)
            if read > _MOST_READ:
                break
        told = {name.lower(): value for name, value in response.headers}
        return _answer(response.status, told.get(b"retry-after", b"").decode("ascii", "replace"))


def _answer(status: int, retry_after: str) -> Answer:
    wait = float(retry_after[:9]) if retry_after.isdecimal() else None
    if 300 <= status < 400:
        return Answer(status, f"HTTP {status}: redirects are not followed; register the address it leads to", wait)
    return Answer(status, None if 200 <= status < 300 else f"HTTP {status}", wait)
