"""``errata serve`` as a process tree: where it listens, what it refuses, and how it ends."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import httpx
import pytest

from api.app import create_app
from api.settings import ApiSettings
from cli import CliError
from cli.serve import Server, address, bind
from models.session import Database
from models.settings import StoreSettings
from tests.api.conftest import KeptHints
from tests.processes import Running, environment, errata, until

pytestmark = pytest.mark.slow


def test_it_listens_where_it_says_and_ends_without_leaving_processes(tmp_path: Path) -> None:
    with Running("serve", "--port", "0", env=environment(tmp_path)) as serve:
        url = serve.url()
        assert url.startswith("http://127.0.0.1:")
        assert httpx.get(f"{url}/readyz").json()["status"] in ("ok", "degraded")
        assert httpx.get(f"{url}/v1/injection-jobs").json()["data"] == []
        until(lambda: len(serve.tree()) >= 2, "the trainer")
        tree = serve.tree()
        assert serve.stop() == 0
        until(lambda: not any(process.is_running() for process in tree), "every process to end", 120)
        assert "Traceback" not in serve.text


def test_without_a_port_the_next_free_one_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with bind("127.0.0.1", port, next_free=True) as sock:
            assert sock.getsockname()[1] > port
            assert address(sock) == f"http://127.0.0.1:{sock.getsockname()[1]}"
        with pytest.raises(CliError, match="choose another with --port"):
            bind("127.0.0.1", port, next_free=False)
        result = errata("serve", "--port", str(port), env=environment(tmp_path))
        assert result.returncode == 1
        assert "cannot listen" in result.stderr


def test_beyond_this_machine_only_with_a_key(tmp_path: Path) -> None:
    env = environment(tmp_path)
    refused = errata("serve", "--host", "0.0.0.0", "--port", "0", env=env)
    assert refused.returncode == 1
    assert "errata keys create" in refused.stderr
    key = errata("keys", "create", "first", env=env).stdout.strip()
    with Running("serve", "--host", "0.0.0.0", "--port", "0", "--no-trainer", env=env) as serve:
        url = serve.url()
        assert httpx.get(f"{url}/v1/models").status_code == 401
        assert httpx.get(f"{url}/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code == 200


def test_it_ends_with_its_parent_even_if_that_is_killed(tmp_path: Path) -> None:
    with Running("serve", "--port", "0", "--with-parent", env=environment(tmp_path)) as serve:
        serve.url()
        until(lambda: len(serve.tree()) >= 2, "the trainer")
        assert serve.child.stdin is not None
        serve.child.stdin.close()  # what the kernel does when a parent dies
        assert serve.child.wait(120) == 0


def test_a_trainer_that_is_killed_is_started_again(tmp_path: Path) -> None:
    with Running("serve", "--port", "0", env=environment(tmp_path)) as serve:
        serve.url()
        until(lambda: len(serve.tree()) >= 2, "the trainer")
        [first] = [process for process in serve.tree() if process.pid != serve.child.pid]
        first.kill()
        until(lambda: "the trainer ended with status -9" in serve.text, "a word of it")
        until(lambda: len(serve.tree()) >= 2, "another trainer")
        tree = serve.tree()
        assert serve.stop() == 0
        until(lambda: not any(process.is_running() for process in tree), "every process to end", 120)


def test_the_trainer_ends_when_serve_is_killed(tmp_path: Path) -> None:
    with Running("serve", "--port", "0", env=environment(tmp_path)) as serve:
        serve.url()
        until(lambda: len(serve.tree()) >= 2, "the trainer")
        others = [process for process in serve.tree() if process.pid != serve.child.pid]
        os.kill(serve.child.pid, 9)
        serve.child.wait(120)
        until(lambda: not any(process.is_running() for process in others), "the trainer to end", 120)


def test_an_idle_connection_outlasts_a_proxys(sqlite_database: Database, tmp_path: Path) -> None:
    """Proxies keep one for 60 seconds: closed here before, it may be just the one that the next request is sent by."""
    store = StoreSettings(ERRATA_HOME=tmp_path)  # type: ignore[call-arg]
    app = create_app(sqlite_database, store, KeptHints(sqlite_database), ApiSettings())
    with socket.socket() as sock:
        assert Server(app, sock, threading.Event()).config.timeout_keep_alive > 60
