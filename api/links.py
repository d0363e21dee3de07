"""OpenAPI links: which operations go on from an answer, and with which of its values.

They follow from the document itself. Where ``GET /v1/things/{thing_id}`` answers a ``ThingOut``, every operation that
makes a ``ThingOut`` links to each operation below ``/v1/things/{thing_id}``, and the list of things links
there with its first one. A creation whose body names a thing by one of ``REFERENCES`` is linked to with the thing's id.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

#: Fields of request bodies, and the collection whose row they name; a list where they name several.
REFERENCES: dict[str, tuple[str, bool]] = {
    "problem_set": ("/v1/problem-sets", False),
    "test_set": ("/v1/problem-sets", False),
    "evaluation_set": ("/v1/problem-sets", False),
    "dataset": ("/v1/datasets", False),
    "datasets": ("/v1/datasets", True),
    "injection_job": ("/v1/injection-jobs", False),
    "jobs": ("/v1/injection-jobs", True),
}
_ONE = re.compile(r"(?P<collection>/[^{}]*)/\{(?P<parameter>\w+)\}(?P<below>[^{}]*)")
_KEYS = {"name": "name"}  # a path parameter and the field of an answer that holds it; others are its id
Operation = tuple[str, str, dict[str, Any]]


def add_links(document: dict[str, Any]) -> None:
    """Write ``links`` into the 2xx answers of an OpenAPI document, in place."""
    operations = [
        (path, method, operation) for path, item in document["paths"].items() for method, operation in item.items()
    ]
    below: dict[str, list[tuple[str, str]]] = {}  # collection -> parameter and operation id
    answers: dict[str, str] = {}  # the schema of one row -> its collection
    for path, method, operation in operations:
        if (one := _ONE.fullmatch(path)) and "operationId" in operation:
            below.setdefault(one["collection"], []).append((one["parameter"], operation["operationId"]))
            if not one["below"] and method == "get" and (name := _answer(operation, "200")):
                answers[name] = one["collection"]
    for path, method, operation in operations:
        for status, response in operation["responses"].items():
            found: dict[str, Any] = {}
            if method == "get" and path in below and status == "200":
                found = _links(below[path], "$response.body#/data/0")
            elif method == "post" and "{" not in path and (collection := _collection(operation, status, answers)):
                found = _links(below[collection], "$response.body#")
                if collection == path:
                    found |= dict(_into_bodies(document, operations, collection))
            if found:
                response["links"] = found


def _collection(operation: dict[str, Any], status: str, answers: dict[str, str]) -> str | None:
    name = _answer(operation, status) if status.startswith("2") else None
    return answers.get(name) if name else None


def _answer(operation: dict[str, Any], status: str) -> str | None:
    content = operation["responses"].get(status, {}).get("content", {})
    return _reference(content.get("application/json", {}).get("schema", {}))


def _reference(schema: dict[str, Any]) -> str | None:
    return str(schema["$ref"]).rpartition("/")[2] if "$ref" in schema else None


def _links(targets: list[tuple[str, str]], row: str) -> dict[str, Any]:
    return {
        target: {"operationId": target, "parameters": {parameter: f"{row}/{_KEYS.get(parameter, 'id')}"}}
        for parameter, target in targets
    }


def _into_bodies(
    document: dict[str, Any], operations: list[Operation], collection: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Links to the operations that make something of a row of this collection."""
    schemas = document["components"]["schemas"]
    for path, method, operation in operations:
        content = operation.get("requestBody", {}).get("content", {})
        name = _reference(content.get("application/json", {}).get("schema", {}))
        if method != "post" or name is None or "{" in path or "operationId" not in operation:
            continue
        for field, (wanted, several) in REFERENCES.items():
            if wanted == collection and field in schemas[name].get("properties", {}):
                value = "$response.body#/id"
                body = {field: [value] if several else value}
                yield operation["operationId"], {"operationId": operation["operationId"], "requestBody": body}
