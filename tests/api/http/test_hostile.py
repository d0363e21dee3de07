"""No input causes a 5xx: every answer of ``CheckedClient`` is asserted to be below 500 and documented."""

from __future__ import annotations

import itertools
import json
import re
import resource
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.http import strict_json
from api.http.errors import MOST_LISTED
from api.http.openai_errors import ROUTES
from api.http.rows import encode
from tests.api.conftest import CheckedClient, bring, post_job, post_problems

JSON = {"content-type": "application/json"}
POSTS = ["problem-sets", "injection-jobs", "datasets", "training-jobs", "training-jobs:preview", "evaluations"]
DOCUMENTS = [
    b"",
    b" ",
    b"null",
    b"[]",
    b'"text"',
    b"1",
    b"{",
    b'{"name": NaN}',
    b'{"name": Infinity}',
    b'{"name": 1e400}',
    b'{"name": ' + b"9" * 5000 + b"}",
    b'{"name": "\\ud800"}',
    b'{"name": "\\u0000"}',
    b'{"name": "a\x00b"}',
    b'{"\\u0000": 1}',
    b'{"\\udfff": 1}',
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"config": ' + b"[" * 63 + b"]" * 63 + b"}",
    b'{"name": "x", "name": "y"}',
    b'{"name": {"$ne": null}}',
    json.dumps({"name": "x" * 10_000, "problem_set": "x" * 10_000, "jobs": ["ds_" + "a" * 500]}).encode(),
    json.dumps({"problem_set": "' OR 1=1 --", "language_model": "%00", "dataset": "../..", "jobs": [""]}).encode(),
    json.dumps({"name": "x", "problems": [{"question": {"a": []}, "gold_answer": []}]}).encode(),
]


def test_hostile_documents(client: CheckedClient) -> None:
    for path, document in itertools.product(POSTS, DOCUMENTS):
        answer = client.post(f"/v1/{path}", content=document, headers=JSON)
        assert 400 <= answer.status_code < 500, (path, document[:80], answer.text[:200])


def test_hostile_documents_below_an_id(client: CheckedClient) -> None:
    set_id = post_problems(client)
    for document in DOCUMENTS:
        answer = client.post(f"/v1/problem-sets/{set_id}/solutions", content=document, headers=JSON)
        assert 400 <= answer.status_code < 500, document[:80]


IDS = [
    "x",
    "%00",
    "inj_%00",
    "inj_%ff",
    "%ED%A0%80",
    "inj_" + "a" * 5000,
    "inj_A",
    "..%2f..",
    "inj_1%27",
    "%F0%9F%98%80",
]


def test_hostile_ids_and_queries(client: CheckedClient) -> None:
    reads = [path for path in client.app.openapi()["paths"] if path.startswith("/v1") and "{" in path]  # type: ignore[attr-defined]
    for path, row_id in itertools.product(reads, IDS):
        head, _, tail = path.partition("{")
        url = head + row_id + tail.partition("}")[2].replace("{path}", "..%2f..%2fetc%2fpasswd")
        answer = client.get(url)
        invalid = 400 if path.startswith(ROUTES) else 422
        assert answer.status_code in (404, 405, invalid), (url, answer.status_code)
    hostile = ["%00", "%ff", "-1", "0", "99999999999999999999", "NaN", "[]", "a" * 5000, "eyJhIjoxfQ", "%ED%A0%80"]
    for name, value in itertools.product(["limit", "after", "type", "job", "problem", "error_kind"], hostile):
        answer = client.get(f"/v1/pairs?{name}={value}")
        # A problem is named by any id of the caller's own, so a strange one is one that no problem has.
        assert answer.status_code in ((404, 422) if name == "problem" else (200, 422)), (name, value)


def test_cursors_that_were_tampered_with(client: CheckedClient) -> None:
    name = "pairs-created_at.pairs-id+"
    values: list[list[Any]] = [
        [1, "x"],
        ["2020", None],
        ["2020-13-45", "x"],
        [None, None],
        ["2020-01-01", "\x00"],
        [[], {}],
    ]
    for value in [*values, ["9999-12-31T23:59:59+00:00", "x"], ["0001-01-01T00:00:00+14:00", "x"]]:
        assert client.get(f"/v1/pairs?after={encode(name, value)}").status_code in (200, 422), value
    set_id = post_problems(client)
    for position in (2**31, 2**70, -1, 1.5, True, "1"):
        cursor = encode("problems-position+", [position])
        assert client.get(f"/v1/problem-sets/{set_id}/problems?after={cursor}").status_code in (200, 422), position


def test_hostile_headers(client: CheckedClient) -> None:
    set_id = post_problems(client)
    bring(client, set_id)
    job_id = post_job(client, set_id)["id"]
    for value in ("", "x", "-1", "1" * 400, "\xff"):
        url = f"/v1/injection-jobs/{job_id}/events"
        assert client.get(url, headers={"last-event-id": value.encode("latin-1")}).status_code in (200, 422)
    for value in ("", "x" * 300, "tab\there", "\xff"):
        answer = client.post("/v1/evaluations", json={}, headers={"idempotency-key": value.encode("latin-1")})
        assert answer.status_code == 422
    for value in ("", "application", "application/json; charset=\xff", "multipart/form-data; boundary=" + "x" * 500):
        answer = client.post("/v1/problem-sets", content=b"{}", headers={"content-type": value.encode("latin-1")})
        assert answer.status_code in (400, 415, 422), value
    for value in ("-1", "x", "9" * 30):
        assert client.post("/v1/datasets", content=b"{}", headers={**JSON, "content-length": value}).status_code == 413


def test_wrong_methods_and_paths(client: CheckedClient) -> None:
    assert client.get("/v1/nothing").status_code == 404
    refused = client.delete("/v1/pairs")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET")
    assert refused.json()["type"] == "urn:errata:problem:method-not-allowed"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = [
    "name",
    "domain",
    "problems",
    "problem_set",
    "language_model",
    "preset",
    "config",
    "jobs",
    "dataset",
    "solutions",
]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(POSTS), body=st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=5))
def test_any_json_is_answered(local: CheckedClient, path: str, body: dict[str, Any]) -> None:
    answer = local.post(f"/v1/{path}", content=json.dumps(body), headers=JSON)
    assert answer.status_code in (201, 202, 400, 409, 422)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60) | json_values.map(json.dumps))
def test_strict_json_is_json(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        expected = None
        with pytest.raises(strict_json.JsonError):
            strict_json.loads(text.encode("utf-8", "surrogatepass"))
        return
    try:
        value = strict_json.loads(text.encode("utf-8", "surrogatepass"))
    except strict_json.JsonError:
        return  # JSON, but none we take
    assert value == expected


def test_depth_is_found_in_linear_time() -> None:
    limit = "[" * strict_json.MAX_DEPTH + "]" * strict_json.MAX_DEPTH
    assert strict_json.loads(limit) is not None
    assert strict_json.loads(json.dumps(["[[[" * 100, '"{[' * 100, "\\" * 99])) is not None, "strings do not nest"
    for text in ("[" + limit + "]", '{"a":' * 65 + "1" + "}" * 65, '"\\"' * 300_000, "[" * 3_000_000):
        with pytest.raises(strict_json.JsonError):
            strict_json.loads(text)


def test_memory_stays_bounded_while_a_body_is_refused(make_client: Callable[..., CheckedClient]) -> None:
    local = make_client(upload_limit=128 * 1024 * 1024)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    chunk = b" " * 1_000_000
    sent = itertools.repeat(chunk, 400)
    answer = local.post("/v1/problem-sets?name=x", content=sent, headers={"content-type": "application/jsonl"})
    assert answer.status_code == 413
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 700_000, "KiB; 128 MiB are accepted"


def test_a_large_body_costs_little(client: CheckedClient) -> None:
    keys = {f"k{n}": 0 for n in range(1_000_000)}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for path in POSTS[1:]:
        answer = client.post(f"/v1/{path}", content=json.dumps(keys), headers=JSON)
        assert answer.status_code == 413, path
    few = dict(itertools.islice(keys.items(), strict_json.MAX_KEYS))
    for path in POSTS:
        answer = client.post(f"/v1/{path}", json=few | {"one": 1})
        assert (answer.status_code, "keys" in answer.json()["detail"]) == (400, True), path
        answer = client.post(f"/v1/{path}", json=few)
        assert answer.status_code == 422
        assert len(answer.json()["errors"]) == MOST_LISTED
        assert re.search(r"and (99\d|100\d) more", answer.json()["detail"]), "all are counted"
        assert len(answer.content) < 50_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000, "KiB"


def test_errors_of_nested_lists_and_of_queries_are_bounded(client: CheckedClient) -> None:
    numbers = {"jobs": [1] * 300_000, "types": [1] * 9_000, "kinds": [1] * 9_000, "shapes": [1] * 9_000}
    training = {"dataset": "d", "language_model": "m", "config": {"report_to": [1] * 300_000}}
    for path, body in (("datasets", numbers), ("training-jobs", training)):
        answer = client.post(f"/v1/{path}", json=body)
        assert answer.status_code == 422
        assert len(answer.json()["errors"]) <= MOST_LISTED
    answer = client.get("/v1/pairs?" + "&".join(f"q{n}=1" for n in range(5_000)))
    assert answer.status_code == 422
    assert (len(answer.json()["errors"]), "5000" in answer.json()["detail"]) == (MOST_LISTED, True)


def test_every_list_of_a_request_has_a_limit(client: CheckedClient) -> None:
    """pydantic tells an error for every item, so a list without a limit answers with a multiple of what was sent."""
    document = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    unbounded: set[str] = set()

    def walk(node: Any, path: str, seen: frozenset[str]) -> None:
        if isinstance(node, list):
            for item in node:
                walk(item, path, seen)
        elif isinstance(node, dict):
            name = str(node.get("$ref", "")).rpartition("/")[2]
            if name and name not in seen:
                walk(schemas[name], name, seen | {name})
            if node.get("type") == "array" and not {"maxItems", "const"} & set(node):
                unbounded.add(path)
            for key, value in node.items():
                walk(value, f"{path}.{key}" if key != "properties" else path, seen)

    for operations in document["paths"].values():
        for operation in operations.values():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            walk(body, "", frozenset())
    # Rows are checked one by one, and as many as are reported are counted (ApiSettings.reported_rows).
    assert {path for path in unbounded if not path.startswith(("ProblemSetIn.problems", "SolutionsIn.solutions"))} == (
        {"ProblemIn.golds.anyOf"}
    )
