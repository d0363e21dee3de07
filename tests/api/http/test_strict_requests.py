"""Requests of which a part would silently not count are refused: a parameter given twice, a compressed body."""

from __future__ import annotations

import gzip
import json

from fastapi.testclient import TestClient

from tests.api.plain_clients import local

__all__ = ["local"]


def test_a_parameter_that_is_given_twice_is_refused(local: TestClient) -> None:
    answer = local.get("/v1/pairs?limit=5&limit=6&type=step")
    assert (answer.status_code, [error["field"] for error in answer.json()["errors"]]) == (422, ["limit"])
    assert local.get("/v1/pairs?limit=5&type=step").status_code == 200


def test_a_compressed_document_is_told_so(local: TestClient) -> None:
    body = json.dumps({"url": "https://example.com/hooks"}).encode()
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    answer = local.post("/v1/webhooks", content=gzip.compress(body), headers=headers)
    assert (answer.status_code, "Content-Encoding" in answer.json()["detail"]) == (415, True)
    plain = {**headers, "content-encoding": "identity"}
    assert local.post("/v1/webhooks", content=body, headers=plain).status_code == 201
