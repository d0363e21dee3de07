"""``errata keys``, ``workspaces``, ``usage`` and ``audit``: on the database alone, and over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn
from typer.testing import CliRunner, Result

from api.app import create_app
from api.http.auth import create_key
from api.settings import ApiSettings
from cli import CliError
from cli.main import app
from models.session import Database
from models.settings import StoreSettings
from tests.api.conftest import KeptHints

Errata = Callable[..., Result]


@pytest.fixture
def errata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sqlite_database: Database) -> Errata:
    """Runs a command in this process, on the test's database and with no profile."""
    monkeypatch.setenv("DATABASE_URL", sqlite_database.url)
    monkeypatch.setenv("ERRATA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ERRATA_CONFIG", str(tmp_path / "profiles.json"))
    for name in ("ERRATA_URL", "ERRATA_API_KEY", "ERRATA_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("models.migrate.check", lambda _url: [])  # the tests' schema is made without migrations
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


@pytest.fixture
def url(sqlite_database: Database, tmp_path: Path, errata: Errata) -> Iterator[str]:
    """A service over the same database."""
    store = StoreSettings(ERRATA_HOME=tmp_path / "home")  # type: ignore[call-arg]
    served = create_app(sqlite_database, store, KeptHints(sqlite_database), ApiSettings())
    server = uvicorn.Server(uvicorn.Config(served, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
            assert thread.is_alive()
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def test_without_a_server(errata: Errata) -> None:
    made = errata("keys", "create", "ci", "--scopes", "read,write", "--workspace", "team")
    assert made.stdout.startswith("errata_")
    key_id = "key_" + made.stdout.split("_")[1]
    new = errata("keys", "rotate", key_id, "--grace", "0")
    assert new.stdout.startswith("errata_")
    again = errata("keys", "rotate", key_id)
    assert isinstance(again.exception, CliError)
    assert "rotated before" in str(again.exception)
    listed = errata("keys", "list").stdout
    assert listed.count("team") == 2
    assert "revoked" in listed
    assert errata("workspaces", "quota", "team", "--jobs", "2").stdout == "team: jobs 2\n"
    assert "0 of 2" in errata("workspaces", "list").stdout
    assert "errata workspaces list" in str(errata("workspaces", "quota", "none").exception)


def test_over_http(errata: Errata, url: str, sqlite_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with sqlite_database.begin() as session:
        own, secret = create_key(session, "operator", scopes=["admin"])
    monkeypatch.setenv("ERRATA_URL", url)
    refused = errata("keys", "list").exception
    assert (isinstance(refused, CliError), getattr(refused, "status", 0)) == (True, 5)
    monkeypatch.setenv("ERRATA_API_KEY", secret)
    made = errata("keys", "create", "ci", "--scopes", "write")
    key_id = "key_" + made.stdout.split("_")[1]
    assert errata("keys", "rotate", key_id).stdout.startswith("errata_")
    assert errata("keys", "revoke", key_id).stdout == f"{key_id} is revoked.\n"
    listed = errata("keys", "list", "--json").stdout
    assert listed.count('"name": "ci"') == 2
    assert made.stdout.strip() not in listed
    assert "add --yes" in str(errata("keys", "revoke", own.id).exception)
    assert "--workspace works on DATABASE_URL only" in str(errata("keys", "create", "x", "--workspace", "w").exception)
    errata("workspaces", "quota", "default", "--tokens-per-day", "1000")
    assert "0 of 1,000" in errata("usage").stdout
    entries = errata("audit", "--json").stdout
    assert entries.count('"route": "/v1/keys/{key_id}"') == 2
    assert '"address": "127.0.0.1"' in entries
    assert errata("keys", "revoke", own.id, "--yes").exit_code == 0
    assert getattr(errata("usage").exception, "status", 0) == 5


def test_a_model_that_the_service_does_not_take_is_refused_with_the_way_around(
    errata: Errata, url: str, tmp_path: Path
) -> None:
    """Who logged in first, as the command line's page begins, is not left with the operator's list alone."""
    refused = errata("models", "add", "mine", "--path", str(tmp_path), "--url", url)
    assert isinstance(refused.exception, CliError)
    assert "ERRATA_MODEL_SOURCES" in str(refused.exception)
    assert "--local adds it" in str(refused.exception)
    assert errata("models", "add", "mine", "--path", str(tmp_path), "--local").exit_code == 0
