"""What posting a large problem set over HTTP costs, by a bare ``COPY FROM`` of the same rows into the same table.

    python -m bench.intake --json            # a million problems; needs PostgreSQL and Redis
    python -m bench.intake --rows 100000

One line of JSON: ``ratio`` (seconds of COPY by seconds of the upload), ``rss_rise_mb`` (of the API's process, at most,
while it takes the upload), ``api_cpu_seconds`` (of that process meanwhile, whatever else the machine does),
``repeat_ratio`` (seconds of the same upload once more by those of the first), ``readyz_ms`` (the longest that another
client waited for /readyz meanwhile).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
from sqlalchemy import make_url

from bench.service import report
from tests.ops.services import own_broker, own_database
from tests.processes import Running, environment, errata

_MEBIBYTE = 1024 * 1024
_LOOK_SECONDS = 0.05
_TIMEOUT_SECONDS = 1800
_WARM_ROWS = 2000


def write_problems(file: Path, rows: int) -> None:
    """GSM8K rows, as long as GSM8K's own (600 bytes), all different."""
    with file.open("w", encoding="utf-8") as out:
        for n in range(rows):
            a, b, c = 3 + n % 97, 2 + n % 89, 5 + n % 83
            product, total = a * b, a * b + c
            question = (
                f"Order {n}: Natalia's shop packs {a} boxes with {b} clips each in the morning. In the afternoon she"
                f" adds {c} clips that a friend brought back, and then she counts everything once more before closing"
                " time. How many clips are in the shop altogether at the end of the day?"
            )
            answer = (
                f"The boxes hold {a} * {b} = <<{a}*{b}={product}>>{product} clips, because each box has as many clips"
                f" as any other.\nWith the clips that came back there are {product} + {c} ="
                f" <<{product}+{c}={total}>>{total} clips altogether at the end of the day.\n#### {total}"
            )
            out.write(json.dumps({"question": question, "answer": answer}) + "\n")


class Watch:
    """The most memory that a process has, and the longest that /readyz took, while it is watched."""

    def __init__(self, process: psutil.Process, url: str) -> None:
        self._process, self._url = process, url
        self._ended = threading.Event()
        self._before = self._peak = process.memory_info().rss
        self.longest = 0.0

    @property
    def rise_mb(self) -> float:
        """Megabytes above what it had at the start."""
        return (self._peak - self._before) / _MEBIBYTE

    def _memory(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            self._peak = max(self._peak, self._process.memory_info().rss)

    def _ready(self) -> None:
        with httpx.Client(base_url=self._url, timeout=_TIMEOUT_SECONDS) as client:
            while not self._ended.wait(_LOOK_SECONDS):
                began = time.perf_counter()
                client.get("/readyz").raise_for_status()
                self.longest = max(self.longest, time.perf_counter() - began)

    @contextmanager
    def during(self) -> Iterator[None]:
        """Watch while the block runs."""
        threads = [threading.Thread(target=self._memory), threading.Thread(target=self._ready)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._ended.set()
            for thread in threads:
                thread.join()


def post(url: str, name: str, file: Path) -> tuple[float, httpx.Response]:
    """Seconds of an upload, and its answer."""
    with file.open("rb") as body, httpx.Client(base_url=url, timeout=_TIMEOUT_SECONDS) as client:
        began = time.perf_counter()
        headers = {"content-type": "application/jsonl"}
        answer = client.post("/v1/problem-sets", params={"name": name}, content=body, headers=headers)
        seconds = time.perf_counter() - began
    if answer.is_error:
        raise RuntimeError(answer.text)
    return seconds, answer


def bare_copy(database: str, folder: Path) -> float:
    """Seconds that one COPY takes for the rows of the largest set, into the emptied table they stand in."""
    dump = folder / "rows.copy"
    with psycopg.connect(make_url(database).set(drivername="postgresql").render_as_string(hide_password=False)) as db:
        db.execute("SET statement_timeout = 0")
        set_id = db.execute("SELECT id FROM problem_sets ORDER BY problem_count DESC LIMIT 1").fetchone()
        assert set_id is not None
        with db.cursor() as cursor, dump.open("wb") as out:
            query = "COPY (SELECT * FROM problems WHERE problem_set_id = %s ORDER BY position) TO STDOUT"
            with cursor.copy(query, set_id) as copy:
                for piece in copy:
                    out.write(piece)
        db.execute("TRUNCATE problems CASCADE")
        db.commit()
        began = time.perf_counter()
        with db.cursor() as cursor, dump.open("rb") as rows, cursor.copy("COPY problems FROM STDIN") as copy:
            while piece := rows.read(_MEBIBYTE):
                copy.write(piece)
        db.commit()
        return time.perf_counter() - began


def measure(rows: int, folder: Path) -> dict[str, Any]:
    """Everything that the benchmark tells."""
    file, warm = folder / "problems.jsonl", folder / "warm.jsonl"
    write_problems(file, rows)
    write_problems(warm, _WARM_ROWS)
    with own_database() as database, own_broker() as broker:
        env = environment(folder / "home", ERRATA_PORT="0", DATABASE_URL=database, BROKER_URL=broker)
        made = errata("migrate", env=env)
        if made.returncode:
            raise RuntimeError(made.stderr)
        with Running("api", env=env) as service:
            url = service.url()
            post(url, "warm", warm)
            process = psutil.Process(service.child.pid)
            watch, before = Watch(process, url), process.cpu_times()
            with watch.during():
                first, answer = post(url, "bench", file)
            used = process.cpu_times()
            again, repeated = post(url, "bench", file)
        if answer.status_code != 201 or answer.json()["problem_count"] != rows:
            raise RuntimeError(f"not every problem was taken: {answer.text[:500]}")
        if repeated.status_code != 200 or repeated.json()["id"] != answer.json()["id"]:
            raise RuntimeError(f"the same upload made another set: {repeated.text[:500]}")
        copied = bare_copy(database, folder)
    return {
        "rows": rows,
        "megabytes": round(file.stat().st_size / _MEBIBYTE, 1),
        "upload_seconds": round(first, 2),
        "copy_seconds": round(copied, 2),
        "ratio": round(copied / first, 3),
        "api_cpu_seconds": round(used.user + used.system - before.user - before.system, 2),
        "rss_rise_mb": round(watch.rise_mb, 1),
        "repeat_ratio": round(again / first, 3),
        "readyz_ms": round(watch.longest * 1000, 1),
    }


def main() -> None:
    """Parse the options, measure, print."""
    parser = argparse.ArgumentParser(description="An upload over HTTP by a bare COPY FROM of its rows.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true", help="one line of JSON, which is what it prints anyway")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report(measure(options.rows, Path(folder)))


if __name__ == "__main__":
    main()
