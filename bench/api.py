"""What polling costs: ``python -m bench.api --json`` (PostgreSQL and Redis; a million pairs by default).

``ratio_status`` and ``ratio_lists``: requests per second of a job's status and of filtered lists of pairs, the slowest
of them, by those of the same framework answering one indexed row (bench.api_reference), taking turns in one run.
``p99_ratio``: the worst 99th percentile of their latencies by that of the reference. ``job_loss``: how much longer a
job takes while 50 clients ask for its status every 5 s, as ``Retry-After`` says.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from bench.real_data import default_file, read
from bench.service import Service, report, running, unwind_when_told
from bench.store import RARE_KIND, add_store
from models.session import Database
from tests.processes import ROOT, until

JOB = {"preset": "rules", "config": {"sampling": {"source": "brought"}, "shard_size": 8}}
_TURNS = 3


def hammer(url: str, clients: int, seconds: float) -> list[float]:
    """Ask again and again with some clients: the latency of each answer, in seconds."""

    def ask(_: int) -> list[float]:
        found, end = [], time.monotonic() + seconds
        with httpx.Client(timeout=60) as http:
            while time.monotonic() < end:
                began = time.monotonic()
                http.get(url).raise_for_status()
                found.append(time.monotonic() - began)
        return found

    with ThreadPoolExecutor(clients) as pool:
        return [latency for each in pool.map(ask, range(clients)) for latency in each]


def p99(latencies: Sequence[float]) -> float:
    """The 99th percentile."""
    return sorted(latencies)[max(int(len(latencies) * 0.99) - 1, 0)]


@contextmanager
def reference(url: str, row_id: str) -> Iterator[str]:
    """The reference as a process of its own; the address of its row."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    child = subprocess.Popen([sys.executable, "-m", "bench.api_reference", url, str(port)], cwd=ROOT)
    address = f"http://127.0.0.1:{port}/row/{row_id}"

    def answers() -> bool:
        try:
            return httpx.get(address).is_success
        except httpx.TransportError:
            return False

    try:
        until(answers, "the reference to answer")
        yield address
    finally:
        child.terminate()
        child.wait(30)


def ratios(base: str, paths: dict[str, str], row: str, clients: int, seconds: float) -> dict[str, Any]:
    """Requests per second and p99 of each path by those of the reference, in turns."""
    taken: dict[str, list[float]] = {name: [] for name in ("reference", *paths)}
    for _ in range(_TURNS):
        for name in taken:
            taken[name] += hammer(row if name == "reference" else base + paths[name], clients, seconds)
    known = taken.pop("reference")
    per_second = {name: round(len(each) / len(known), 3) for name, each in taken.items()}
    return {
        "ratio_status": per_second["status"],
        "ratio_lists": min(ratio for name, ratio in per_second.items() if name != "status"),
        "p99_ratio": round(max(p99(each) for each in taken.values()) / p99(known), 2),
        "ratios": per_second,
        "reference_per_second": round(len(known) / (seconds * _TURNS), 1),
    }


def job_loss(service: Service, set_id: str, pollers: int) -> float:
    """By how much a job's pace falls while clients poll it, as a share of its pace without them: the best of two each.

    In the order A B B A behind one run that warms up, so that other work on the machine hurts neither more.
    """
    job = {"problem_set": set_id, **JOB}
    service.run([job])
    taken: dict[bool, list[float]] = {False: [], True: []}
    for polled in (False, True, True, False):
        with polling(service, pollers if polled else 0):
            taken[polled].append(service.run([job])[0])
    return round(1 - min(taken[False]) / min(taken[True]), 4)


@contextmanager
def polling(service: Service, pollers: int) -> Iterator[None]:
    """Clients that ask for the newest job's status every five seconds meanwhile, at moments of their own."""
    stop = threading.Event()
    base = str(service.http.base_url).rstrip("/")

    def poll(at: int) -> None:
        stop.wait(5 * at / pollers)
        with httpx.Client(base_url=base, timeout=60) as http:
            while not stop.is_set():
                newest = http.get("/v1/injection-jobs", params={"limit": 1}).json()["data"][0]["id"]
                http.get(f"/v1/injection-jobs/{newest}")
                stop.wait(5)

    with ThreadPoolExecutor(max(pollers, 1)) as pool:
        asking = [pool.submit(poll, at) for at in range(pollers)]
        try:
            yield
        finally:
            stop.set()
        for each in asking:
            each.result()


def main(arguments: Sequence[str] | None = None) -> None:
    """Start the service, fill its database, measure, and print one line."""
    parser = argparse.ArgumentParser(prog="python -m bench.api", description="What polling costs.")
    parser.add_argument("--json", action="store_true", help="accepted for the sake of habit: there is one line of JSON")
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each turn of each path")
    parser.add_argument("--problems", type=int, default=400, help="of the job that is polled")
    options = parser.parse_args(arguments)
    unwind_when_told()
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), embedded=False) as service:
        if service.column != "production":
            raise SystemExit("this benchmark needs PostgreSQL and Redis")
        problems, solutions = read(default_file(), options.problems)
        set_id = service.add_problems(problems, solutions)
        database = Database(service.database_url)
        job_id = add_store(database, options.pairs, tell=True).job_id
        database.dispose()
        paths = {
            "status": f"/v1/injection-jobs/{job_id}",
            "kind": "/v1/pairs?error_kind=operator&limit=10",
            "rare kind": f"/v1/pairs?error_kind={RARE_KIND}&limit=10",
            "no kind": "/v1/pairs?error_kind=nowhere&limit=10",
            "rejected": "/v1/pairs?review=rejected&limit=10",
            "not rejected": f"/v1/pairs?job={job_id}&review=not_rejected&limit=10",
            "type of job": f"/v1/pairs?job={job_id}&type=full&limit=10",
            "jobs": "/v1/injection-jobs?state=succeeded&limit=10",
        }
        base = str(service.http.base_url).rstrip("/")
        with reference(service.database_url, set_id) as row:
            figures = ratios(base, paths, row, options.clients, options.seconds)
        report({"pairs": options.pairs, **figures, "job_loss": job_loss(service, set_id, 50)})


if __name__ == "__main__":
    main()
