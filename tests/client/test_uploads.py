"""Files that the client uploads: read while they are sent, sent anew after a failure."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

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
        return httpx.Response(201, json=MADE)


@pytest.mark.parametrize("name", ["large.jsonl", "large.json"])
def test_a_file_larger_than_memory_is_sent_and_sent_again(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    with file.open("wb") as out:
        out.truncate(30 * _MEBIBYTE)  # zeros: the network does not care
    network = Reads(failures=1)
    with Errata("http://errata.test", transport=network) as errata:
        tracemalloc.start()
        try:
            errata.problem_sets.upload("n", str(file))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 5 * _MEBIBYTE
    assert network.sizes[0] >= 30 * _MEBIBYTE, "the second try starts from the beginning"
    assert int(network.headers["content-length"]) == network.sizes[0]
    assert "transfer-encoding" not in network.headers
