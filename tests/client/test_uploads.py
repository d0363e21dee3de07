"""Files that the client uploads: read while they are sent, sent anew after a failure."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from errata_client import Errata

MADE = {
    "object": "problem_set",
    "id": "pset_1",
    "name": "n",
    "domain": "math",
    "problem_count": 1,
    "content_sha256": "0",
    "benchmark": False,
    "license": None,
    "source_url": None,
    "rejected": [],
    "rejected_count": 0,
    "tags": [],
    "notes": [],
    "created_at": "2026-01-01T00:00:00Z",
}
BROUGHT = {"problem_set": "pset_1", "received": 1, "added": 1, "existing": 0, "rejected_count": 0, "rejected": []}
SHARDS = dict.fromkeys(("total", "queued", "running", "done", "quarantined", "cancelled"), 0)
ROW = {"error": None, "created_at": "2026-01-01T00:00:00Z", "started_at": None, "finished_at": None}
IMPORTED: dict[str, Any] = ROW | {
    "id": "ds_1",
    "state": "queued",
    "name": "n",
    "partial": False,
    "jobs": [],
    "config": {},
    "manifest": None,
    "sha256": None,
    "progress": {"fraction": 0.0, "shards": SHARDS, "problems_done": 0, "problems_total": 0},
}
_MEBIBYTE = 1024 * 1024


class Reads(httpx.BaseTransport):
    """Reads a request piece by piece, as the network does, and breaks off as often as told."""

    def __init__(self, failures: int = 0) -> None:
        self.failures, self.sizes = failures, []  # type: int, list[int]
        self.headers = httpx.Headers()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Count the bytes and forget them."""
        size = 0
        self.headers = request.headers
        for piece in request.stream:  # type: ignore[union-attr]
            size += len(piece)
            if self.failures and size > _MEBIBYTE:
                self.failures -= 1
                raise httpx.WriteError("broke off", request=request)
        self.sizes.append(size)
        answers = {"/v1/problem-sets/pset_1/solutions": BROUGHT, "/v1/datasets/import": IMPORTED}
        return httpx.Response(201, json=answers.get(request.url.path, MADE))


def uploaded(errata: Errata, file: Path) -> None:
    errata.problem_sets.upload("n", str(file))


def brought(errata: Errata, file: Path) -> None:
    errata.problem_sets.bring_solutions("pset_1", file)


def brought_rows(errata: Errata, file: Path) -> None:
    row = {"problem": 0, "source": "s", "text": "x" * (_MEBIBYTE // 8)}
    errata.problem_sets.bring_solutions("pset_1", (row for _ in range(8 * file.stat().st_size // _MEBIBYTE)))


def imported(errata: Errata, file: Path) -> None:
    errata.datasets.import_file(file)


@pytest.mark.parametrize(
    ("name", "send"),
    [
        *(("large.jsonl", uploaded), ("large.json", uploaded), ("large.jsonl", brought), ("large.json", brought)),
        *(("large.jsonl", brought_rows), ("large.jsonl", imported), ("large.json", imported)),
    ],
)
def test_a_file_larger_than_memory_is_sent_and_sent_again(
    tmp_path: Path, name: str, send: Callable[[Errata, Path], None]
) -> None:
    file = tmp_path / name
    with file.open("wb") as out:
        out.truncate(30 * _MEBIBYTE)  # zeros: the network does not care
    network = Reads(failures=1)
    with Errata("http://errata.test", transport=network) as errata:
        tracemalloc.start()
        try:
            send(errata, file)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 5 * _MEBIBYTE
    assert network.sizes[0] >= 30 * _MEBIBYTE, "the second try starts from the beginning"
    assert int(network.headers["content-length"]) == network.sizes[0]
    assert "transfer-encoding" not in network.headers
