"""A broker that goes away at the worst moment: between the delivery of a hint and whatever the worker sends next."""

from __future__ import annotations

import shutil
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from redis import Redis, RedisError

from tests.lacking import lacking
from tests.processes import until
from workers.app import GRADING, RUN_SHARD, create_celery

WORKER = """
import sys
from workers.app import create_celery, GRADING, RUN_SHARD

app = create_celery(sys.argv[1])

@app.task(name=RUN_SHARD)
def run(shard_id, queue=None):
    print(shard_id, flush=True)

app.Worker(pool="threads", concurrency=1, queues=[GRADING], without_heartbeat=True, without_mingle=True,
           without_gossip=True, loglevel="WARNING").start()
"""


@contextmanager
def redis_server(folder: Path) -> Iterator[int]:
    """A Redis of this test's own, on a free port."""
    if shutil.which("redis-server") is None:
        lacking("needs a redis-server of its own")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            until(lambda: _answers(port), "Redis")
            yield port
        finally:
            server.terminate()


def _answers(port: int) -> bool:
    try:
        return bool(Redis(port=port).ping())
    except RedisError:
        return False


_NEXT = (b"ZREM", b"BRPOP")
"""What a worker sends once a hint is with it: its acknowledgement, or without one the call for the next hint."""


class Cutter(socketserver.ThreadingTCPServer):
    """A proxy that is away from what follows a delivery on, once it is ``armed``, until it is ``back``."""

    allow_reuse_address = daemon_threads = True

    def __init__(self, target: int) -> None:
        super().__init__(("127.0.0.1", 0), _Relay)
        self.target, self.armed, self.delivered, self.back = target, *(threading.Event() for _ in range(3))
        self.passing = threading.Lock()
        self.back.set()
        self.connections: set[socket.socket] = set()

    def cut(self) -> None:
        """End every connection."""
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Relay(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        server = self.server
        assert isinstance(server, Cutter)
        if not server.back.is_set():
            return
        upstream = socket.create_connection(("127.0.0.1", server.target))
        server.connections |= {self.request, upstream}
        threading.Thread(target=self._answers, args=(upstream, server), daemon=True).start()
        while data := _received(self.request):
            with server.passing:
                away = server.armed.is_set() and server.delivered.is_set() and any(word in data for word in _NEXT)
            if away:
                server.back.clear()
                server.armed.clear()
                server.cut()
                return
            upstream.sendall(data)
        upstream.close()

    def _answers(self, upstream: socket.socket, server: Cutter) -> None:
        while data := _received(upstream):
            # Under the lock: the worker must have the hint before its next command is judged.
            with server.passing, suppress(OSError):
                self.request.sendall(data)
                if RUN_SHARD.encode() in data:
                    server.delivered.set()
        self.request.close()


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except OSError:
        return b""


@pytest.mark.timeout(120)
def test_a_worker_hears_again_after_redis_was_lost_behind_a_delivery(tmp_path: Path) -> None:
    """The acknowledgement of a hint never reached Redis. A worker with one place sat there and heard nothing more."""
    with redis_server(tmp_path) as port, Cutter(port) as cutter:
        threading.Thread(target=cutter.serve_forever, daemon=True).start()
        sender = create_celery(f"redis://127.0.0.1:{port}/0")
        url = f"redis://127.0.0.1:{cutter.server_address[1]}/0"
        said = tmp_path / "said"
        with said.open("w") as out:
            worker = subprocess.Popen([sys.executable, "-c", WORKER, url], stdout=out, stderr=subprocess.STDOUT)
        try:
            sender.send_task(RUN_SHARD, args=["first"], queue=GRADING)
            until(lambda: "first" in said.read_text(), "the first hint")
            cutter.delivered.clear()
            cutter.armed.set()
            sender.send_task(RUN_SHARD, args=["second"], queue=GRADING)
            until(lambda: not cutter.armed.is_set(), "the cut")
            until(lambda: any(word in said.read_text() for word in ("Couldn't ack", "Connection")), "its notice")
            cutter.back.set()
            sender.send_task(RUN_SHARD, args=["third"], queue=GRADING)
            until(lambda: "third" in said.read_text(), "a hint behind the cut", 60)
        finally:
            worker.kill()
            worker.wait()
            cutter.shutdown()
