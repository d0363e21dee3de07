"""One live service for all tests of completions: the API, a worker's answerer, and a served model in this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import openai
import pytest
import torch
import uvicorn

from api.app import create_app
from api.http.auth import create_key
from api.settings import ApiSettings
from models.base import new_id
from models.migrate import Base
from models.session import Database
from models.settings import StoreSettings
from models.workspaces import DEFAULT_WORKSPACE, LanguageModel
from tests.openai_server import OpenAIServer
from tests.processes import until
from workers.app import GENERATION, create_celery
from workers.beats import Beats
from workers.dispatch import Dispatcher
from workers.settings import WorkerSettings
from workers.stages.base import Generator
from workers.worker import build_services, close_services, start_answering

MODEL = Path(__file__).resolve().parents[3] / "demo" / "model"


@dataclass
class Live:
    """A service that answers completions: its address, a key that may write, and the server behind the model."""

    url: str
    key: str
    database: Database
    server: OpenAIServer
    engines: Generator

    def openai(self, **more: object) -> openai.OpenAI:
        """The public package's client, as it is."""
        options = {"base_url": f"{self.url}/v1", "api_key": self.key, "max_retries": 0, "timeout": 60, **more}
        return openai.OpenAI(**options)  # type: ignore[arg-type]


def add_model(database: Database, name: str, engine: str, config: dict[str, object]) -> str:
    """Register a language model of the operator's."""
    row = LanguageModel(id=new_id("model"), workspace_id=DEFAULT_WORKSPACE, name=name, engine=engine, config=config)
    with database.begin() as session:
        session.add(row)
    return row.id


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Made once: a server of the miniature costs seconds of processor time."""
    folder = tmp_path_factory.mktemp("completions")
    database = Database(f"sqlite:///{folder / 'errata.db'}")
    Base.metadata.create_all(database.engine)
    store = StoreSettings(ERRATA_HOME=folder / "home")  # type: ignore[call-arg]
    broker = create_celery("memory://")
    settings = WorkerSettings(completion_poll_seconds=0.05)
    services = build_services(broker, database, store, settings)
    app = create_app(database, store, Dispatcher(broker), ApiSettings(completion_look_seconds=0.03))
    with database.begin() as session:
        _, key = create_key(session, "test", scopes=["write"])
    torch.set_num_threads(1)
    model = OpenAIServer(MODEL)
    model.streams = True
    add_model(database, "served", "openai", model.config(tokenizer=str(MODEL)))
    add_model(database, "turns", "openai", model.config())
    add_model(database, "busy", "openai", model.config(tokenizer=str(MODEL), concurrency=1))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    serving = threading.Thread(target=server.run, daemon=True)
    serving.start()
    with Beats(database, services.name, (GENERATION,), 10):
        answering = start_answering(services)
        until(lambda: server.started, "the API")
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Live(f"http://127.0.0.1:{port}", key, database, model, services.engines)
        model.go_on.set()
        server.should_exit = True
        serving.join(60)
        services.stopping.set()
        answering.join(30)
    close_services(services)
    model.close()
