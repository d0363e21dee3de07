"""The unmodified `openai` package against the application in this process, and what workers and trainers do there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from api.app import create_app
from api.settings import ApiSettings
from models import leases, run_leases
from models.base import Base
from models.jobs import Shard
from models.outputs import TrainingRun
from models.run_leases import RunLease
from models.session import Database
from models.settings import StoreSettings
from tests.api.conftest import KeptHints
from tests.api.plain_clients import URL
from tests.api.test_injection_jobs import add_model
from tests.workers.freezing.conftest import NoEngine, end
from workers.judge import JudgePool
from workers.stages.base import StageContext
from workers.stages.imported import freeze_or_import
from workers.training.supervise import relay


def preference(at: int) -> dict[str, Any]:
    """A row as OpenAI's preference fine-tuning takes it."""
    return {
        "input": {
            "messages": [{"role": "user", "content": f"Question {at}?"}],
            "tools": [],
            "parallel_tool_calls": True,
        },
        "preferred_output": [{"role": "assistant", "content": f"Good {at}."}],
        "non_preferred_output": [{"role": "assistant", "content": f"Bad {at}."}],
    }


def chat(at: int, **more: Any) -> dict[str, Any]:
    """A row as OpenAI's supervised fine-tuning takes it."""
    reply = {"role": "assistant", "content": f"Answer {at}.", **more}
    return {"messages": [{"role": "user", "content": f"Question {at}?"}, reply]}


def lines(rows: Sequence[dict[str, Any]]) -> bytes:
    """Rows as JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@dataclass
class Service:
    """An application, clients of it, and the worker's and the trainer's part of what they ask for."""

    db: Database
    store: StoreSettings
    http: TestClient

    def sdk(self, **options: Any) -> openai.OpenAI:
        """The public client; the key is another service's, as none is needed on loopback."""
        given = {"api_key": "sk-of-another-service", "max_retries": 0, **options}
        return openai.OpenAI(base_url=f"{URL}/v1", http_client=self.http, **given)

    def upload(self, rows: Sequence[dict[str, Any]], name: str = "rows.jsonl") -> str:
        """The id of a new file."""
        return self.sdk().files.create(file=(name, lines(rows)), purpose="fine-tune").id

    def freeze(self, dataset_id: str) -> None:
        """Do what a worker does for a dataset."""
        with self.db.begin() as session:
            shard = session.scalars(select(Shard.id).where(Shard.dataset_id == dataset_id)).one()
            lease = leases.claim(session, shard, "test", 60)
        assert lease is not None
        pool = JudgePool()
        try:
            done = freeze_or_import(StageContext(self.db, self.store, lease, NoEngine(), pool, lambda: False))
        finally:
            pool.close()
        end(self.db, lease, done)

    def claim(self) -> RunLease | None:
        """Take the next run, as a trainer does."""
        with self.db.begin() as session:
            return run_leases.claim(session, "test", 60)

    def told(self, lease: RunLease, step: int, metrics: Sequence[dict[str, Any]], *messages: dict[str, Any]) -> None:
        """Write what a training process says."""
        with self.db.begin() as session:
            relay.write(session, lease, 60, step, metrics, messages)

    def dataset_of(self, job_id: str) -> str:
        """The dataset that a job trains on."""
        return self.run(job_id).dataset_id

    def run(self, job_id: str) -> TrainingRun:
        """The training run that a job is."""
        with self.db.read() as session:
            return session.get_one(TrainingRun, job_id.replace("ftjob-", "train_"))


def service_of(db: Database, store: StoreSettings) -> Service:
    """A service over these; it knows the model `tiny`."""
    add = TestClient(create_app(db, store, KeptHints(db), ApiSettings()), base_url=URL)
    assert add.get("/v1/models").status_code == 200  # makes the default workspace
    add_model(db)
    return Service(db, store, add)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One for all tests that need no database of their own: making it costs a second of processor time."""
    folder: Path = tmp_path_factory.mktemp("openai")
    db = Database(f"sqlite:///{folder / 'errata.db'}")
    Base.metadata.create_all(db.engine)
    yield service_of(db, StoreSettings(ERRATA_HOME=folder / "home"))  # type: ignore[call-arg]
    db.dispose()


@pytest.fixture
def sdk(service: Service) -> openai.OpenAI:
    """The public client of ``service``."""
    return service.sdk()


@pytest.fixture
def uploaded(service: Service) -> Iterator[Callable[..., str]]:
    """Uploads that are deleted behind the test."""
    made: list[str] = []

    def upload(rows: Sequence[dict[str, Any]], name: str = "rows.jsonl") -> str:
        made.append(service.upload(rows, name))
        return made[-1]

    yield upload
    for file_id in made:
        service.http.delete(f"/v1/files/{file_id}")
