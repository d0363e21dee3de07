"""Clients without the check against OpenAPI, whose making costs seconds of processor time: for tests of behaviour."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.settings import ApiSettings
from models.session import Database
from models.settings import StoreSettings
from tests.api.conftest import KeptHints

URL = "http://127.0.0.1:8000"


@pytest.fixture
def local(sqlite_database: Database, store: StoreSettings) -> TestClient:
    """A client over SQLite alone."""
    return TestClient(create_app(sqlite_database, store, KeptHints(sqlite_database), ApiSettings()), base_url=URL)


@pytest.fixture
def client(database: Database, store: StoreSettings, hints: KeptHints) -> TestClient:
    """A client, once on SQLite and once on PostgreSQL."""
    return TestClient(create_app(database, store, hints, ApiSettings()), base_url=URL)
