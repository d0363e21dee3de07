"""The port on which a process without an API shows its metrics."""

from __future__ import annotations

import hmac
import ipaddress
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from models.telemetry.metrics import exposition


class PortRefused(RuntimeError):
    """Metrics would be readable beyond this machine without a token, or the port is taken."""


def bearer_matches(header: str, token: str) -> bool:
    """Whether an ``Authorization`` header carries the token; compared in constant time."""
    return hmac.compare_digest(header.encode("utf-8", "replace"), f"Bearer {token}".encode())


@contextmanager
def metrics_port(host: str, port: int | None, token: str | None) -> Iterator[int | None]:
    """Answer ``GET /metrics`` while the block runs; yields the port. Nothing happens where ``port`` is None.

    Raises PortRefused.
    """
    if port is None:
        yield None
        return
    if token is None and not _loopback(host):
        raise PortRefused(f"refusing to show metrics on {host} to everybody: set ERRATA_METRICS_TOKEN")
    try:
        server = ThreadingHTTPServer((host, port), _handler(token))
    except OSError as error:
        raise PortRefused(f"metrics cannot listen on {host}:{port}: {error}; set another ERRATA_METRICS_PORT") from None
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _handler(token: str | None) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # a client that says nothing holds no thread for long

        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/metrics":
                self.send_error(404)
            elif token is not None and not bearer_matches(self.headers.get("Authorization", ""), token):
                self.send_response(401)
                self.send_header("WWW-Authenticate", "Bearer")
                self.end_headers()
            else:
                body, content_type = exposition(self.headers.get("Accept", ""))
                self.send_response(200)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Scrapes are no news."""

    return Handler
