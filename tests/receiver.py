"""A receiver of webhooks on this machine that answers as it is told, and keeps what it was sent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LOOPBACK = "127.0.0.0/8"


@dataclass
class Receiver:
    """``answers``: statuses or words ("drip", "endless"), one per request, then 204s."""

    port: int = 0
    answers: list[Any] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/hooks"


@contextmanager
def receiving(*answers: Any, **headers: str) -> Iterator[Receiver]:
    """A receiver until the block ends."""
    receiver = Receiver(answers=list(answers), headers=headers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.got.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            answer = receiver.answers.pop(0) if receiver.answers else 204
            if answer == "drip":
                while not receiver.closing.wait(0.02):
                    self.wfile.write(b"H")  # never a whole line
                return
            self.send_response(200 if answer == "endless" else answer)
            for name, value in receiver.headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            while answer == "endless" and not receiver.closing.is_set():
                self.wfile.write(b"x" * 65536)

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:
                return  # the sender went away, as it should

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
