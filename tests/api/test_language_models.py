"""Language models as the OpenAI client sees them, and downloading what a training run made."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import uvicorn
from fastapi import FastAPI

from api.http.auth import create_key, ensure_workspace
from models.base import new_id
from models.folders import write_folder
from models.session import Database
from models.settings import StoreSettings
from models.workspaces import DEFAULT_WORKSPACE, LanguageModel, Workspace
from tests.api.conftest import CheckedClient
from tests.api.test_injection_jobs import add_model

CARD, WEIGHTS = "# Card\n", bytes(range(256)) * 40


@pytest.fixture
def base_url(client: CheckedClient) -> Iterator[str]:
    """A real server on a free port."""
    app: Any = client.app
    assert isinstance(app, FastAPI)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 120
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(60)


def test_the_openai_client_lists_models(client: CheckedClient, database: Database, base_url: str) -> None:
    assert client.get("/v1/models").json() == {"object": "list", "data": [], "has_more": False}
    base = add_model(database)
    add_model(database, "tiny-rise", base_model_id=base, training_run_id="train_x")
    with openai.OpenAI(base_url=f"{base_url}/v1", api_key="sk-of-another-service") as remote:
        models = {model.id: model for model in remote.models.list()}
        assert set(models) == {"tiny", "tiny-rise"}
        assert (models["tiny"].owned_by, models["tiny-rise"].owned_by) == ("operator", "errata")
        assert remote.models.retrieve("tiny").id == "tiny"
        with pytest.raises(openai.NotFoundError):
            remote.models.retrieve("other")
    listed = client.get("/v1/models/tiny-rise").json()
    assert (listed["base_model"], listed["training_job"]) == ("tiny", "train_x")
    assert "/x" not in str(listed)


def test_an_own_model_hides_the_operators_of_the_same_name(client: CheckedClient, database: Database) -> None:
    assert client.get("/v1/models").status_code == 200
    with database.begin() as session:
        _, token = create_key(session, "k", workspace="other")
        other = ensure_workspace(session, "other")
    headers = {"authorization": f"Bearer {token}"}
    add_model(database)
    assert [model["id"] for model in client.get("/v1/models", headers=headers).json()["data"]] == ["tiny"]
    add_model(database, workspace_id=other, training_run_id="train_o")
    listed = client.get("/v1/models", headers=headers).json()["data"]
    assert [(model["id"], model["training_job"]) for model in listed] == [("tiny", "train_o")]
    assert client.get("/v1/models/tiny", headers=headers).json()["training_job"] == "train_o"


def trained(
    database: Database, store: StoreSettings, name: str = "tiny-rise", workspace: str = DEFAULT_WORKSPACE
) -> str:
    """A registered result of a training run with real files; the answer is its folder."""

    def fill(folder: Path) -> None:
        (folder / "README.md").write_text(CARD)
        (folder / "model.safetensors").write_bytes(WEIGHTS)

    run_id = new_id("train")
    folder = Path(store.files) / "models" / run_id
    write_folder(folder, fill, {"run_id": run_id})
    (folder / "secret.txt").write_text("not in the manifest")
    with database.begin() as session:
        if session.get(Workspace, workspace) is None:
            session.add(Workspace(id=workspace, name=workspace))
            session.flush()
        entry = {"engine": "transformers", "config": {"path": str(folder)}, "training_run_id": run_id}
        session.add(LanguageModel(id=new_id("model"), workspace_id=workspace, name=name, **entry))
    return str(folder)


def test_every_file_comes_whole_and_in_parts(client: CheckedClient, database: Database, store: StoreSettings) -> None:
    folder = trained(database, store)
    files = {row["path"]: row for row in client.get("/v1/models/tiny-rise/files").json()["data"]}
    assert set(files) == {"README.md", "model.safetensors", "manifest.json"}
    assert folder not in str(files), "where it is stored is not told"
    for row in files.values():
        answer = client.get(row["url"])
        assert (answer.status_code, len(answer.content)) == (200, row["bytes"])
        assert hashlib.sha256(answer.content).hexdigest() == row["sha256"]
        assert answer.headers["etag"] == f'"{row["sha256"]}"'
    part = client.get(files["model.safetensors"]["url"], headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, WEIGHTS[100:200])


def test_nothing_else_comes(client: CheckedClient, database: Database, store: StoreSettings) -> None:
    folder = trained(database, store)
    trained(database, store, "theirs", "ws_other")
    with database.begin() as session:
        own = {"workspace_id": DEFAULT_WORKSPACE, "engine": "transformers", "config": {"path": folder}}
        session.add(LanguageModel(id=new_id("lm"), name="operators", **own))
    for path in ("secret.txt", "../../errata.db", "%2e%2e/x", "README.md/", "nothing"):
        assert client.get(f"/v1/models/tiny-rise/files/{path}").status_code == 404, path
    for name in ("operators", "theirs", "unknown"):
        refused = client.get(f"/v1/models/{name}/files")
        assert refused.status_code == 404, name
    assert "operator's" in client.get("/v1/models/operators/files").json()["detail"]
    Path(folder, "manifest.json").unlink()
    assert client.get("/v1/models/tiny-rise/files").status_code == 404
