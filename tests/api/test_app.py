"""The application as a whole: what it loads, what it documents, its headers, and that a commit comes first."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

from api.http.auth import BindingRefused, check_binding
from api.settings import ApiSettings
from models.migrate import Base
from models.session import Database
from tests.api.conftest import CheckedClient, KeptHints, post_problems

HEAVY = ("torch", "vllm", "transformers", "trl", "accelerate", "peft", "datasets")


def test_importing_the_app_loads_nothing_heavy() -> None:
    code = f"import sys, api.app; print([name for name in {HEAVY!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_openapi_lists_every_refusal(local: CheckedClient) -> None:
    schema = local.get("/openapi.json").json()
    assert {"Problem", "FieldError", "ProblemIn", "SolutionIn", "InjectionConfig"} <= set(
        schema["components"]["schemas"]
    )
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            statuses = set(operation["responses"])
            wanted = {"422"} | ({"401", "403"} if path.startswith("/v1") else set())
            wanted |= {"404"} if "{" in path else set()
            wanted |= {"400", "413", "415"} if "requestBody" in operation else set()
            assert wanted <= statuses, (method, path, wanted - statuses)
            for status in statuses - {"200", "201", "202", "206", "304"}:
                content = operation["responses"][status]["content"]
                # Refusals of completions have OpenAI's shape.
                media = "application/json" if path.endswith("/completions") else "application/problem+json"
                assert list(content) == [media], (method, path, status)
    names = [operation["operationId"] for operations in schema["paths"].values() for operation in operations.values()]
    assert len(set(names)) == len(names)
    references = set(_references(schema))
    assert references <= {f"#/components/schemas/{name}" for name in schema["components"]["schemas"]}


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for value in node.values() for found in _references(value)]
    return [found for value in node for found in _references(value)] if isinstance(node, list) else []


def test_security_headers(local: CheckedClient) -> None:
    for path in ("/healthz", "/v1/pairs", "/v1/none", "/"):
        headers = local.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
    assert local.get("/v1/pairs").headers["cache-control"] == "no-store"


def test_a_database_without_tables_is_not_ready_and_no_5xx_tells_more(
    sqlite_database: Database, local: CheckedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert local.get("/readyz").json()["status"] == "degraded", "no worker was heard"
    Base.metadata.drop_all(sqlite_database.engine)
    monkeypatch.setattr(local, "check", lambda _: None)
    answer = local.get("/readyz")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert "workspaces" not in answer.text
    assert answer.headers["retry-after"]
    assert local.get("/healthz").status_code == 200


def test_a_failing_commit_is_never_answered_with_202(
    client: CheckedClient, database: Database, hints: KeptHints, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_id = post_problems(client)
    rows = [{"problem": 0, "source": "s", "text": "t"}]
    client.post(f"/v1/problem-sets/{set_id}/solutions", json={"solutions": rows})
    monkeypatch.setattr(client, "check", lambda _: None)

    def refuse(_session: Any) -> None:
        raise OperationalError("COMMIT", {}, Exception("connection lost"))

    event.listen(database._sessions, "before_commit", refuse)
    try:
        body = {"problem_set": set_id, "preset": "rules", "config": {"sampling": {"source": "brought"}}}
        answer = client.post("/v1/injection-jobs", json=body)
    finally:
        event.remove(database._sessions, "before_commit", refuse)
    assert answer.status_code == 503
    assert hints.hints == [], "no hint before the commit"
    with database.read() as session:
        assert session.scalar(text("SELECT count(*) FROM injection_jobs")) == 0


def test_listening_beyond_this_machine_needs_a_key(database_url: str) -> None:
    database = Database(database_url)
    check_binding(ApiSettings(), database)  # on loopback, before there is any table
    Base.metadata.create_all(database.engine)
    with pytest.raises(BindingRefused):
        check_binding(ApiSettings(host="0.0.0.0"), database)
    database.dispose()
