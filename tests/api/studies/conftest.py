"""Problem sets and a model for studies and campaigns."""

from __future__ import annotations

import pytest

from models.session import Database
from tests.api.conftest import CheckedClient
from tests.api.studies.world import problems_of
from tests.api.test_injection_jobs import add_model


@pytest.fixture
def sets(client: CheckedClient, database: Database) -> dict[str, str]:
    names = ("problem_set", "validation_set", "test_set")
    found = {name: problems_of(client, name, 100 * at) for at, name in enumerate(names)}
    add_model(database)
    return found
