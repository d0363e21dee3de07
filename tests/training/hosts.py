"""A run over several hosts, and the trainer of another host, made up."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from models import training_places
from models.outputs import TrainingRun
from models.session import Database
from models.training_places import Place
from tests.training.conftest import wait_for
from tests.training.test_endings import FakeChild

TRAINS = {"type": "progress", "phase": "training", "done": 0, "total": 9}


def over(database: Database, run_id: str, hosts: int = 2) -> str:
    with database.begin() as session:
        session.execute(update(TrainingRun).where(TrainingRun.id == run_id).values(hosts=hosts))
    return run_id


def taken(database: Database) -> Place:
    """The place that the trainer of another host takes as soon as it is open."""

    def take() -> Place | None:
        with database.begin() as session:
            return training_places.take(session, "far:1:1", 60, None)

    place: Place = wait_for(take, 60)
    return place


def says(monkeypatch: pytest.MonkeyPatch, module: Any, child: FakeChild) -> FakeChild:
    monkeypatch.setattr(module, "ChildProcess", lambda *_, **__: child)
    return child
