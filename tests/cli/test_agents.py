"""``errata mcp`` as an agent's program uses it: the SDK's own client, over standard input and output."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from mcp import Client, StdioServerParameters
from sqlalchemy import update

from cli.agents import make_server
from errata_client import Errata
from models.jobs import InjectionJob
from models.session import Database
from tests.api.conftest import PROBLEMS, bring
from tests.api.http.test_auth import make_key
from tests.api.test_injection_jobs import add_outputs
from tests.cli.served import serving
from tests.processes import ROOT, environment

Use = Callable[[Client], Awaitable[None]]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Database]]:
    with serving(tmp_path_factory.mktemp("service")) as made:
        yield made


def with_agent(service: tuple[str, Database], home: Path, scopes: list[str], use: Use) -> None:
    """Start the server with a key of these scopes, as an agent's program does, and use it."""
    _, headers = make_key(service[1], scopes=scopes)
    own = environment(home)
    env = {name: own[name] for name in ("ERRATA_HOME", "PYTHONPATH", "PATH")}
    env |= {"ERRATA_API_KEY": headers["authorization"].split()[1], "ERRATA_CONFIG": str(home / "none.json")}
    command = ["-m", "cli.main", "mcp", "--url", service[0]]
    server = StdioServerParameters(command=sys.executable, args=command, env=env, cwd=ROOT)

    async def run() -> None:
        with anyio.fail_after(120):
            async with Client(server) as client:
                await use(client)

    anyio.run(run)


async def asked(client: Client, tool: str, **arguments: Any) -> Any:
    answer = await client.call_tool(tool, arguments)
    assert not answer.is_error, answer.content
    assert answer.structured_content is not None
    found = answer.structured_content
    return found["result"] if set(found) == {"result"} else found


async def refusal(client: Client, tool: str, **arguments: Any) -> str:
    answer = await client.call_tool(tool, arguments)
    assert answer.is_error
    return str(answer.content)


def test_an_agent_starts_a_job_watches_it_and_reads_its_pairs(service: tuple[str, Database], tmp_path: Path) -> None:
    url, database = service
    _, headers = make_key(database, scopes=["write"])

    async def use(client: Client) -> None:
        made = await asked(client, "create_problem_set", name="sums", problems=PROBLEMS)
        with httpx.Client(base_url=url, headers=headers) as http:
            bring(http, made["id"])  # type: ignore[arg-type]
        brought = {"sampling": {"source": "brought"}}
        job = await asked(client, "start_injection", problem_set=made["id"], preset="rules", config=brought)
        assert job["state"] == "queued"
        seen: list[str] = []

        async def on_progress(_made: float, _total: float | None, message: str | None) -> None:
            seen.append(message or "")

        waited = await client.call_tool(
            "watch_job", {"job_id": job["id"], "timeout_seconds": 0.1}, progress_callback=on_progress
        )
        assert waited.structured_content is not None
        assert waited.structured_content["ended"] is False
        assert seen[0].startswith(f"{job['id']} queued")
        pairs = add_outputs(database, job["id"])
        with database.begin() as session:
            session.execute(update(InjectionJob).values(state="succeeded"))
        assert (await asked(client, "watch_job", job_id=job["id"]))["ended"] is True
        listed = await asked(client, "list_pairs", job=job["id"], type="step")
        assert {row["id"] for row in listed} <= set(pairs)
        assert (await asked(client, "get_pair", pair_id=listed[0]["id"]))["rejected"] == "1 = 2"
        assert [row["id"] for row in await asked(client, "list_jobs")] == [job["id"]]
        assert "It waits" in (await asked(client, "job_log", job_id=job["id"]))[0]
        assert "already ended" in await refusal(client, "change_job", job_id=job["id"], action="cancel")
        assert "there is no such problem set" in await refusal(client, "start_injection", problem_set="pset_x")
        assert "is no job" in await refusal(client, "get_job", job_id="x")

    with_agent(service, tmp_path, ["write"], use)


def test_it_may_what_the_key_may(service: tuple[str, Database], tmp_path: Path) -> None:
    async def use(client: Client) -> None:
        assert await asked(client, "list_jobs") is not None
        told = await refusal(client, "create_problem_set", name="sums", problems=PROBLEMS)
        assert "lacks the scope 'write'" in told

    with_agent(service, tmp_path, ["read"], use)


def test_read_only_offers_nothing_that_starts_or_stores() -> None:
    async def names(read_only: bool) -> set[str]:
        with Errata("http://127.0.0.1:9") as errata:
            async with Client(make_server(errata, read_only=read_only)) as client:
                tools = (await client.list_tools()).tools
        if read_only:
            assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools)
        return {tool.name for tool in tools}

    fewer, every = anyio.run(names, True), anyio.run(names, False)
    assert {"start_injection", "start_training", "create_dataset", "change_job"} <= every - fewer
    assert {"list_pairs", "watch_job", "usage"} <= fewer


def test_a_service_that_is_away_is_told_before_the_first_message(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cli.main", "mcp", "--url", "http://127.0.0.1:9"]
    done = subprocess.run(command, env=environment(tmp_path), cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (4, "")
    assert "does not answer" in done.stderr
