"""Adding language models over HTTP: what the operator's list allows, and what becomes of the entry."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.model_entries import _allowed_address, _allowed_place
from api.settings import ApiSettings
from models.session import Database
from models.settings import StoreSettings
from models.workspaces import LanguageModel
from tests.api.conftest import KeptHints
from tests.api.http.test_auth import make_key
from tests.hub_server import TOKEN, HubServer, Repository
from workers.model_entries import doubts

URL = "http://127.0.0.1:8000"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that the operator lists, with one model."""
    (tmp_path / "listed" / "tiny").mkdir(parents=True)
    (tmp_path / "listed" / "tiny" / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "listed" / "tiny" / "errata.json").write_text('{"few_shot": 2}', encoding="utf-8")
    (tmp_path / "listed" / "out").symlink_to(tmp_path)
    return tmp_path / "listed"


@pytest.fixture
def local(sqlite_database: Database, store: StoreSettings, folder: Path) -> TestClient:
    sources = f"{folder}, hub:Qwen, http://gpu:8001/v1"
    app = create_app(sqlite_database, store, KeptHints(sqlite_database), ApiSettings(model_sources=sources))
    return TestClient(app, base_url=URL)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer() as hub:
        hub.repositories["model", "Qwen/there"] = Repository(private=False, files={"config.json": b"{}"})
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


def test_an_admin_adds_and_changes_a_model(
    local: TestClient, sqlite_database: Database, folder: Path, hub: HubServer
) -> None:
    _, writer = make_key(sqlite_database, scopes=["write", "train"])
    _, admin = make_key(sqlite_database, scopes=["admin"])
    body = {"name": "tiny", "settings": {"path": str(folder / "tiny"), "batch_size": "8"}}
    assert local.post("/v1/models", json=body, headers=writer).status_code == 403
    made = local.post("/v1/models", json=body, headers=admin)
    assert (made.status_code, made.headers["location"]) == (201, "/v1/models/tiny")
    assert (made.json()["notes"], made.json()["owned_by"]) == ([], "operator")
    again = local.post("/v1/models", json={"name": "tiny", "settings": {"path": "Qwen/there"}}, headers=admin)
    assert (again.status_code, again.json()["notes"]) == (201, [])
    with sqlite_database.read() as session:
        [row] = session.query(LanguageModel).all()
    assert (row.engine, row.config) == ("transformers", {"path": "Qwen/there"})
    missing = local.post("/v1/models", json={"name": "gone", "settings": {"path": "Qwen/gone"}}, headers=admin)
    assert "no model of the hub" in missing.json()["notes"][0]
    entry = {"name": "far", "engine": "openai", "settings": {"base_url": "http://gpu:8001/v1", "model": "m"}}
    assert local.post("/v1/models", json=entry, headers=admin).status_code == 201


def test_another_workspaces_model_is_its_own(local: TestClient, sqlite_database: Database, folder: Path) -> None:
    _, theirs = make_key(sqlite_database, "team", scopes=["admin"])
    _, ours = make_key(sqlite_database, scopes=["admin"])
    body = {"name": "tiny", "settings": {"path": str(folder / "tiny")}}
    assert local.post("/v1/models", json=body, headers=theirs).status_code == 201
    assert local.get("/v1/models/tiny", headers=theirs).status_code == 200
    assert local.get("/v1/models/tiny", headers=ours).status_code == 404


REFUSED: list[tuple[dict[str, object], str]] = [
    ({"path": "/etc"}, "settings.path"),
    ({"path": "{folder}/../other"}, "settings.path"),
    ({"path": "{folder}/out"}, "settings.path"),
    ({"path": "{folder}\x01/tiny"}, "settings.path"),
    ({"path": "../Qwen/x"}, "settings.path"),
    ({"path": "Qwen2/x"}, "settings.path"),
    ({"path": "{folder}/tiny", "adapter": "/etc"}, "settings.adapter"),
    ({"base_url": "http://gpu:8001.evil.example/v1", "model": "m"}, "settings.base_url"),
    ({"base_url": "http://gpu:8001/v1,http://evil.example/v1", "model": "m"}, "settings.base_url"),
    ({"base_url": ["http://gpu:8001/v1", "http://evil.example/v1"], "model": "m"}, "settings.base_url"),
    ({"base_url": "http://gpu:8001/v1", "model": "m", "api_key_env": "HOME"}, "settings.api_key_env"),
    ({"path": "{folder}/tiny", "wings": 2}, "settings"),
    ({"path": "{folder}/" + "x" * 5000}, "settings"),
    ({}, "settings"),
]


def test_what_the_operator_did_not_list_is_refused(local: TestClient, folder: Path) -> None:
    for settings, field in REFUSED:
        given = {
            name: value.replace("{folder}", str(folder)) if isinstance(value, str) else value
            for name, value in settings.items()
        }
        engine = "openai" if "base_url" in given else "transformers"
        refused = local.post("/v1/models", json={"name": "x", "engine": engine, "settings": given})
        assert refused.status_code == 422, (given, refused.text)
        assert refused.json()["errors"][0]["field"].startswith(field), (given, refused.text)
    for text in ("\\u0000", "\\ud800"):
        body = '{"name": "x", "settings": {"path": "Qwen/' + text + '"}}'
        refused = local.post("/v1/models", content=body, headers={"content-type": "application/json"})
        assert refused.status_code in (400, 422), refused.text
    assert local.get("/v1/models").json()["data"] == []


def test_without_a_list_nothing_may_be_added() -> None:
    for place in ("/srv/models/x", "Qwen/x", "gpt2"):
        assert not _allowed_place(place, ())
    assert not _allowed_address("http://gpu:8001/v1", ())
    assert _allowed_place("gpt2", ("hub:",))
    assert not _allowed_place("Qwen/y", ("hub:Qwen/x",))
    with pytest.raises(ValueError, match="absolute folders"):
        ApiSettings(model_sources="models/")


def test_a_trained_models_name_stays_its_own(local: TestClient, sqlite_database: Database, folder: Path) -> None:
    body = {"name": "tiny", "settings": {"path": str(folder / "tiny")}}
    assert local.post("/v1/models", json=body).status_code == 201
    with sqlite_database.begin() as session:
        session.query(LanguageModel).update({"training_run_id": "train_x"})
    assert local.post("/v1/models", json=body).status_code == 409


def test_what_cannot_be_found_is_doubted(folder: Path, hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doubts({"path": str(folder / "tiny")}) == []
    assert "has no config.json" in doubts({"path": str(folder)})[0]
    assert "no folder /no/such on this machine" in doubts({"path": "/no/such"})[0]
    assert doubts({"path": "Qwen/there"}) == []
    assert "no model of the hub" in doubts({"path": "Qwen/gone"})[0]
    assert "no revision v2" in doubts({"path": "Qwen/there", "revision": "v2"})[0]
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "could not be asked" in doubts({"path": "Qwen/there"})[0]
    shutil.rmtree(folder / "tiny")
    assert doubts({"base_url": "http://x/v1", "model": "m"}) == []
