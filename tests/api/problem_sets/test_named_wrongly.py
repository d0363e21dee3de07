"""Files that are not what their sender says: read where there is no doubt, else refused with field and remedy."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from typing import Any

import pyarrow as pa
import pytest
from fastapi.testclient import TestClient

from tests.api.plain_clients import local
from tests.api.problem_sets.uploading import lines, parquet

__all__ = ["local"]  # a fixture
ROWS = [{"question": f"q{at}", "gold_answer": str(at)} for at in range(3)]


def sent(client: TestClient, name: str, data: bytes, **fields: str) -> Any:
    return client.post("/v1/problem-sets", files={"file": (name, data)}, data={"name": "set", **fields})


def workbook() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    return made.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", parquet(ROWS)),
        ("a.jsonl", parquet(ROWS)),
        ("a.jsonl", json.dumps(ROWS).encode()),
        ("a.jsonl", json.dumps(ROWS, indent=1).encode()),
        ("a.json", lines(*ROWS)),
    ],
)
def test_rows_under_another_name_are_read(local: TestClient, name: str, data: bytes) -> None:
    answer = sent(local, name, data)
    assert (answer.status_code, answer.json()["problem_count"]) == (201, 3), answer.text


@pytest.mark.parametrize(
    ("name", "data", "status", "field", "told"),
    [
        ("a.csv", workbook(), 400, "file", "save the sheet as CSV"),
        ("a.jsonl", workbook(), 400, "file", "ZIP archive"),
        ("a.csv", json.dumps(ROWS).encode(), 400, "file", "name it .json or .jsonl"),
        ("a.tsv", lines(*ROWS), 400, "file", "holds JSON"),
        ("a.jsonl.gz", gzip.compress(lines(*ROWS))[:-9], 400, "file", "not complete gzip data"),
        ("a.jsonl.gz", gzip.compress(bytes(40_000_000)), 413, "file", "times its size"),
        ("a.docx", b"?", 415, "file", "the file's format"),
        ("a.zip", workbook(), 415, "file", "unpack it"),
        ("A.XLSX", workbook(), 415, "file", "save the sheet as CSV"),
        ("a.parquet", parquet(pa.table({"question": pa.array([], pa.string())})), 422, "problems", "empty"),
    ],
)
def test_others_are_refused_with_field_and_remedy(
    local: TestClient, name: str, data: bytes, status: int, field: str, told: str
) -> None:
    answer = sent(local, name, data)
    assert answer.status_code == status, answer.text
    [error] = answer.json()["errors"]
    assert error["field"] == field
    assert told in f"{error['message']}; {error['remedy']}"
    assert ";" not in error["message"]
    assert error["remedy"] not in ("", "repair the file")


def test_a_packed_file_makes_no_name_of_a_test(request: pytest.FixtureRequest) -> None:
    """It holds the time it was packed at: processes of pytest that collect a second apart would differ."""
    made = request.config.hook.pytest_make_parametrize_id(
        config=request.config, val=gzip.compress(b"x"), argname="data"
    )
    assert made == "data"


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ({"content-type": "text/plain"}, "Content-Type"),
        ({"content-type": "text/csv; charset=klingon"}, "Content-Type"),
        ({"content-type": "text/csv", "content-encoding": "br"}, "Content-Encoding"),
    ],
)
def test_a_header_that_cannot_be_followed_is_named(local: TestClient, headers: dict[str, str], field: str) -> None:
    answer = local.post("/v1/problem-sets?name=set", content=b"question,gold_answer\nq,1\n", headers=headers)
    assert (answer.status_code, [error["field"] for error in answer.json()["errors"]]) == (415, [field])


def test_a_form_says_what_a_bad_row_does(local: TestClient) -> None:
    data = lines(*ROWS, {"question": "", "gold_answer": "1"})
    assert sent(local, "a.jsonl", data, on_bad_row="report").json()["rejected_count"] == 1
    refused = sent(local, "a.jsonl", data, on_bad_row="refuse")
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "line 4")
    unknown = sent(local, "a.jsonl", data, on_bad_row="ignore")
    assert (unknown.status_code, unknown.json()["errors"][0]["field"]) == (422, "on_bad_row")
    made = sent(local, "a.jsonl", lines(*ROWS)).json()["id"]
    file = {"file": ("s.jsonl", lines({"problem": 0, "source": "s", "text": "t"}, {"problem": "?"}))}
    brought = local.post(f"/v1/problem-sets/{made}/solutions", files=file, data={"on_bad_row": "refuse"})
    assert (brought.status_code, brought.json()["errors"][0]["field"]) == (422, "line 2")


def test_bytes_that_are_no_text_are_a_bad_row(local: TestClient) -> None:
    table = pa.table({"question": [b"q", b"\xff"], "gold_answer": ["1", "2"]})
    answer = sent(local, "a.parquet", parquet(table)).json()
    assert answer["problem_count"] == 1
    assert answer["rejected"][0] == {
        "line": 2,
        "reason": "'question' holds bytes that are no UTF-8 text",
        "count": 1,
        "lines": [2],
    }


def test_what_cannot_be_meant_is_told(local: TestClient) -> None:
    same = sent(local, "a.jsonl", lines(*ROWS), mapping='{"question": "question", "gold_answer": "question"}')
    [error] = same.json()["errors"]
    assert (same.status_code, error["field"], error["remedy"]) == (422, "mapping", "give each its own")
    more = sent(local, "a.jsonl", lines({"question": "q", "answer": "#### 5\nand more"}, *ROWS)).json()
    assert "goes on behind the line" in more["rejected"][0]["reason"]
