"""One content in every format, encoding and compression; files that cannot be used; limits."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from tests.api.conftest import PROBLEMS, CheckedClient
from tests.api.problem_sets.uploading import JSONL, csv_of, lines, parquet, upload


def test_posted_problems_come_back_in_order(client: CheckedClient) -> None:
    answer = client.post("/v1/problem-sets", json={"name": " sums ", "domain": "math", "problems": PROBLEMS})
    assert answer.status_code == 201
    body = answer.json()
    assert (body["name"], body["domain"], body["problem_count"], body["rejected"]) == ("sums", "math", 5, [])
    assert answer.headers["location"] == f"/v1/problem-sets/{body['id']}"
    assert client.get(answer.headers["location"]).json() == body
    listed = client.get(f"/v1/problem-sets/{body['id']}/problems").json()
    assert [row["external_id"] for row in listed["data"]] == [f"sum-{n}" for n in range(5)]
    assert [row["position"] for row in listed["data"]] == list(range(5))


ENCODINGS: list[tuple[str, Callable[[list[dict[str, Any]]], bytes]]] = [
    ("application/jsonl", lambda rows: lines(*rows)),
    ("application/x-ndjson", lambda rows: b"\xef\xbb\xbf" + lines(*rows)),
    ("text/csv", csv_of),
    ("text/csv; charset=utf-8", csv_of),
    ("application/vnd.apache.parquet", parquet),
    ("text/tab-separated-values", lambda rows: csv_of(rows).replace(b",", b"\t")),
    ("application/gzip", lambda rows: gzip.compress(lines(*rows))),
    ("application/zstd", lambda rows: pa.compress(csv_of(rows), codec="zstd", asbytes=True)),
    ("application/x-gzip", lambda rows: gzip.compress(parquet(rows))),
    ("application/jsonl; charset=utf-16", lambda rows: lines(*rows).decode().encode("utf-16")),
]


@pytest.mark.parametrize(("content_type", "encode"), ENCODINGS)
def test_one_content_in_every_encoding(
    local: CheckedClient, content_type: str, encode: Callable[[list[dict[str, Any]]], bytes]
) -> None:
    answer = upload(local, encode(PROBLEMS), content_type)
    assert answer.status_code == 201, answer.text
    as_json = local.post("/v1/problem-sets", json={"name": "x", "problems": PROBLEMS}).json()
    assert answer.json()["content_sha256"] == as_json["content_sha256"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.json", "a.csv", "a.parquet", "A.JSONL"])
def test_multipart(local: CheckedClient, name: str) -> None:
    plain = {
        "jsonl": lines(*PROBLEMS),
        "json": json.dumps(PROBLEMS).encode(),
        "csv": csv_of(PROBLEMS),
        "parquet": parquet(PROBLEMS),
    }
    data = plain[name.lower().removesuffix(".gz").rpartition(".")[2]]
    data = gzip.compress(data) if name.endswith(".gz") else data
    answer = local.post("/v1/problem-sets", files={"file": (name, data)}, data={"name": "form", "domain": "logic"})
    assert answer.status_code == 201, answer.text
    assert (answer.json()["problem_count"], answer.json()["domain"]) == (5, "logic")


def test_gzip_content_encoding(local: CheckedClient) -> None:
    headers = JSONL | {"content-encoding": "gzip"}
    answer = local.post("/v1/problem-sets?name=z", content=gzip.compress(lines(*PROBLEMS)), headers=headers)
    assert answer.json()["problem_count"] == 5


UNUSABLE: list[tuple[bytes, str, int]] = [
    (b"", "application/jsonl", 422),
    (b"\n\n", "application/jsonl", 422),
    (b"nothing\nvalid\n", "application/jsonl", 422),
    (b"question,gold_answer\n", "text/csv", 422),
    (b"", "text/csv", 400),
    (b"a,a\n1,2\n", "text/csv", 400),
    (b'question,gold_answer\n"open,1\n', "text/csv", 400),
    (b"question,gold_answer\n\xff,1\n", "text/csv; charset=utf-8", 400),
    (b"q\x00u\x00", "text/csv; charset=utf-16", 400),
    (b"PAR1 not really PAR1", "application/vnd.apache.parquet", 400),
    (b"", "application/vnd.apache.parquet", 400),
    (b"{}", "text/plain", 415),
    (b"{}", "application/jsonl; charset=latin-42", 415),
    (b"[]", "application/json", 422),
    (b"{", "application/json", 400),
    (b"", "application/json", 400),
]


@pytest.mark.parametrize(("data", "content_type", "status"), UNUSABLE)
def test_unusable_files(local: CheckedClient, data: bytes, content_type: str, status: int) -> None:
    answer = upload(local, data, content_type)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]


def test_bad_forms(local: CheckedClient) -> None:
    good = ("a.jsonl", lines(*PROBLEMS))
    two = [("file", good), ("file", good)]
    assert local.post("/v1/problem-sets", files=two, data={"name": "x"}).status_code == 400
    assert local.post("/v1/problem-sets", files={"other": good}, data={"name": "x"}).status_code == 422
    assert local.post("/v1/problem-sets", files={"file": ("a.exe", b"x")}, data={"name": "x"}).status_code == 415
    assert local.post("/v1/problem-sets", files={"file": good}).json()["errors"][0]["field"] == "name"
    unknown = local.post("/v1/problem-sets", files={"file": good}, data={"name": "x", "nmae": "y"})
    assert unknown.json()["errors"][0]["field"] == "nmae"
    headers = {"content-type": "multipart/form-data"}
    assert local.post("/v1/problem-sets", content=b"--x", headers=headers).status_code == 400
    truncated = {"file": ("a.jsonl.gz", gzip.compress(lines(*PROBLEMS))[:-9])}
    assert local.post("/v1/problem-sets", files=truncated, data={"name": "x"}).status_code == 400


def test_limits(make_client: Callable[..., CheckedClient]) -> None:
    client = make_client(upload_limit=4096, body_limit=2048, upload_rows=20)
    assert upload(client, b" " * 5000).status_code == 413
    assert upload(client, (b" " * 1000 for _ in range(5))).status_code == 413  # type: ignore[arg-type]
    big = client.post("/v1/problem-sets", json={"name": "x" * 3000})
    assert big.status_code == 413
    # A file of JSON lines is no JSON document, whose limit is lower.
    rows = lines(*({"question": "q" * 150, "gold_answer": "1"} for _ in range(15)))
    assert upload(client, rows, "application/jsonl").status_code == 201
    bomb = {"file": ("a.jsonl.gz", gzip.compress(b"x" * 10_000_000, 9)[:3000])}
    assert client.post("/v1/problem-sets", files=bomb, data={"name": "x"}).status_code == 413
    many = upload(client, lines(*({"question": "q", "gold_answer": "1"} for _ in range(21))))
    assert (many.status_code, many.json()["errors"][0]["field"]) == (422, "file")


def test_a_problem_set_may_be_a_benchmark(client: CheckedClient) -> None:
    problem = {"question": "What is 1 + 1?", "gold_answer": "2"}
    body = {"name": "held out", "problems": [problem]}
    plain = client.post("/v1/problem-sets", json=body).json()
    marked = client.post("/v1/problem-sets", json={**body, "benchmark": True}).json()
    assert (plain["benchmark"], marked["benchmark"]) == (False, True)
    assert marked["id"] != plain["id"], "a set is one thing or the other"
    assert upload(client, lines(problem), query="&benchmark=true").json()["benchmark"] is True
    form = {"name": "form", "benchmark": "true"}
    told = client.post("/v1/problem-sets", data=form, files={"file": ("p.jsonl", lines(problem))})
    assert told.json()["benchmark"] is True
    assert client.get(f"/v1/problem-sets/{marked['id']}").json()["benchmark"] is True
    refused = client.post("/v1/problem-sets", json={**body, "benchmark": "perhaps"})
    assert refused.status_code == 422
    assert "benchmark" in refused.text
