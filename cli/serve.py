"""``errata serve`` and ``errata api``: the HTTP side, alone or with everything else in one process tree."""

from __future__ import annotations

import logging
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType

import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.http.auth import BindingRefused, check_binding
from api.http.memory import bound_heaps
from api.settings import ApiSettings
from api.studies.follow import following
from cli import CliError
from cli.common import need_broker, observed, open_database, stop_on_signals, stop_with_parent, upgrade_database
from models.session import Database
from models.settings import StoreSettings
from workers.app import create_celery
from workers.child_process import ChildProcess
from workers.dispatch import Dispatcher
from workers.settings import WorkerSettings
from workers.training.supervise.settings import TrainerSettings
from workers.worker import build_services, close_services, embedded_worker

log = logging.getLogger(__name__)
_PORTS_TRIED = 100
_CHILD_STOP_SECONDS = 30.0
#: Proxies keep an idle connection for 60 s: closed here before, it may be just the one that they send a request by.
_IDLE_SECONDS = 75
_STOP_SECONDS = 5  # an open event stream holds a graceful stop no longer than this


class Server(uvicorn.Server):
    """uvicorn, saying where it listens once it does, and telling ``stopping`` of the first signal at once."""

    def __init__(self, app: FastAPI, sock: socket.socket, stopping: threading.Event) -> None:
        config = uvicorn.Config(
            app,
            log_level="warning",
            timeout_graceful_shutdown=_STOP_SECONDS,
            timeout_keep_alive=_IDLE_SECONDS,
            server_header=False,
            access_log=False,
            forwarded_allow_ips=app.state.api.settings.trusted_proxies,
        )
        super().__init__(config)
        self._sock, self._stopping = sock, stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Print the address when requests are answered."""
        await super().startup(sockets)
        if self.started:
            # One write, line break included: another process of the tree may write its log to the same pipe.
            print(f"Errata listens on {address(self._sock)}\n", end="", flush=True)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Running stages release their shards while open requests are answered."""
        self._stopping.set()
        super().handle_exit(sig, frame)

    def serve_until_stopped(self) -> None:
        """Answer requests until a signal comes. Raises CliError when the application cannot start."""
        self.run(sockets=[self._sock])
        if not self.started:
            raise CliError("the API could not start; see the log above")


class RestartedChild:
    """A role run as a child process from ``with`` to its end, and started again whenever it ends by itself.

    ``first_wait`` is the time in seconds before it is started again; it doubles up to ``longest_wait`` each time the
    child has run for less than that.
    """

    def __init__(
        self, name: str, command: Sequence[str], *, first_wait: float = 1.0, longest_wait: float = 60.0
    ) -> None:
        self._name, self._command = name, command
        self._first_wait, self._longest_wait = first_wait, longest_wait
        self._stopping = threading.Event()
        self._starting = threading.Lock()
        self._watcher = threading.Thread(target=self._watch, name=f"restart-{name}", daemon=True)

    def __enter__(self) -> RestartedChild:
        self._start()
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._starting:  # a child that is started at this moment is stopped too
            self._stopping.set()
        self._child.stop(_CHILD_STOP_SECONDS)
        self._watcher.join()

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        return self._child.pid

    def _start(self) -> None:
        # A session of its own: Ctrl-C at the terminal reaches this process, which then stops the child in order.
        self._child = ChildProcess(self._name, self._command, read_output=False)
        self._since = time.monotonic()

    def _watch(self) -> None:
        wait = self._first_wait
        while True:
            self._child.wait()
            if self._stopping.is_set():
                return
            if time.monotonic() - self._since >= self._longest_wait:
                wait = self._first_wait  # it has proven itself: what ended it now is a new cause
            log.error("the %s %s; it is started again in %g s", self._name, self._child.how_it_ended(), wait)
            if self._stopping.wait(wait):
                return
            wait = min(2 * wait, self._longest_wait)
            with self._starting:
                if self._stopping.is_set():
                    return
                self._start()


def bind(host: str, port: int, *, next_free: bool) -> socket.socket:
    """A listening socket. Port 0: any free one; ``next_free``: the first free one from ``port`` on. Raises CliError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    error: OSError | None = None
    for candidate in range(port, min(port + (_PORTS_TRIED if next_free and port else 1), 65536)):
        sock = socket.socket(family, socket.SOCK_STREAM)
        # Else a restarted server would have to wait until the kernel forgets the last one's connections.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host.strip("[]"), candidate))
            sock.listen(2048)
        except OSError as failed:
            sock.close()
            error = failed
            continue
        return sock
    raise CliError(f"cannot listen on {host}:{port}: {error}; choose another with --port")


def address(sock: socket.socket) -> str:
    """The URL of a listening socket; where it listens everywhere, this machine's."""
    host, port = sock.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(store: StoreSettings, host: str | None, port: int | None, *, trainer: bool, with_parent: bool) -> None:
    """Everything in one process tree, on a database brought up to date first. Returns when a signal comes.

    Without a port, the first free one from the settings' on is taken. ``with_parent``: stop when standard input ends.
    """
    bound_heaps()
    if with_parent:  # first: a parent that is killed while we start is noticed too
        stop_with_parent()
    settings, trainer_child = _settings(host, port), _trainer(trainer)
    upgrade_database(store)
    db = open_database(store)
    app = create_celery(store.broker_url)
    with observed("serve"), _listening(settings, db, next_free=port is None) as sock, stop_on_signals():
        services = build_services(app, db, store, WorkerSettings())
        server = Server(create_app(db, store, services.dispatcher, settings), sock, services.stopping)
        try:
            follower = following(db, services.dispatcher, services.stopping)
            with embedded_worker(app, services), trainer_child, follower:
                server.serve_until_stopped()
        finally:
            close_services(services)


def api(store: StoreSettings, host: str | None, port: int | None) -> None:
    """The API alone; workers, sweeper and trainer run elsewhere. Returns when a signal comes."""
    bound_heaps()
    need_broker(store, "api")
    settings = _settings(host, port)
    db = open_database(store)
    dispatcher = Dispatcher(create_celery(store.broker_url))
    with observed("api"), _listening(settings, db, next_free=False) as sock, stop_on_signals():
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
        raise CliError(str(error)) from None
    with bind(settings.host, settings.port, next_free=next_free) as sock:
        yield sock


def _trainer(wanted: bool) -> AbstractContextManager[object]:
    """The trainer daemon as a child. Raises ValidationError now for settings that it would refuse."""
    if not wanted:
        return nullcontext()
    TrainerSettings()
    return RestartedChild("trainer", [sys.executable, "-m", "cli.main", "trainer", "--with-parent"])
