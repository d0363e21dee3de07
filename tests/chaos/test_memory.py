"""The memory of a whole service that read a large body: it goes back to the system while the service goes on."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from tests.processes import Running, environment, until

ROWS = 250_000  # of 60 bytes: 15 MB, a little less than a JSON document of problems may have
MIB = 1 << 20


@contextmanager
def watched(process: psutil.Process, peak: list[int]) -> Iterator[None]:
    """The largest resident size meanwhile, into ``peak``."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            peak[0] = max(peak[0], process.memory_info().rss)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform != "linux", reason="resident sizes and glibc's heaps")
def test_a_service_that_read_a_large_body_gives_its_memory_back(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """A document whose every row is refused: a million objects, and an error with its frames for each listed row."""
    row = b'{"question":"","gold_answer":[{"a":1},{"b":2},{"c":3}]}'
    body = b'{"name":"x","problems":[' + b",".join([row] * ROWS) + b"]}"
    with Running("serve", "--port", "0", "--no-trainer", env=environment(tmp_path)) as service:
        process = psutil.Process(service.child.pid)
        with httpx.Client(base_url=service.url(), timeout=600) as client:
            few = {"name": "x", "problems": [{"question": "", "gold_answer": []}]}
            small = client.post("/v1/problem-sets", json=few)
            assert small.status_code == 422, small.text
            before = process.memory_info().rss
            peak = [before]
            with watched(process, peak):
                answer = client.post("/v1/problem-sets", content=body, headers={"content-type": "application/json"})
            assert answer.status_code == 422, answer.text[:300]
            assert peak[0] - before > 60 * MIB, "else there is nothing to give back"
            until(lambda: process.memory_info().rss - before < 40 * MIB, "the memory to go back", 120)
            sizes = (before, peak[0], process.memory_info().rss)
            record_property("MiB before, at the peak, after", [size // MIB for size in sizes])
            assert client.get("/readyz").status_code == 200
