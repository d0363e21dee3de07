"""A TCP proxy that goes away, comes back on the same port, or stops passing anything on."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Proxy:
    """Passes connections on to ``target`` on this machine from a port of its own, while it is ``up``.

    While ``stalled`` connections stay open and nothing passes either way. ``cut_answers_after`` cuts every connection
    at the first answer behind a request that holds these bytes: the server did it, and nobody heard of it.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._open: set[socket.socket] = set()
        self.flowing = threading.Event()
        self.flowing.set()
        self.cut_answers_after: bytes | None = None
        self.cuts = 0
        self._listener: socket.socket | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]

    def __enter__(self) -> Proxy:
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.flowing.set()
        self.down()

    def up(self) -> None:
        """Listen, on the same port each time."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(128)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def down(self) -> None:
        """Refuse connections, and cut those there are."""
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        self.cut()

    def cut(self) -> None:
        """End every connection."""
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            self._open |= {client, server}
            armed = threading.Event()
            for args in ((client, server, armed, True), (server, client, armed, False)):
                threading.Thread(target=self._pass_on, args=args, daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, armed: threading.Event, asks: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self.flowing.wait()
                if asks and self.cut_answers_after is not None and self.cut_answers_after in data:
                    armed.set()
                if not asks and armed.is_set():
                    self.cut_answers_after = None
                    self.cuts += 1
                    break
                sink.sendall(data)
        for end in (source, sink):
            self._open.discard(end)
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
