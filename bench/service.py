"""The whole service for a benchmark: its processes, jobs posted to it, and how long they took."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from tests.ops.services import own_broker, own_database, postgres_answers, redis_answers
from tests.processes import ROOT, Running, environment, errata

JOB_SECONDS = 900
_LOOK_SECONDS = 1.0
_LOGGED = 4000  # characters of the service's log that a failure shows


class Service:
    """A running service that answers at ``http``."""

    def __init__(
        self, http: httpx.Client, env: Mapping[str, str], column: str, log: Callable[[], str], roles: Sequence[Running]
    ) -> None:
        """``log``: what the service has written so far. ``env``: of its processes, which are ``roles``."""
        self.http, self.env, self.column, self._log, self.roles = http, env, column, log, roles

    @property
    def database_url(self) -> str:
        """The database of a service that is not embedded."""
        return self.env["DATABASE_URL"]

    def add_model(self, name: str, config: Mapping[str, Any], engine: str = "openai") -> None:
        """Register a language model, by default a served one."""
        settings = [f"--setting={key}={value}" for key, value in config.items()]
        added = errata("models", "add", name, "--local", "--engine", engine, *settings, env=self.env)
        if added.returncode:
            raise RuntimeError(added.stderr)

    def add_problems(self, problems: Sequence[Mapping[str, Any]], solutions: Sequence[Mapping[str, Any]] = ()) -> str:
        """Post a problem set, with solutions brought along; its id."""
        posted = self.post("/v1/problem-sets", {"name": "bench", "problems": list(problems)})
        if solutions:
            self.post(f"/v1/problem-sets/{posted['id']}/solutions", {"solutions": list(solutions)})
        return str(posted["id"])

    def run(
        self, jobs: Sequence[Mapping[str, Any]], seconds: float = JOB_SECONDS
    ) -> tuple[float, list[dict[str, Any]]]:
        """Post the jobs at once and see them to their end: seconds from the first post, and the ended jobs.

        The end is the one the service notes: looking for it more often would only keep it from its work.
        """
        began = time.time()
        urls = [f"/v1/injection-jobs/{self.post('/v1/injection-jobs', job)['id']}" for job in jobs]
        for url in urls:
            while not self.get(url)["finished_at"]:
                if time.time() > began + seconds:
                    raise RuntimeError(f"a job did not end within {seconds:g} s")
                time.sleep(_LOOK_SECONDS)
        ended = [self.get(url) for url in urls]
        if any(job["state"] != "succeeded" or job["partial"] for job in ended):
            states = [(job["state"], job["error"]) for job in ended]
            raise RuntimeError(f"a job did not succeed: {states}\n{self._log()[-_LOGGED:]}")
        return max(datetime.fromisoformat(job["finished_at"]).timestamp() for job in ended) - began, ended

    def all(self, url: str) -> list[dict[str, Any]]:
        """Every row of a list, over its pages."""
        rows: list[dict[str, Any]] = []
        page: dict[str, Any] = {"next": ""}
        while page["next"] is not None:
            given = {"limit": 500, **({"after": page["next"]} if page["next"] else {})}
            page = self.get(str(httpx.URL(url).copy_merge_params(given)))
            rows += page["data"]
        return rows

    def post(self, url: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """What the service answers to a body. Raises RuntimeError with its words where it refuses."""
        answer = self.http.post(url, json=body)
        if answer.is_error:
            raise RuntimeError(answer.text)
        return dict(answer.json())

    def finished(self, url: str, body: Mapping[str, Any], seconds: float = JOB_SECONDS) -> dict[str, Any]:
        """Post anything that runs, see it to its end, and answer with it. Raises RuntimeError where it fails."""
        until, at = time.time() + seconds, f"{url}/{self.post(url, body)['id']}"
        while not (row := self.get(at))["finished_at"]:
            if time.time() > until:
                raise RuntimeError(f"{at} did not end within {seconds:g} s")
            time.sleep(_LOOK_SECONDS)
        if row["state"] != "succeeded":
            raise RuntimeError(f"{at}: {row['state']}, {row.get('error')}\n{self._log()[-_LOGGED:]}")
        return row

    def get(self, url: str) -> dict[str, Any]:
        """What the service answers."""
        return dict(self.http.get(url).raise_for_status().json())


@contextmanager
def running(
    folder: Path,
    *,
    embedded: bool,
    trainer: bool = False,
    workers: bool = True,
    variables: Mapping[str, str] | None = None,
) -> Iterator[Service]:
    """The service as production runs it, on PostgreSQL and Redis; embedded (SQLite) where asked or neither answers.

    ``trainer``: with the embedded service's trainer. ``workers``: with production's workers, not for the caller to add.
    ``variables``: more of its processes' environment.
    """
    embedded = embedded or not (postgres_answers() and redis_answers())
    roles: list[Running] = []
    with ExitStack() as stack:
        env = environment(folder, ERRATA_PORT="0", **(variables or {}))
        if embedded:
            http = stack.enter_context(Running("serve", *([] if trainer else ["--no-trainer"]), env=env))
            roles.append(http)
        else:
            env |= {
                "DATABASE_URL": stack.enter_context(own_database()),
                "BROKER_URL": stack.enter_context(own_broker()),
            }
            made = errata("migrate", env=env)
            if made.returncode:
                raise RuntimeError(made.stderr)
            http = stack.enter_context(Running("api", env=env))
            roles.append(http)
            wanted = [["sweeper"]]
            if workers:
                wanted += [["worker", "--queues", "generation"], ["worker", "--queues", "grading"]]
            roles += [stack.enter_context(Running(*role, env=env)) for role in wanted]
        client = stack.enter_context(httpx.Client(base_url=http.url(), timeout=120))
        yield Service(client, env, "embedded" if embedded else "production", lambda: http.text, roles)


def need_vllm() -> None:
    """Name the interpreter that has vLLM: ERRATA_VLLM_PYTHON, or what `make test-vllm` builds. Ends without either."""
    built = ROOT / ".venv-vllm" / "bin" / "python"
    if not os.environ.get("ERRATA_VLLM_PYTHON"):
        if not built.exists():
            raise SystemExit("this benchmark needs vLLM: run `make test-vllm` once, or set ERRATA_VLLM_PYTHON")
        os.environ["ERRATA_VLLM_PYTHON"] = str(built)


def unwind_when_told() -> None:
    """Make SIGTERM end the benchmark as Ctrl-C does, so that every server and role it started ends with it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def report(result: Mapping[str, Any]) -> None:
    """The one line of JSON."""
    print(json.dumps(result))
