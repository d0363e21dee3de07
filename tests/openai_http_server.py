"""HTTP of a server that answers like OpenAI's, on a free port, and can be told to misbehave.

What it answers its heirs say. ``faults`` are taken up one per POST, in order; ``dead`` cuts every connection as a dead
server does.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from workers.engines.base import Cancelled

MODEL = "served"
Page = tuple[int, dict[str, Any] | bytes]
Answered = tuple[int, str | dict[str, Any] | Iterator[dict[str, Any]]]


class HttpServer(ABC):
    """Serves until closed. ``seen`` holds every POST (path, headers, body); ``owner`` is what it claims to be."""

    def __init__(self, *, owner: str = "vllm", version: str = "1.2.3", faults: tuple[str, ...] = ()) -> None:
        self.owner, self.version = owner, version
        self.faults: deque[str] = deque(faults)
        self.props: dict[str, Any] = {}
        self.seen: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.most = 0
        self.counting = threading.Lock()
        self.in_flight = 0
        self.dead = False
        self.closing = threading.Event()
        self.streams = False  # whether it answers by a stream who asks for one
        self.go_on = threading.Event()  # a stream stops behind its first piece until this is set
        self.go_on.set()
        server = self

        class Handler(_Handler):
            of = server

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def config(self, **more: Any) -> dict[str, Any]:
        """A registry entry's settings for this server, with short waits."""
        return {"base_url": self.url, "model": MODEL, "backoff_seconds": 0.01, **more}

    def close(self) -> None:
        """Stop serving; stalled requests end."""
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()

    def models(self) -> list[dict[str, Any]]:
        """What is served."""
        return [{"id": MODEL, "owned_by": self.owner}]

    @abstractmethod
    def answer(self, path: str, body: dict[str, Any], gone: Any) -> Answered:
        """Status and body for one request."""

    def page(self, method: str, path: str, headers: dict[str, str], content: bytes) -> Page | None:
        """Status and body of what a server of another kind has beside completions; None: it is none of that."""
        return None


def _pieces(choices: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A few characters of each choice in turn; the last of one says how it ended."""
    texts = [choice["message"]["content"] if "message" in choice else choice["text"] for choice in choices]
    for at in range(0, max(map(len, texts)) + 1, 5):
        for choice, text in zip(choices, texts, strict=True):
            if at <= len(text):
                piece = text[at : at + 5]
                written = {"delta": {"content": piece}} if "message" in choice else {"text": piece}
                ended = choice["finish_reason"] if at + 5 > len(text) else None
                yield {"choices": [{"index": choice["index"], "finish_reason": ended, **written}], "usage": None}


class _Handler(BaseHTTPRequestHandler):
    of: HttpServer
    protocol_version = "HTTP/1.1"
    inside = False

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if self.of.dead:
            self._cut(b"")
            return
        if (page := self.of.page("GET", self.path, dict(self.headers), b"")) is not None:
            self._send(*page)
            return
        pages: dict[str, dict[str, Any]] = {
            "/v1/models": {"data": self.of.models()},
            "/version": {"version": self.of.version},
            **({"/props": self.of.props} if self.of.props else {}),
        }
        self._send(200 if self.path in pages else 404, pages.get(self.path, {}))

    def do_DELETE(self) -> None:
        page = self.of.page("DELETE", self.path, dict(self.headers), b"")
        self._send(*(page or (404, {})))

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        form = self.headers["Content-Type"].startswith("multipart/")
        body = {} if form else json.loads(content)
        with self.of.counting:
            self.of.seen.append((self.path, dict(self.headers.items()), body))
            fault = "cut" if self.of.dead else self.of.faults.popleft() if self.of.faults else ""
            self.of.in_flight += 1
            self.inside = True
            self.of.most = max(self.of.most, self.of.in_flight)
        try:
            if fault == "lost":  # done, and nobody hears of it
                self.of.page("POST", self.path, dict(self.headers), content)
                self._cut(b"")
            elif fault:
                self._misbehave(fault)
            elif (page := self.of.page("POST", self.path, dict(self.headers), content)) is not None:
                self._send(*page)
            else:
                status, answer = self.of.answer(self.path, body, self._gone)
                if isinstance(answer, Iterator):
                    self._stream(answer)
                elif self.of.streams and body.get("stream") and isinstance(answer, dict) and "choices" in answer:
                    self._stream([*_pieces(answer["choices"]), {"choices": [], "usage": answer["usage"]}])
                else:
                    self._send(status, answer)
        except (BrokenPipeError, ConnectionResetError, Cancelled):
            self.close_connection = True
        finally:
            self._leave()

    def _leave(self) -> None:
        """No longer in flight, from before the answer is sent: the client may ask again as soon as it has it."""
        with self.of.counting:
            self.of.in_flight -= self.inside
            self.inside = False

    def _misbehave(self, fault: str) -> None:
        kind, _, detail = fault.partition(" ")
        if kind == "cut":
            self._cut(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"choices": [')
        elif kind == "stall":
            while not self.of.closing.is_set() and not self._gone():
                time.sleep(0.02)
        elif kind == "nul":
            self._send(200, {"choices": [{"index": 0, "text": "a\x00b\ud800", "finish_reason": "stop"}]})
        elif kind == "junk":
            self._send(200, {"choices": [{"index": 0, "text": None}]} if detail else {})
        else:
            self._send(int(kind), {"error": {"message": f"told to answer {kind}"}}, {"Retry-After": detail})

    def _cut(self, begun: bytes) -> None:
        self.close_connection = True
        self.wfile.write(begun)
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)

    def _stream(self, messages: Iterable[dict[str, Any]]) -> None:
        """The answer in pieces, its samples by turns, the counts at the end, as vLLM sends them."""
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.end_headers()
        for message in messages:
            self.wfile.write(f"data: {json.dumps(message)}\n\n".encode())
            self.wfile.flush()
            self.of.go_on.wait(60)
        self._leave()
        self.wfile.write(b"data: [DONE]\n\n")

    def _gone(self) -> bool:
        """Whether the client has hung up."""
        self.connection.setblocking(False)
        try:
            return bool(self.connection.recv(1, socket.MSG_PEEK) == b"")
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            self.connection.setblocking(True)

    def _send(self, status: int, body: str | bytes | dict[str, Any], headers: dict[str, str] | None = None) -> None:
        data = (
            body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        )
        self._leave()
        self.send_response(status)
        for name, value in (headers or {}).items():
            if value:
                self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
