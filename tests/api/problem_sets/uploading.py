"""Files as senders make them, and how they are sent."""

from __future__ import annotations

import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.api.conftest import CheckedClient

JSONL = {"content-type": "application/jsonl"}


def lines(*rows: Any) -> bytes:
    """JSON lines; bytes stand for themselves."""
    return b"".join(row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n" for row in rows)


def upload(client: CheckedClient, data: bytes, content_type: str = "application/jsonl", query: str = "") -> Any:
    """Post a raw file as the set named "set"."""
    return client.post(f"/v1/problem-sets?name=set{query}", content=data, headers={"content-type": content_type})


def problems(client: CheckedClient, answer: Any) -> list[dict[str, Any]]:
    """The problems of the set that ``answer`` is about, which must have been taken."""
    assert answer.status_code in (200, 201), answer.text
    listed: list[dict[str, Any]] = client.get(f"/v1/problem-sets/{answer.json()['id']}/problems").json()["data"]
    return listed


def parquet(rows: list[dict[str, Any]] | pa.Table, **options: Any) -> bytes:
    """A Parquet file."""
    sink = io.BytesIO()
    pq.write_table(rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows), sink, **options)
    return sink.getvalue()


def csv_of(rows: list[dict[str, Any]]) -> bytes:
    """A plain CSV file of PROBLEMS."""
    return (
        "question,gold_answer,id\n" + "".join(f"{r['question']},{r['gold_answer']},{r['id']}\n" for r in rows)
    ).encode()
