"""Importing a file over HTTP, and the worker's part of it in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import select

from models import leases
from models.files import FileStore
from models.jobs import Shard
from models.outputs import Dataset
from models.session import Database
from models.settings import StoreSettings
from tests.api.conftest import CheckedClient
from tests.workers.freezing.conftest import NoEngine, end
from workers.judge import JudgePool
from workers.stages.base import StageContext
from workers.stages.imported import freeze_or_import

Rows = Sequence[dict[str, Any]]


def lines(rows: Rows) -> bytes:
    """Rows as JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def send(client: CheckedClient, rows: Rows | bytes, **params: Any) -> Any:
    """Import rows as a raw file of JSON lines."""
    content = rows if isinstance(rows, bytes) else lines(rows)
    given = {"name": "theirs", "config": '{"split": {"test": 0}}'} | params
    sent = {key: json.dumps(value) if isinstance(value, dict) else value for key, value in given.items()}
    kept = {key: value for key, value in sent.items() if value is not None}
    headers = {"Content-Type": "application/jsonl"}
    return client.post("/v1/datasets/import", content=content, params=kept, headers=headers)


Finish = Callable[..., dict[str, Any]]
Table = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def finish(client: CheckedClient, database: Database, store: StoreSettings) -> Finish:
    """Do what a worker does for a dataset, and answer the dataset."""

    def run(dataset_id: str, state: str = "succeeded") -> dict[str, Any]:
        with database.begin() as session:
            shard = session.scalars(select(Shard.id).where(Shard.dataset_id == dataset_id)).one()
            lease = leases.claim(session, shard, "test", 60)
        assert lease is not None
        pool = JudgePool()
        try:
            done = freeze_or_import(StageContext(database, store, lease, NoEngine(), pool, lambda: False))
        finally:
            pool.close()
        end(database, lease, done)
        answer: dict[str, Any] = client.get(f"/v1/datasets/{dataset_id}").json()
        assert answer["state"] == state, answer
        return answer

    return run


@pytest.fixture
def table(database: Database, store: StoreSettings) -> Table:
    """The rows of one table of a dataset."""

    def rows(dataset_id: str, shape: str, split: str = "train") -> list[dict[str, Any]]:
        with database.read() as session:
            folder = session.get_one(Dataset, dataset_id).folder
        data = FileStore(store.files).read_bytes(f"{folder}/{shape}/{split}.jsonl")
        return [json.loads(line) for line in data.decode().splitlines()]

    return rows
