"""How long a completion's first token takes, also while a job runs: ``python -m bench.first_token --json``.

The service as production runs it (PostgreSQL, Redis, Celery workers), and the miniature behind a server that streams
(bench.streaming_server). Streams of ``POST /v1/chat/completions`` and the same requests straight to that server take
turns, first in a service at rest, then while an injection job keeps the server busy.

``ratio``: median seconds to the first token through the service by those straight, while the job runs. For each of the
four cases ``p50`` and ``p99`` in seconds. ``within_2_seconds``: the share of requests during the job that were.
``--embedded``: SQLite and one process tree. ``--child``: the model in a worker's child instead of a server; a
completion is then the batch after the job's, and there is nothing to be asked straight.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from bench.service import Service, report, running, unwind_when_told
from demo import problems
from demo.run import MODEL
from tests.openai_server import MODEL as SERVED
from tests.processes import ROOT

LIMIT = 2.0  # seconds, what is promised of a served model
_BUSY_SECONDS = 300.0
JOB = {"preset": "errata", "config": {"sampling": {"samples": 8, "adaptive": False}, "shard_size": 8}}


@contextmanager
def serving() -> Iterator[str]:
    """The address of the streaming server, a process of its own."""
    command = [sys.executable, "-m", "bench.streaming_server", str(MODEL)]
    with subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def first_token(url: str, model: str, question: str) -> float:
    """Seconds from the request to the first piece of the answer, which is then given up. Raises RuntimeError."""
    turn = {"role": "user", "content": question}
    body = {"model": model, "messages": [turn], "max_tokens": 64, "temperature": 0, "top_p": 1, "seed": 0, "n": 1}
    began = time.perf_counter()
    with httpx.stream("POST", f"{url}/chat/completions", json={**body, "stream": True}, timeout=300) as answer:
        if answer.is_error:
            raise RuntimeError(answer.read().decode())
        for line in answer.iter_lines():
            if line.startswith("data: {") and _text(json.loads(line[6:])):
                return time.perf_counter() - began
    raise RuntimeError("the answer was empty")


def _text(chunk: dict[str, Any]) -> str:
    return "".join(choice["delta"].get("content") or "" for choice in chunk.get("choices", ()))


def turns(sides: dict[str, tuple[str, str]], asked: list[str]) -> dict[str, list[float]]:
    """Seconds of each side, which take turns; the first of both is thrown away."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for at, question in enumerate(asked):
        for name, (url, model) in sides.items():
            seconds = first_token(url, model, question)
            if at:
                found[name].append(seconds)
    return found


def figures(seconds: list[float]) -> dict[str, float]:
    """Median and 99th percentile (the largest of fewer than a hundred)."""
    ordered = sorted(seconds)
    return {"p50": round(ordered[len(ordered) // 2], 3), "p99": round(ordered[int(0.99 * (len(ordered) - 1) + 0.5)], 3)}


@contextmanager
def busy(service: Service, model: str, problem_set: str) -> Iterator[dict[str, Any]]:
    """Keep a job at work while the block runs; what it says of itself at the end. It is cancelled then."""
    made = service.post("/v1/injection-jobs", {"problem_set": problem_set, "language_model": model, **JOB})
    url = f"/v1/injection-jobs/{made['id']}"
    told: dict[str, Any] = {}
    until = time.monotonic() + _BUSY_SECONDS
    while not (seen := service.get(url))["progress"]["tokens"]["completion"]:
        if time.monotonic() > until or seen["finished_at"]:
            raise RuntimeError(f"the job generates nothing: {seen['state']}, {seen['error']}")
        time.sleep(0.2)
    yield told
    last = service.get(url)
    told |= {"state": last["state"], "tokens": last["progress"]["tokens"]["completion"]}
    service.post(f"{url}/cancel", {})


def measure(service: Service, straight: str | None, requests: int) -> dict[str, Any]:
    """Every case. Raises RuntimeError where the job ended while it was to keep the model busy."""
    made = problems.generate(600, seed=11)
    problem_set = service.add_problems(problems.rows(made))
    asked = [each.question for each in made[: requests + 1]]
    sides = {"service": (f"{str(service.http.base_url).rstrip('/')}/v1", "asked")}
    if straight:
        sides["straight"] = (straight, SERVED)
    rest = turns(sides, asked)
    print("at rest: measured; the job starts", file=sys.stderr)
    with busy(service, "asked", problem_set) as job:
        during = turns(sides, asked)
    if job["state"] != "running":
        raise RuntimeError(f"the job was {job['state']} before the last request")
    cases = {
        name: figures(found)
        for at, phase in (("at_rest", rest), ("during_job", during))
        for name, found in ((f"{side}_{at}", phase[side]) for side in sides)
    }
    within = sum(each <= LIMIT for each in during["service"]) / len(during["service"])
    ratio = cases["service_during_job"]["p50"] / cases["straight_during_job"]["p50"] if straight else None
    return {"ratio": ratio and round(ratio, 2), **cases, "within_2_seconds": round(within, 3), "job": job}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print only the line of JSON")
    parser.add_argument("--requests", type=int, default=100, help="per side, at rest and during the job")
    parser.add_argument("--embedded", action="store_true", help="SQLite and one process tree instead of production")
    parser.add_argument("--child", action="store_true", help="the model in a worker's child, without a server")
    args = parser.parse_args()
    unwind_when_told()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        straight = None if args.child else stack.enter_context(serving())
        service = stack.enter_context(running(folder, embedded=args.embedded))
        if straight:
            settings = {"base_url": straight, "model": SERVED, "tokenizer": str(MODEL), "concurrency": 8}
            service.add_model("asked", settings)
        else:
            service.add_model("asked", {"path": str(MODEL)}, engine="transformers")
        found = measure(service, straight, args.requests)
        engine = "child" if args.child else "served"
        told = {"engine": engine, "requests": args.requests, "column": service.column}
        report({"benchmark": "first_token", **found, **told})


if __name__ == "__main__":
    main()
