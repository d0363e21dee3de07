"""Language models as the OpenAI client sees them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
import uvicorn
from fastapi import FastAPI

from api.http.auth import create_key, ensure_workspace
from models.session import Database
from tests.api.conftest import CheckedClient
from tests.api.test_injection_jobs import add_model


@pytest.fixture
def base_url(client: CheckedClient) -> Iterator[str]:
    """A real server on a free port."""
    app: Any = client.app
    assert isinstance(app, FastAPI)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


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
