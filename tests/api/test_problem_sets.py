"""Problem sets and brought solutions: formats, bad rows, limits."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import func, select

from api.problem_sets.formats import RowError, parse_problem
from errata.answers import extract_answer
from models.session import Database
from models.workspaces import BroughtSolution, ProblemRow
from tests.api.conftest import PROBLEMS, CheckedClient, post_problems

JSONL = {"content-type": "application/jsonl"}


def lines(*rows: Any) -> bytes:
    return b"".join(row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n" for row in rows)


def upload(client: CheckedClient, data: bytes, content_type: str = "application/jsonl", query: str = "") -> Any:
    return client.post(f"/v1/problem-sets?name=set{query}", content=data, headers={"content-type": content_type})


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


FORMATS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"question": " q ", "gold_answer": 7}, {"question": "q", "gold_answer": "7"}),
    ({"question": "q", "gold_answer": "x", "meta": {"a": [1, "é"]}}, {"meta": {"a": [1, "é"]}}),
    (
        {"question": "q", "answer": "48/2 = <<48/2=24>>24\n#### 1,024"},
        {"gold_answer": "1024", "gold_solution": "48/2 = <<48/2=24>>24", "meta": {"format": "gsm8k"}},
    ),
    ({"question": "q", "answer": "#### (1,2)"}, {"gold_answer": "(1,2)", "gold_solution": None}),
    ({"question": "q", "answer": "12"}, {"gold_answer": "12", "meta": {"format": "answer"}}),
    (
        {"problem": "p", "solution": "so \\boxed{1} or \\boxed{\\frac{1}{2}}.", "level": "Level 5", "type": "Algebra"},
        {"question": "p", "gold_answer": "1 \\text{ or } \\frac{1}{2}", "level": "Level 5", "subject": "Algebra"},
    ),
    ({"problem": "p", "solution": "First \\boxed{1}. So $\\boxed 2$."}, {"gold_answer": "2"}),
    ({"problem": "p", "solution": "It is $\\fbox{2}$"}, {"gold_answer": "2"}),
    ({"problem": "p", "solution": "s", "answer": "9", "unique_id": "t/1.json"}, {"gold_answer": "9"}),
    ({"problem": "p", "solution": "So \\boxed 5."}, {"gold_answer": "5"}),
    ({"problem": "p", "solution": "So \\fbox{5} it is."}, {"gold_answer": "5"}),
    (
        {"question": "q", "gold_answer": "9", "meta": {"golds": ["8"], "tolerance": {"abs": 0.5}, "unordered": True}},
        {"gold_answer": "9", "meta": {"golds": ["8"], "tolerance": {"abs": 0.5}, "unordered": True}},
    ),
    (
        {"prompt": "q", "chosen": "Step 2", "rejected": "Step 2", "initial_reason_steps": "Step 1", "answer": "5"},
        {"question": "q", "gold_answer": "5", "gold_solution": None, "meta": {"format": "step-dpo"}},
    ),
]


SOLUTIONS_WITH_BOXES = [
    "So it is \\boxed{5}.",
    "So it is \\boxed 5.",
    "So it is \\fbox{5}",
    "\\boxed{1}, no: \\boxed{\\text{about } \\frac{1}{2}}",
    "\\boxed{3} and \\boxed{4",
]


@pytest.mark.parametrize("solution", SOLUTIONS_WITH_BOXES)
def test_a_gold_box_is_read_as_grading_reads_it(solution: str) -> None:
    problem = parse_problem({"problem": "p", "solution": solution}, 1000)
    assert problem["gold_answer"] == extract_answer(solution)


@pytest.mark.parametrize("solution", ["The answer is 5.", "\\boxed{}", "\\boxed{ }", "\\boxed{5"])
def test_a_solution_without_a_complete_box_has_no_gold_answer(solution: str) -> None:
    with pytest.raises(RowError, match=r"no .*boxed"):
        parse_problem({"problem": "p", "solution": solution}, 1000)


@pytest.mark.parametrize(("row", "expected"), FORMATS)
def test_known_formats(local: CheckedClient, row: dict[str, Any], expected: dict[str, Any]) -> None:
    answer = upload(local, lines(row))
    assert answer.status_code == 201, answer.text
    problem = local.get(f"/v1/problem-sets/{answer.json()['id']}/problems").json()["data"][0]
    assert {key: problem[key] for key in expected} == expected


def parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


def csv_of(rows: list[dict[str, Any]]) -> bytes:
    return (
        "question,gold_answer,id\n" + "".join(f"{r['question']},{r['gold_answer']},{r['id']}\n" for r in rows)
    ).encode()


ENCODINGS: list[tuple[str, Callable[[list[dict[str, Any]]], bytes]]] = [
    ("application/jsonl", lambda rows: lines(*rows)),
    ("application/x-ndjson", lambda rows: b"\xef\xbb\xbf" + lines(*rows)),
    ("text/csv", csv_of),
    ("text/csv; charset=utf-8", csv_of),
    ("application/vnd.apache.parquet", parquet),
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


def test_every_bad_row_is_reported_with_its_line(client: CheckedClient) -> None:
    data = lines(
        {"question": "good", "gold_answer": "1", "id": "a"},
        b"{not json\n",
        b"\n",
        [1],
        {"question": "no answer"},
        {"question": "q", "gold_answer": "1", "colour": "red"},
        {"question": "q", "gold_answer": "1", "id": "a"},
        b'{"question": "q", "gold_answer": NaN}\n',
        b'{"question": "a\\ud800", "gold_answer": "1"}\n',
        b'{"question": "a\\u0000", "gold_answer": "1"}\n',
        b'{"question": "q", "gold_answer": ' + b"9" * 5000 + b"}\n",
        b'{"question": "q", "gold_answer": "1", "meta": ' + b"[" * 500 + b"]" * 500 + b"}\n",
        b'{"question": "\xff", "gold_answer": "1"}\n',
        {"question": "   ", "gold_answer": "1"},
        {"question": "q", "gold_answer": True},
        {"question": "q", "answer": "long\ntext without the mark"},
        {"problem": "p", "solution": "no box"},
        {"question": "x" * 100_001, "gold_answer": "1"},
        b'{"question": "q", "question": "r", "gold_answer": "1"}\n',
        {"question": "last", "gold_answer": "2"},
    )
    answer = upload(client, data)
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert body["problem_count"] == 2
    assert [bad["line"] for bad in body["rejected"]] == [2, 4, *range(5, 7), *range(8, 20), 7]
    reasons = {bad["line"]: bad["reason"] for bad in body["rejected"]}
    assert "column 2" in reasons[2]
    assert "'gold_answer' is missing" in reasons[5]
    assert "unknown field 'colour'" in reasons[6]
    assert "was used on line 1" in reasons[7]
    assert "####" in reasons[16]
    assert "\\boxed" in reasons[17]
    assert client.get(f"/v1/problem-sets/{body['id']}").json()["rejected"] == body["rejected"]


def test_faulty_criteria_of_an_answer_are_refused_by_name(client: CheckedClient) -> None:
    metas = [{"golds": "5"}, {"tolerance": {"rel": 5}}, {"unordered": 1}, {"extract": "(a+)+"}, {"extract": r"= (\d+)"}]
    answer = upload(client, lines(*({"question": "q", "gold_answer": "1", "meta": meta} for meta in metas)))
    assert answer.status_code == 201, answer.text
    reasons = [bad["reason"] for bad in answer.json()["rejected"]]
    assert [reason.split()[0] for reason in reasons] == [
        "meta.golds",
        "meta.tolerance.rel",
        "meta.unordered",
        "meta.extract",
    ]


def test_a_document_is_all_or_nothing_and_a_file_is_not(client: CheckedClient, database: Database) -> None:
    rows = [PROBLEMS[0], {"question": 5, "gold_answer": "1"}]
    refused = client.post("/v1/problem-sets", json={"name": "x", "problems": rows})
    assert refused.status_code == 422
    assert refused.json()["errors"] == [
        {
            "field": "problems[1]",
            "message": "'question' must be a string",
            "remedy": "correct the row, or send on_bad_row=report to take the others",
        }
    ]
    assert upload(client, lines(*rows), query="&on_bad_row=refuse").json()["errors"][0]["field"] == "line 2"
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(ProblemRow)) == 0
    taken = client.post("/v1/problem-sets?on_bad_row=report", json={"name": "x", "problems": rows})
    assert (taken.status_code, taken.json()["problem_count"]) == (201, 1)
    assert upload(client, lines(*rows)).status_code == 201


UNUSABLE: list[tuple[bytes, str, int]] = [
    (b"", "application/jsonl", 422),
    (b"\n\n", "application/jsonl", 422),
    (b"nothing\nvalid\n", "application/jsonl", 422),
    (b"question,gold_answer\n", "text/csv", 422),
    (b"", "text/csv", 400),
    (b"a,a\n1,2\n", "text/csv", 400),
    (b'question,gold_answer\n"open,1\n', "text/csv", 400),
    (b"question,gold_answer\n\xff,1\n", "text/csv", 400),
    (b"PAR1 not really PAR1", "application/vnd.apache.parquet", 400),
    (b"", "application/vnd.apache.parquet", 400),
    (b"{}", "text/plain", 415),
    (b"{}", "application/jsonl; charset=utf-16", 415),
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


def test_a_problem_set_may_be_a_benchmark(client: CheckedClient) -> None:
    problem = {"question": "What is 1 + 1?", "gold_answer": "2"}
    body = {"name": "held out", "problems": [problem]}
    plain = client.post("/v1/problem-sets", json=body).json()
    marked = client.post("/v1/problem-sets", json={**body, "benchmark": True}).json()
    assert (plain["benchmark"], marked["benchmark"]) == (False, True)
    assert upload(client, lines(problem), query="&benchmark=true").json()["benchmark"] is True
    form = {"name": "form", "benchmark": "true"}
    told = client.post("/v1/problem-sets", data=form, files={"file": ("p.jsonl", lines(problem))})
    assert told.json()["benchmark"] is True
    assert client.get(f"/v1/problem-sets/{marked['id']}").json()["benchmark"] is True
    refused = client.post("/v1/problem-sets", json={**body, "benchmark": "perhaps"})
    assert refused.status_code == 422
    assert "benchmark" in refused.text


def test_limits(make_client: Callable[..., CheckedClient]) -> None:
    client = make_client(upload_limit=4096, body_limit=2048, upload_rows=20)
    assert upload(client, b" " * 5000).status_code == 413
    assert upload(client, (b" " * 1000 for _ in range(5))).status_code == 413  # type: ignore[arg-type]
    big = client.post("/v1/problem-sets", json={"name": "x" * 3000})
    assert big.status_code == 413
    bomb = {"file": ("a.jsonl.gz", gzip.compress(b"x" * 10_000_000, 9)[:3000])}
    assert client.post("/v1/problem-sets", files=bomb, data={"name": "x"}).status_code == 413
    many = upload(client, lines(*({"question": "q", "gold_answer": "1"} for _ in range(21))))
    assert (many.status_code, many.json()["errors"][0]["field"]) == (422, "file")


def test_brought_solutions(client: CheckedClient, database: Database) -> None:
    set_id = post_problems(client)
    other_id = post_problems(client)
    problem_id = client.get(f"/v1/problem-sets/{set_id}/problems").json()["data"][2]["id"]
    elsewhere = client.get(f"/v1/problem-sets/{other_id}/problems").json()["data"][2]["id"]
    rows: list[Any] = [
        {"problem": 0, "source": "a", "text": "same"},
        {"problem": 0, "source": "b", "text": "same", "label": True},
        {"problem": "sum-1", "source": "a", "text": " kept as it is\n", "label": False},
        {"problem": problem_id, "source": "a", "text": "third"},
        {"problem": 0, "source": "a", "text": "another"},
        {"problem": 99, "source": "a", "text": "t"},
        {"problem": elsewhere, "source": "a", "text": "t"},
        {"problem": True, "source": "a", "text": "t"},
        {"problem": 0, "source": "", "text": "t"},
        {"problem": 0, "source": "c", "text": "t", "label": "yes"},
        {"problem": 0, "source": "c", "text": "t", "is_correct": True},
        b"{broken\n",
    ]
    url = f"/v1/problem-sets/{set_id}/solutions"
    first = client.post(url, content=lines(*rows), headers=JSONL).json()
    assert (first["received"], first["added"], first["existing"], first["rejected_count"]) == (12, 4, 0, 8)
    assert sorted(bad["line"] for bad in first["rejected"]) == list(range(5, 13))
    again = client.post(url, content=lines(*rows), headers=JSONL).json()
    assert (again["added"], again["existing"], again["rejected_count"]) == (0, 4, 8)
    with database.read() as session:
        texts = session.scalars(select(BroughtSolution.text).where(BroughtSolution.source == "a")).all()
    assert sorted(texts) == [" kept as it is\n", "same", "third"]


def test_brought_solutions_refused(client: CheckedClient) -> None:
    set_id = post_problems(client)
    url = f"/v1/problem-sets/{set_id}/solutions"
    row = {"problem": 0, "source": "a", "text": "t"}
    assert client.post(url, json={"solutions": []}).json()["errors"][0]["field"] == "solutions"
    assert client.post(url, json={"solutions": [row], "x": 1}).json()["errors"][0]["field"] == "x"
    bad = client.post(url, json={"solutions": [row, {"problem": 77, "source": "a", "text": "t"}]})
    assert (bad.status_code, bad.json()["errors"][0]["field"]) == (422, "solutions[1]")
    assert (
        client.post(url, content=lines({"problem": 77, "source": "a", "text": "t"}), headers=JSONL).status_code == 422
    )
    assert client.post("/v1/problem-sets/pset_none/solutions", json={"solutions": [row]}).status_code == 404
    assert client.post(url, json={"solutions": [row]}).json()["added"] == 1
