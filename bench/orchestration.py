"""What the service adds to what the engine costs: ``python -m bench.orchestration [--json]``.

Generated tokens per second of the whole service (API, database, broker, workers, a real vLLM server) by those of the
same requests sent straight to the same server. The requests are recorded while the service runs its jobs a first time,
which also warms up both; the straight client then sends their bodies as they are, with the same number in flight and
without waiting for what one stage needs of another. Both sides alternate (A B B A), each with an empty prefix cache;
the fastest of each counts, so that other work on the machine hurts neither more.

``ratio``: a random Llama of 25 M parameters, so that the engine is the limit. It solves nothing, so its jobs are two
at once: one samples, the other edits solutions brought along. ``ratio_miniature``: the shipped miniature and the job of
the demo; the engine is so fast there that the service's own cost shows.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench import random_llama
from bench.replay import recording, straight
from bench.service import Service, need_vllm, report, running, unwind_when_told
from demo import problems
from demo.pipeline import PLANS
from errata.types import Problem
from tests.vllm_server import VllmServer

MINIATURE = Path(problems.__file__).parent / "model"
GENERATED = "vllm:generation_tokens_total"
Jobs = list[dict[str, Any]]


def large_jobs(tokens: int) -> Jobs:
    """What the random model is asked: samples for one job, edits of brought solutions for the other."""
    shared = {"shard_size": 8, "seed": 1}
    sampling = {"samples": 4, "temperature": 0.7, "max_tokens": tokens, "adaptive": False}
    editing = {"temperature": 0.8, "max_tokens": tokens}
    return [
        {"preset": "full-only", "config": {**shared, "sampling": sampling}},
        {"preset": "step-only", "config": {**shared, "sampling": {"source": "brought"}, "editing": editing}},
    ]


def small_jobs() -> Jobs:
    """The demo's job, with continuations where a step does not contradict itself."""
    continuations = {"when": "unproven", "k": 4, "temperature": 0.7, "max_tokens": 160}
    return [{"preset": "errata", "config": {**PLANS["full"].injection, "proof": {"continuations": continuations}}}]


class Comparison:
    """One language model, one server, one service: both sides measured in turn."""

    def __init__(self, server: VllmServer, service: Service, made: Sequence[Problem], jobs: Jobs, most: int) -> None:
        self._server, self._service, self._concurrency = server, service, most
        self._root = server.url.removesuffix("/v1")
        brought = [
            {"problem": at, "source": "gold", "text": str(problem.gold_solution)} for at, problem in enumerate(made)
        ]
        self._set = service.add_problems(problems.rows(made), brought)
        self._jobs = jobs
        self.shards = 0

    def run(self, model: Path, rounds: int) -> dict[str, Any]:
        """Record, then A B B A for every round. Tokens per second of both sides, all runs, and their ratio."""
        settings = {"model": "served", "tokenizer": str(model), "concurrency": self._concurrency, "few_shot": 0}
        self._service.add_model("served", {**settings, "base_url": self._server.url})
        with recording(self._root) as (address, requests):
            self._service.add_model("recorded", {**settings, "base_url": f"{address}/v1"})
            self._service.run(self._of("recorded"))
        self._service.run([{**self._of("served")[0], "config": {"sampling": {"samples": 1, "max_tokens": 1}}}])
        sides: dict[str, Callable[[], float]] = {
            "service": lambda: self._service.run(self._of("served"))[0],
            "straight": lambda: straight(self._root, requests, self._concurrency),
        }
        rates: dict[str, list[float]] = {name: [] for name in sides}
        for name in ("service", "straight", "straight", "service") * rounds:
            rates[name].append(self._rate(sides[name]))
            print(f"{name}: {rates[name][-1]:.0f} tokens/s", file=sys.stderr)
        best = {f"{name}_tokens_per_second": round(max(found), 1) for name, found in rates.items()}
        ratio = max(rates["service"]) / max(rates["straight"])
        runs = {name: [round(rate, 1) for rate in found] for name, found in rates.items()}
        return {"ratio": ratio, **best, "runs": runs, "requests": len(requests)}

    def _of(self, model: str) -> Jobs:
        return [{"problem_set": self._set, "language_model": model, **job} for job in self._jobs]

    def _rate(self, side: Callable[[], float]) -> float:
        self._server.empty_cache()
        before = self._server.metrics()[GENERATED]
        seconds = side()
        return (self._server.metrics()[GENERATED] - before) / seconds


def compare(model: Path, count: int, jobs: Jobs, args: argparse.Namespace, cache: str) -> dict[str, Any]:
    """Start server and service for a model, and measure."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(VllmServer(model, cache=cache))
        service = stack.enter_context(running(folder, embedded=args.embedded))
        made = problems.generate(count, seed=1)
        found = Comparison(server, service, made, jobs, args.concurrency).run(model, args.rounds)
        return {**found, "problems": count, "column": service.column}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print only the line of JSON")
    parser.add_argument("--only", choices=["large", "miniature"], help="one of the two")
    parser.add_argument("--problems", type=int, default=128, help="problems of the random model's jobs")
    parser.add_argument("--tokens", type=int, default=64, help="longest reply of the random model")
    parser.add_argument("--small-problems", type=int, default=1024, help="problems of the miniature's job")
    parser.add_argument("--concurrency", type=int, default=32, help="requests in flight, on both sides")
    parser.add_argument("--rounds", type=int, default=1, help="of four runs each")
    parser.add_argument("--embedded", action="store_true", help="SQLite and one process tree instead of production")
    args = parser.parse_args()
    need_vllm()
    unwind_when_told()
    result: dict[str, Any] = {"benchmark": "orchestration"}
    if args.only != "miniature":
        with tempfile.TemporaryDirectory() as folder:
            texts = [f"{p.question}\n{p.gold_solution}" for p in problems.generate(2000, seed=5)]
            result["parameters"] = random_llama.save(Path(folder), texts, "25m", 1024)
            found = compare(Path(folder), args.problems, large_jobs(args.tokens), args, "1G")
        result |= {"ratio": round(found.pop("ratio"), 3), "detail": found}
    if args.only != "large":
        found = compare(MINIATURE, args.small_problems, small_jobs(), args, "256M")
        result |= {"ratio_miniature": round(found.pop("ratio"), 3), "detail_miniature": found}
    report(result)


if __name__ == "__main__":
    main()
