"""Workers on three hosts, of which one is cut off amid a job and comes back: nothing is lost, and it works again."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo import problems
from tests.ops.hosts import hosts
from tests.ops.own_services import own_services
from tests.processes import Running, environment, errata, until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]
#: Seconds: short ones, so that a lost lease is seen soon.
QUICK = {"ERRATA_HEARTBEAT_SECONDS": "1", "ERRATA_LEASE_SECONDS": "6", "ERRATA_SWEEP_SECONDS": "2",
         "ERRATA_ASK_SECONDS": "2", "ERRATA_STATEMENT_SECONDS": "5", "ERRATA_LOG_LEVEL": "WARNING"}  # fmt: skip


def post_job(http: httpx.Client, count: int) -> str:
    """A job over brought solutions by rules, which needs no model; the same pairs each time."""
    made = problems.generate(count, seed=5)
    posted = http.post("/v1/problem-sets", json={"name": "hosts", "problems": problems.rows(made)})
    solutions = [{"problem": at, "source": "gold", "text": made[at].gold_solution} for at in range(count)]
    set_id = posted.json()["id"]
    http.post(f"/v1/problem-sets/{set_id}/solutions", json={"solutions": solutions})
    body = {"problem_set": set_id, "preset": "rules", "config": {"sampling": {"source": "brought"}, "shard_size": 1}}
    return str(http.post("/v1/injection-jobs", json=body).json()["id"])


def job(http: httpx.Client, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = http.get(f"/v1/injection-jobs/{job_id}").json()
    return found


def pairs(http: httpx.Client, job_id: str) -> list[tuple[str, str, str]]:
    """Question, chosen and rejected side of every pair of a job, in order."""
    found, cursor = [], None
    while True:
        page = http.get("/v1/pairs", params={"job": job_id, "limit": 200, **({"cursor": cursor} if cursor else {})})
        found += [(p["question"], p["chosen"], p["rejected"]) for p in page.json()["data"]]
        cursor = page.json().get("next_cursor")
        if cursor is None:
            return sorted(found)


def ended(http: httpx.Client, job_id: str) -> bool:
    return job(http, job_id)["state"] in ("succeeded", "partial", "failed")


def test_a_host_that_is_cut_off_loses_nothing_and_comes_back(tmp_path: Path) -> None:
    with ExitStack() as stack:
        address, three = stack.enter_context(hosts(3))
        postgres, redis = stack.enter_context(own_services(tmp_path, address))
        env = environment(tmp_path, DATABASE_URL=postgres.url.replace("+psycopg", ""), BROKER_URL=redis.url, **QUICK)
        assert errata("migrate", env=env).returncode == 0
        key = errata("keys", "create", "first", env=env).stdout.strip()
        api = stack.enter_context(Running("api", env={**env, "ERRATA_PORT": "0"}))
        stack.enter_context(Running("sweeper", env=env))
        workers = [stack.enter_context(Running("worker", env=env, within=host.within)) for host in three]
        http = stack.enter_context(
            httpx.Client(base_url=api.url(), headers={"Authorization": f"Bearer {key}"}, timeout=60)
        )
        calm = post_job(http, 60)
        until(lambda: ended(http, calm), "the calm job", 200)

        stormy = post_job(http, 60)
        until(lambda: job(http, stormy)["progress"]["shards"]["done"] >= 5, "some shards", 120)
        three[1].cut()
        until(lambda: ended(http, stormy), "the job to end without that host", 240)
        assert job(http, stormy)["state"] == job(http, calm)["state"] == "succeeded"
        assert pairs(http, stormy) == pairs(http, calm), "as if nothing had happened, none twice"
        assert job(http, stormy)["funnel"] == job(http, calm)["funnel"]

        three[1].mend()
        for at in (0, 2):
            workers[at].kill_tree()
        alone = post_job(http, 6)
        until(lambda: ended(http, alone), "a job by the host that came back", 200)
        assert job(http, alone)["state"] == "succeeded"
        assert not workers[1].ended
