"""``errata serve`` and ``errata api``: the HTTP side, alone or with everything else in one process tree."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType

import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.http.auth import BindingRefused, check_binding
from api.settings import ApiSettings
from cli.kept import Kept
from cli.refusal import Refused
from cli.services import need_broker, open_database, stop_on_signals, stop_with_parent, upgrade_database
from models.session import Database
from models.settings import StoreSettings
from workers.app import create_celery
from workers.dispatch import Dispatcher
from workers.embedded import EmbeddedWorker
from workers.services import build_services, close_services
from workers.settings import WorkerSettings
from workers.training.settings import TrainerSettings

_PORTS_TRIED = 100
_STOP_SECONDS = 5  # an open event stream holds a graceful stop no longer than this


class Server(uvicorn.Server):
    """uvicorn, saying where it listens once it does, and telling ``stopping`` of the first signal at once."""

    def __init__(self, app: FastAPI, sock: socket.socket, stopping: threading.Event) -> None:
        config = uvicorn.Config(
            app, log_level="warning", timeout_graceful_shutdown=_STOP_SECONDS, server_header=False, access_log=False
        )
        super().__init__(config)
        self._sock, self._stopping = sock, stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Print the address when requests are answered."""
        await super().startup(sockets)
        if self.started:
            print(f"Errata listens on {address(self._sock)}", flush=True)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Running stages release their shards while open requests are answered."""
        self._stopping.set()
        super().handle_exit(sig, frame)

    def serve_until_stopped(self) -> None:
        """Answer requests until a signal comes. Raises Refused when the application cannot start."""
        self.run(sockets=[self._sock])
        if not self.started:
            raise Refused("the API could not start; see the log above")


def bind(host: str, port: int, *, next_free: bool) -> socket.socket:
    """A listening socket. Port 0: any free one; ``next_free``: the first free one from ``port`` on. Raises Refused."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    error: OSError | None = None
    for candidate in range(port, min(port + (_PORTS_TRIED if next_free and port else 1), 65536)):
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host.strip("[]"), candidate))
            sock.listen(2048)
        except OSError as failed:
            sock.close()
            error = failed
            continue
        return sock
    raise Refused(f"cannot listen on {host}:{port}: {error}; choose another with --port")


def address(sock: socket.socket) -> str:
    """The URL of a listening socket; where it listens everywhere, this machine's."""
    host, port = sock.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(store: StoreSettings, host: str | None, port: int | None, *, trainer: bool, with_parent: bool) -> None:
    """Everything in one process tree, on a database brought up to date first. Returns when a signal comes.

    Without a port, the first free one from the settings' on is taken. ``with_parent``: stop when standard input ends.
    """
    if with_parent:
        stop_with_parent()
    settings, kept = _settings(host, port), _trainer(trainer)
    upgrade_database(store)
    db = open_database(store)
    app = create_celery(store.broker_url)
    with _listening(settings, db, next_free=port is None) as sock, stop_on_signals():
        services = build_services(app, db, store, WorkerSettings())
        server = Server(create_app(db, store, services.dispatcher, settings), sock, services.stopping)
        try:
            with EmbeddedWorker(app, services).running(), kept:
                server.serve_until_stopped()
        finally:
            close_services(services)


def api(store: StoreSettings, host: str | None, port: int | None) -> None:
    """The API alone; workers, sweeper and trainer run elsewhere. Returns when a signal comes."""
    need_broker(store, "api")
    settings = _settings(host, port)
    db = open_database(store)
    dispatcher = Dispatcher(create_celery(store.broker_url))
    with _listening(settings, db, next_free=False) as sock, stop_on_signals():
        Server(create_app(db, store, dispatcher, settings), sock, threading.Event()).serve_until_stopped()
    db.dispose()


def _settings(host: str | None, port: int | None) -> ApiSettings:
    """The environment's settings, under what the command line gives."""
    given = {"host": host, "port": port}
    return ApiSettings().model_copy(update={name: value for name, value in given.items() if value is not None})


@contextmanager
def _listening(settings: ApiSettings, db: Database, *, next_free: bool) -> Iterator[socket.socket]:
    try:
        check_binding(settings, db)
    except BindingRefused as error:
        db.dispose()
        raise Refused(str(error)) from None
    with bind(settings.host, settings.port, next_free=next_free) as sock:
        yield sock


def _trainer(wanted: bool) -> AbstractContextManager[object]:
    """The trainer daemon as a child. Raises ValidationError now for settings that it would refuse."""
    if not wanted:
        return nullcontext()
    TrainerSettings()
    return Kept("trainer", [sys.executable, "-m", "cli.main", "trainer", "--with-parent"])
