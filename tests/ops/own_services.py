"""PostgreSQL and Redis of one's own, on free ports, which may be killed: the shared ones may not."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
from redis import Redis, RedisError
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from tests.lacking import lacking
from tests.processes import until

_POSTGRES = (
    "-c",
    "max_connections=300",
    "-c",
    "fsync=on",
    "-c",
    "shared_buffers=64MB",
)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class OwnServer(ABC):
    """A server process on a port of its own; ``start`` after ``kill`` finds what it had stored."""

    def __init__(self, folder: Path, address: str = "127.0.0.1") -> None:
        self.folder, self.port, self.address = folder, free_port(), address
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers; what ends at once is started again: a killed one may hold memory."""
        self._process = self._spawned()

        def up() -> bool:
            if self._process is not None and self._process.poll() is not None:
                self._process = self._spawned()
            return self.answers()

        until(up, type(self).__name__, 60)

    def _spawned(self) -> subprocess.Popen[bytes]:
        with (self.folder / "server.log").open("ab") as log:
            return subprocess.Popen(
                self.command(), stdout=log, stderr=subprocess.STDOUT, user=self.user(), start_new_session=True
            )

    def kill(self) -> None:
        """SIGKILL for it and its children, as a power cut would be for what it has not written."""
        if self._process is None:
            return
        for child in psutil.Process(self._process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.kill()
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(30)
        self._process = None

    def restart(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start()

    @abstractmethod
    def command(self) -> list[str]:
        """What starts it in the foreground."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it takes requests."""

    def user(self) -> str | None:
        """Who it runs as, where that is not us."""
        return None


class OwnRedis(OwnServer):
    """Redis with an append-only file, as docker-compose.yml runs it."""

    @property
    def url(self) -> str:
        """Its address, as a broker."""
        return f"redis://{self.address}:{self.port}/0"

    def command(self) -> list[str]:
        """What starts it in the foreground."""
        bound = [
            "--bind",
            "127.0.0.1",
            *([] if self.address == "127.0.0.1" else [self.address, "--protected-mode", "no"]),
        ]
        options = [*bound, "--save", "", "--appendonly", "yes", "--dir", str(self.folder)]
        return ["redis-server", "--port", str(self.port), *options]

    def answers(self) -> bool:
        """Whether it takes requests."""
        with suppress(RedisError):
            return bool(Redis(port=self.port).ping())
        return False

    def wipe(self) -> None:
        """Lose everything that it holds, as a FLUSHALL by mistake would."""
        with Redis(port=self.port) as client:
            client.flushall()


class OwnPostgres(OwnServer):
    """PostgreSQL on a data folder of its own."""

    def __init__(self, folder: Path, address: str = "127.0.0.1") -> None:
        """Make the data folder in ``folder``, or take the one that is there."""
        super().__init__(folder, address)
        self._data = folder / "data"
        if self.user() is not None:  # it refuses to run as root
            shutil.chown(folder, str(self.user()))
        if (self._data / "PG_VERSION").exists():
            return
        initdb = [_binary("initdb"), "-D", str(self._data), "-U", "postgres", "--auth=trust", "-E", "UTF8"]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, user=self.user())
        with (self._data / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {address}/24 trust\n")

    @property
    def url(self) -> str:
        """Its database, as SQLAlchemy writes it."""
        return f"postgresql+psycopg://postgres@{self.address}:{self.port}/postgres"

    def command(self) -> list[str]:
        """What starts it in the foreground."""
        place = ["-p", str(self.port), "-k", str(self.folder), "-c", f"listen_addresses={self.address}"]
        return [_binary("postgres"), "-D", str(self._data), *place, *_POSTGRES]

    def answers(self) -> bool:
        """Whether it takes requests."""
        engine = create_engine(self.url, connect_args={"connect_timeout": 2})
        try:
            with engine.connect():
                return True
        except OperationalError:
            return False
        finally:
            engine.dispose()

    def user(self) -> str | None:
        """Who it runs as, where that is not us."""
        if os.geteuid() != 0:
            return None
        names = {entry.pw_name for entry in pwd.getpwall()}
        return "postgres" if "postgres" in names else "nobody"


def _binary(name: str) -> str:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    path = str(found[-1]) if found else shutil.which(name)
    if path is None:
        lacking(f"needs PostgreSQL's {name}")
    return path


@contextmanager
def own_services(
    folder: Path, address: str = "127.0.0.1", *, keep: bool = False
) -> Iterator[tuple[OwnPostgres, OwnRedis]]:
    """Both, started at an address of this machine, and killed at the end.

    PostgreSQL's files are not in ``folder``, unless they are to be kept.

    pytest closes the folder that all its temporary ones are in to other users whenever a session starts: a PostgreSQL
    that runs as another user could no longer reach its files, and ended.
    """
    if shutil.which("redis-server") is None:
        lacking("needs a redis-server of its own")
    (folder / "redis").mkdir(exist_ok=keep)
    with ExitStack() as stack:
        if keep:
            own = folder / "postgres"
            own.mkdir(exist_ok=True)
        else:
            made = tempfile.TemporaryDirectory(prefix="errata-postgres-", ignore_cleanup_errors=True)
            own = Path(stack.enter_context(made))
        postgres, redis = OwnPostgres(own, address), OwnRedis(folder / "redis", address)
        for server in (postgres, redis):
            stack.callback(server.kill)
            server.start()
        yield postgres, redis
