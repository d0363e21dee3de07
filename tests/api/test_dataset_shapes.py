"""The shapes over HTTP and in the OpenAPI document."""

from __future__ import annotations

from errata.shapes import SHAPES, example_row
from tests.api.conftest import CheckedClient


def test_every_shape_is_listed_with_its_columns_its_consumer_and_an_example(local: CheckedClient) -> None:
    listed = {shape["name"]: shape for shape in local.get("/v1/dataset-shapes").json()["data"]}
    assert list(listed) == list(SHAPES)
    for name, shape in SHAPES.items():
        assert listed[name]["columns"] == shape.fields
        assert listed[name]["example"] == example_row(shape)
        assert list(listed[name]["example"]) == list(shape.fields)
        assert listed[name]["loader"]
        assert listed[name]["trainers"]


def test_the_openapi_document_holds_them_all(local: CheckedClient) -> None:
    document = local.get("/openapi.json").json()
    answer = document["paths"]["/v1/dataset-shapes"]["get"]["responses"]["200"]["content"]["application/json"]
    assert answer["example"]["data"] == local.get("/v1/dataset-shapes").json()["data"]
    shapes = document["components"]["schemas"]["DatasetConfig"]["properties"]["shapes"]
    [choices] = [kind["items"]["enum"] for kind in shapes["anyOf"] if "items" in kind]
    assert set(choices) == set(SHAPES)
