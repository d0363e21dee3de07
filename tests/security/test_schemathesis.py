"""The OpenAPI document against the application: schemathesis derives requests from it and checks every answer."""

from __future__ import annotations

import os
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from api.http.auth import SCOPES, create_key
from models.session import Database
from tests.api.conftest import CheckedClient

EXAMPLES = int(os.environ.get("ERRATA_SCHEMATHESIS", "2"))
"""Requests per operation and kind of data (valid, invalid)."""


# What the document allows may still name a row that is not there (422), or hold a file that is none (400, 415).
CONFIG = {
    "checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", 400, 401, 403, 404, 409, 415, 422, 429, 503]}},
}


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_answer_is_as_the_document_says(
    local: CheckedClient, sqlite_database: Database, mode: GenerationMode
) -> None:
    with sqlite_database.begin() as session:
        _, token = create_key(session, "test", scopes=SCOPES)
    headers = {"host": "127.0.0.1:8000", "Authorization": f"Bearer {token}"}
    config = schemathesis.Config.from_dict(CONFIG)
    schema = schemathesis.openapi.from_asgi(
        "/openapi.json", local.app, headers={"host": headers["host"]}, config=config
    )
    asked, failed = 0, {}
    for result in schema.get_all_operations():
        operation = result.ok()
        try:
            _ask(operation, mode, headers)
        except Unsatisfiable:
            continue  # an operation that takes nothing has no invalid request
        except (Exception, BaseExceptionGroup) as error:
            failed[operation.label] = str(error)[:1500]
        asked += 1
    assert asked > 40
    assert not failed, "\n\n".join(f"{name}: {why}" for name, why in failed.items())


def _ask(operation: Any, mode: GenerationMode, headers: dict[str, str]) -> None:
    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate], database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        case.call_and_validate(headers=headers)

    check()
