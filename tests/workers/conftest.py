"""A worker's services over a database of the test's own: the real stages, judge and engines, no broker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from models.session import Database
from models.settings import StoreSettings
from tests.workers.injection_jobs import Deaf
from workers.engines.pool import EnginePool
from workers.judge import JudgePool
from workers.runner import Services
from workers.settings import WorkerSettings
from workers.stages import STAGES


@pytest.fixture
def services(sqlite_database: Database, tmp_path: Path) -> Iterator[Services]:
    """Services that may run code; hints go nowhere."""
    store, engines = StoreSettings(ERRATA_HOME=tmp_path), EnginePool()
    with JudgePool(1, allow_code=True) as judge:
        yield Services(sqlite_database, store, WorkerSettings(), Deaf(), engines, judge, dict(STAGES))
    engines.close()
