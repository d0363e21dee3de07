"""Requests in sequence: what one answers names the rows of the next, along the links of the OpenAPI document."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, settings

from api.http.auth import SCOPES, create_key
from models.session import Database
from tests.api.conftest import CheckedClient, bring, post_job, post_problems
from tests.security.test_schemathesis import CONFIG

SEQUENCES = int(os.environ.get("ERRATA_SCHEMATHESIS", "2"))
STEPS = 8


def test_links_lead_to_operations_with_parameters_that_they_have(local: CheckedClient) -> None:
    document = local.get("/openapi.json").json()
    operations = {
        operation["operationId"]: (path, operation)
        for path, item in document["paths"].items()
        for operation in item.values()
    }
    links = [
        link
        for _, operation in operations.values()
        for answer in operation["responses"].values()
        for link in answer.get("links", {}).values()
    ]
    for link in links:
        path, operation = operations[link["operationId"]]
        assert {f"{{{name}}}" in path for name in link.get("parameters", {})} <= {True}, link
        if "requestBody" in link:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            assert set(link["requestBody"]) <= set(document["components"]["schemas"][schema]["properties"])
    reached = {link["operationId"] for link in links}
    # A workspace is named, and by its operator: nothing answers with one.
    ours = {name: path for name, (path, _) in operations.items() if "{workspace}" not in path}
    rows = {name for name, path in ours.items() if path.startswith("/v1/") and path.count("{") == 1}
    assert reached >= rows, "every operation on one row is linked to"


def test_sequences_of_requests_are_answered_as_the_document_says(
    local: CheckedClient, sqlite_database: Database
) -> None:
    """All checks of schemathesis, use after deletion and availability of what was created included."""
    set_id = post_problems(local)  # what lists lead to: drawn bodies seldom make a job
    bring(local, set_id)
    job_id = post_job(local, set_id)["id"]
    assert local.post("/v1/datasets", json={"name": "d", "jobs": [job_id]}).status_code in (202, 409)
    with sqlite_database.begin() as session:
        _, token = create_key(session, "test", scopes=SCOPES)
    headers = {"host": "127.0.0.1:8000", "Authorization": f"Bearer {token}"}
    schema = schemathesis.openapi.from_asgi(
        "/openapi.json", local.app, headers={"host": headers["host"]}, config=schemathesis.Config.from_dict(CONFIG)
    )
    seen: Counter[int] = Counter()
    linked: Counter[str] = Counter()

    class Sequences(schema.as_state_machine()):  # type: ignore[misc]
        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"headers": headers}

        def after_call(self, response: Any, case: Any) -> None:
            seen[response.status_code // 100] += 1
            if "{" in case.operation.path and response.status_code < 300:
                linked[case.operation.label] += 1

    options = settings(
        max_examples=SEQUENCES, stateful_step_count=STEPS, deadline=None, derandomize=True, database=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    Sequences.run(settings=options)
    assert seen.total() >= SEQUENCES
    assert seen[5] == 0
    assert linked or SEQUENCES < 10, "some requests named a row that an earlier answer told of"
