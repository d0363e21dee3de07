"""The same requests straight to the server: recorded on their way from the service, sent again by a plain client."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import aiohttp
import httpx

Recorded = tuple[str, bytes]
"""A path below the server's root, and the body posted there."""


@contextmanager
def recording(server: str) -> Iterator[tuple[str, list[Recorded]]]:
    """An address that hands everything on to ``server`` (its root), and what was posted there, in order."""
    seen: list[Recorded] = []
    with httpx.Client(base_url=server, timeout=None, limits=httpx.Limits(max_connections=None)) as onward:

        class Handler(_Handler):
            client, posts = onward, seen

        proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        proxy.daemon_threads = True
        threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{proxy.server_address[1]}", seen
        finally:
            proxy.shutdown()
            proxy.server_close()


class _Handler(BaseHTTPRequestHandler):
    client: httpx.Client
    posts: list[Recorded]
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Hand on."""
        self._answer(self.client.get(self.path))

    def do_POST(self) -> None:
        """Hand on and remember."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.posts.append((self.path, body))
        self._answer(self.client.post(self.path, content=body, headers={"Content-Type": "application/json"}))

    def _answer(self, answer: httpx.Response) -> None:
        self.send_response(answer.status_code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)


def straight(server: str, requests: Sequence[Recorded], concurrency: int) -> float:
    """Send them in order, ``concurrency`` at once; seconds until the last is answered.

    Raises aiohttp.ClientResponseError.
    """
    return asyncio.run(_straight(server, requests, concurrency))


async def _straight(server: str, requests: Sequence[Recorded], concurrency: int) -> float:
    free = asyncio.Semaphore(concurrency)
    connector = aiohttp.TCPConnector(limit=concurrency)
    headers = {"Content-Type": "application/json"}
    untimed = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, headers=headers, timeout=untimed) as client:

        async def send(path: str, body: bytes) -> None:
            async with free, client.post(server + path, data=body) as answer:
                answer.raise_for_status()
                await answer.read()

        began = time.perf_counter()
        await asyncio.gather(*(send(*request) for request in requests))
        return time.perf_counter() - began
