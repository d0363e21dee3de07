"""The same job over transformers, a vLLM server and vLLM in process, as production runs it: PostgreSQL and Redis."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo import problems
from tests.processes import Running, environment, errata, until
from tests.vllm_server import VllmServer, vllm_python
from tests.workers.engines.conftest import IN_PROCESS, MODEL, START_SECONDS
from tests.workers.engines.jobs import GREEDY

pytestmark = [pytest.mark.vllm, pytest.mark.services, pytest.mark.slow, pytest.mark.timeout(START_SECONDS * 2)]


def _entries(server: VllmServer) -> dict[str, tuple[str, dict[str, Any]]]:
    return {
        "plain": ("transformers", {"path": str(MODEL), "device": "cpu"}),
        "served": ("openai", server.config(tokenizer=str(MODEL))),
        "in-process": ("vllm", {"path": str(MODEL), **IN_PROCESS}),
    }


def test_the_demos_job_through_vllm_ends_as_through_transformers(
    tmp_path: Path, postgres_url: str, broker_url: str, vllm_server: VllmServer
) -> None:
    env = environment(
        tmp_path,
        DATABASE_URL=postgres_url,
        BROKER_URL=broker_url,
        ERRATA_PORT="0",
        ERRATA_VLLM_PYTHON=vllm_python(),
        ERRATA_TORCH_THREADS="1",
    )
    assert errata("migrate", env=env).returncode == 0
    entries = _entries(vllm_server)
    for name, (engine, config) in entries.items():
        settings = [
            f"--setting={key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in config.items()
        ]
        added = errata("models", "add", name, "--local", "--engine", engine, *settings, env=env)
        assert added.returncode == 0, added.stderr
    with ExitStack() as stack:
        api = stack.enter_context(Running("api", env=env))
        for command in (["sweeper"], ["worker"]):
            stack.enter_context(Running(*command, env=env))
        http = stack.enter_context(httpx.Client(base_url=api.url(), timeout=60))
        posted = http.post(
            "/v1/problem-sets", json={"name": "p", "problems": problems.rows(problems.generate(8, seed=3))}
        )
        assert posted.status_code == 201, posted.text
        ended = {name: _job(http, posted.json()["id"], name) for name in entries}
    assert {job["state"] for job, _ in ended.values()} == {"succeeded"}
    assert ended["served"] == ended["plain"]
    assert ended["in-process"] == ended["plain"]
    assert ended["plain"][1]


def _job(http: httpx.Client, problem_set: str, model: str) -> tuple[dict[str, Any], list[tuple[str, ...]]]:
    """Post a job, wait for its end: its state, what became of samples (verdicts) and edits, and its pairs."""
    body = {"problem_set": problem_set, "language_model": model, "preset": "errata", "config": GREEDY}
    job = http.post("/v1/injection-jobs", json=body)
    assert job.status_code == 202, job.text
    url = f"/v1/injection-jobs/{job.json()['id']}"
    until(lambda: http.get(url).json()["state"] in ("succeeded", "failed"), f"{model}'s job to end", START_SECONDS)
    done = http.get(url).json()
    pairs = http.get("/v1/pairs", params={"job": done["id"], "limit": 100}).json()["data"]
    for counts in done["funnel"]["edits"]["by_editor"].values():
        counts.pop("cached_tokens")  # what a prefix cache served is the engine's own
    told = {"state": done["state"], "samples": done["funnel"]["samples"], "edits": done["funnel"]["edits"]}
    return told, sorted((p["type"], p["prefix"], p["chosen"], p["rejected"]) for p in pairs)
