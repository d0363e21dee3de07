"""Each role's very command from docker-compose.yml, run as a process against PostgreSQL and Redis."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from demo import problems
from tests.ops.test_compose import OURS, ROOT, SERVICES
from tests.processes import Running, environment, errata, until

pytestmark = [pytest.mark.services, pytest.mark.slow]


#: Those of the profile without a GPU: this machine may have none, and the others run the same commands.
ROLES = sorted(name for name in OURS if SERVICES[name].get("profiles", ["cpu"]) == ["cpu"])


def role_environment(name: str, home: Path, database_url: str, broker_url: str) -> dict[str, str]:
    """The file's environment of a role, with this machine's services and free ports. The database comes as a secret."""
    secrets = home / "secrets"
    secrets.mkdir(exist_ok=True)
    for secret in SERVICES[name]["secrets"]:
        (secrets / secret).write_text(database_url if secret == "database_url" else "the-operators-own-token\n")
    given = {key: str(value) for key, value in SERVICES[name]["environment"].items()}
    given |= {"ERRATA_SECRETS": str(secrets), "BROKER_URL": broker_url, "ERRATA_LOG_LEVEL": "WARNING"}
    given |= {"ERRATA_METRICS_HOST": "127.0.0.1", "ERRATA_METRICS_PORT": "0", "ERRATA_GPU_TURNS": "auto"}
    given.pop("ERRATA_HOME")
    if "ERRATA_PORT" in given:
        given["ERRATA_PORT"] = "0"
    return environment(home, **given)


def command(name: str) -> list[str]:
    """The role's command, with the defaults of what the file leaves to settings, and paths of this checkout."""
    words = [re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", word) for word in SERVICES[name]["command"]]
    return [re.sub(r"^/app/", f"{ROOT}/", word) for word in words]


def test_every_role_runs_and_together_they_do_a_job_though_one_is_killed(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    env = {name: role_environment(name, tmp_path, postgres_url, broker_url) for name in ROLES}
    for name in ("migrate", "miniature"):  # those that end by themselves
        done = errata(*command(name), env=env[name])
        assert done.returncode == 0, done.stderr
    key = errata("keys", "create", "first", env=env["migrate"]).stdout.strip()
    with ExitStack() as stack:
        running = {
            name: stack.enter_context(Running(*command(name), env=env[name]))
            for name in ROLES
            if SERVICES[name]["restart"] != "no"
        }
        url = running["api"].url()
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as http:
            assert http.get("/v1/models/miniature").status_code == 200
            job_id = post_job(http)

            def shards_done() -> int:
                return int(http.get(f"/v1/injection-jobs/{job_id}").json()["progress"]["shards"]["done"])

            until(lambda: shards_done() > 0, "the first shard")
            running["worker-grading"].kill_tree()
            # As `restart: unless-stopped` does.
            running["worker-grading"] = stack.enter_context(
                Running(*command("worker-grading"), env=env["worker-grading"])
            )
            until(
                lambda: http.get(f"/v1/injection-jobs/{job_id}").json()["state"] in ("succeeded", "failed"),
                "the job to end",
                300,
            )
            assert http.get(f"/v1/injection-jobs/{job_id}").json()["state"] == "succeeded"
            assert http.get("/v1/pairs", params={"job": job_id}).json()["data"]
        for name, process in running.items():
            assert not process.ended, f"{name} ended: {process.text}"
            check_health(name, env[name], url)
        for name, process in running.items():
            assert process.stop() == 0, f"{name}: {process.text}"
            assert "Traceback" not in process.text, name


def post_job(http: httpx.Client) -> str:
    """A job over brought solutions, which needs no model."""
    made = problems.generate(80, seed=3)
    posted = http.post("/v1/problem-sets", json={"name": "roles", "problems": problems.rows(made)})
    assert posted.status_code == 201, posted.text
    solutions = [{"problem": at, "source": "gold", "text": made[at].gold_solution} for at in range(len(made))]
    set_id = posted.json()["id"]
    assert http.post(f"/v1/problem-sets/{set_id}/solutions", json={"solutions": solutions}).json()["added"] == 80
    body = {"problem_set": set_id, "preset": "rules", "config": {"sampling": {"source": "brought"}, "shard_size": 2}}
    job = http.post("/v1/injection-jobs", json=body)
    assert job.status_code == 202, job.text
    return str(job.json()["id"])


def check_health(name: str, env: dict[str, str], url: str) -> None:
    """The role's health check from the file, with the API's address where it names one."""
    test = SERVICES[name]["healthcheck"]["test"]
    assert test[:2] == ["CMD", "errata"]
    words = [re.sub(r"^http://127\.0\.0\.1:8000", url, word) for word in test[2:]]
    done = errata(*words, env=env)
    assert done.returncode == 0, f"{name}: {done.stderr}"
