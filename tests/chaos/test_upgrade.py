"""The schema is upgraded amid a job: workers of the version before and of this one end it together."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from bench.storms import SETTINGS, WORKER, compare, ledger_adds_up, pairs_of
from models import migrate
from models.session import Database
from models.states import JobState
from tests.chaos.posted import KINDS_OF_SUMS, post_sums, state_of, sum_at
from tests.chaos.sizes import size
from tests.lacking import lacking
from tests.ops.own_services import own_services
from tests.processes import ROOT, Running, environment, until

VERSIONS = "migrations/versions"
SHARDS = size(200, 24)
POST = "\nimport sys; print(post_sums(Database(sys.argv[1]), int(sys.argv[2]))[0])\n"


def git(*arguments: str) -> bytes:
    """Standard output of git; empty where the history is not here."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else b""


def migrations_at(commit: str) -> set[bytes]:
    """The migrations of a commit, each with its content's hash."""
    return {line for line in git("ls-tree", commit, f"{VERSIONS}/").splitlines() if line.endswith(b".py")}


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The newest earlier version whose migrations are some of today's and not all, as a folder."""
    today = migrations_at("HEAD")
    for commit in git("log", "--no-renames", "--format=%P", "-n", "40", "--", VERSIONS).decode().split():
        theirs = migrations_at(commit)
        if theirs and theirs < today:
            folder = tmp_path_factory.mktemp("before")
            with tarfile.open(fileobj=io.BytesIO(git("archive", commit))) as archive:
                archive.extractall(folder, filter="data")
            return folder
    return lacking("no earlier version is in this checkout's history: fetch it whole")


@contextmanager
def running(folder: Path, *arguments: str, env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A command of the code in this folder, killed at the end."""
    command = [sys.executable, "-m", "cli.main", *arguments]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, cwd=folder, env={**env, "PYTHONPATH": str(folder)}, **quiet)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.kill()
        process.wait(30)


def done_shards(url: str) -> int:
    """Shards that are done, whatever the schema."""
    engine = create_engine(url)
    with engine.connect() as connection:
        done = connection.execute(text("SELECT count(*) FROM shards WHERE state = 'done'")).scalar_one()
    engine.dispose()
    return int(done)


@pytest.mark.chaos
@pytest.mark.timeout(1800)
def test_upgrade_in_mid_run(before: Path, tmp_path: Path) -> None:
    with own_services(tmp_path) as (postgres, redis):
        env = environment(tmp_path, DATABASE_URL=postgres.url, BROKER_URL=redis.url, **SETTINGS)
        old = {**env, "PYTHONPATH": str(before)}
        subprocess.run([sys.executable, "-m", "cli.main", "migrate"], cwd=before, env=old, check=True)
        script = (ROOT / "tests" / "chaos" / "posted.py").read_text(encoding="utf-8") + POST
        posted = [sys.executable, "-c", script, postgres.url, str(SHARDS)]
        job_id = subprocess.run(posted, cwd=before, env=old, check=True, capture_output=True, text=True).stdout.strip()
        with running(before, *WORKER, env=env) as worker, running(before, "sweeper", env=env):
            until(lambda: done_shards(postgres.url) >= SHARDS // 8, "the first shards of the old version", 300)
            migrate.upgrade(postgres.url)
            assert migrate.check(postgres.url) == []
            upgraded_at = done_shards(postgres.url)
            assert upgraded_at < SHARDS, "amid the job"
            until(lambda: done_shards(postgres.url) > upgraded_at + 1, "the old worker on the new schema", 300)
            assert worker.poll() is None
            with Running(*WORKER, env=env), Running("sweeper", env=env):
                database = Database(postgres.url)
                calm_id, _ = post_sums(database, min(SHARDS, KINDS_OF_SUMS))
                for job in (job_id, calm_id):
                    until(lambda job=job: state_of(database, job)[0] == JobState.SUCCEEDED, "both jobs' ends", 600)  # type: ignore[misc]
        times = Counter(sum_at(position)[0] for position in range(SHARDS))
        assert compare(pairs_of(database, job_id), pairs_of(database, calm_id), times) == (0, 0)
        assert ledger_adds_up(database, job_id)
        database.dispose()
