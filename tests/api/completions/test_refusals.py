"""Why a completion is not begun: no worker, no template, a quota, too many at once; each in OpenAI's shape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from api.quotas import QuotaIn, set_quota
from models.base import new_id
from models.completions import add
from models.heartbeats import beat
from models.session import Database
from models.usage import count_tokens
from models.workspaces import DEFAULT_WORKSPACE
from tests.api.completions.conftest import add_model
from tests.api.plain_clients import local
from workers.app import GENERATION

__all__ = ["local"]

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "1 + 1?"}]}


def refused(client: TestClient, status: int, code: str | None, path: str = "/v1/chat/completions", **more: Any) -> str:
    answer = client.post(path, json={**CHAT, **more})
    assert answer.status_code == status, answer.text
    document = answer.json()
    assert set(document) == {"error"}
    assert set(document["error"]) == {"message", "type", "param", "code"}
    assert document["error"]["code"] == code, document
    return str(document["error"]["message"])


def test_what_keeps_a_completion_from_beginning(local: TestClient, sqlite_database: Database, tmp_path: Path) -> None:
    assert local.get("/v1/usage").status_code == 200  # the default workspace is there
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>"}))
    model_id = add_model(sqlite_database, "tiny", "transformers", {"path": "/x"})
    add_model(sqlite_database, "base", "transformers", {"path": str(tmp_path)})
    assert "errata worker" in refused(local, 503, "no_worker")
    with sqlite_database.begin() as session:
        beat(session, "host:1", GENERATION, 60)
    assert "POST /v1/completions" in refused(local, 400, "no_chat_template", model="base")
    with sqlite_database.begin() as session:
        set_quota(session, DEFAULT_WORKSPACE, QuotaIn(tokens_per_day=5))
        count_tokens(session, DEFAULT_WORKSPACE, "completions", 5)
    assert "5 of 5" in refused(local, 429, "insufficient_quota")
    with sqlite_database.begin() as session:
        set_quota(session, DEFAULT_WORKSPACE, QuotaIn())
        for _ in range(32):
            add(session, new_id("cmpl"), DEFAULT_WORKSPACE, model_id, {})
    assert "32 completions" in refused(local, 429, "rate_limit_exceeded")
    unreadable = local.post("/v1/completions", content=b"{", headers={"content-type": "application/json"})
    assert (unreadable.status_code, unreadable.json()["error"]["type"]) == (400, "invalid_request_error")
    assert local.get("/v1/audit-log").json()["data"] == [], "asking changes nothing"
