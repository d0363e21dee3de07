"""What ``bench.scale`` measures: the same operations over stores of several sizes, each in a database of its own.

A store of pairs holds one job of ``OWN_PAIRS`` pairs, which is asked for, beside a job with all the others. A store of
shards holds one running job: as many shards that wait, at three stages, behind as many that are done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

from fastapi.testclient import TestClient
from sqlalchemy import text

from api.app import create_app
from api.settings import ApiSettings
from bench.browsing import API_FILTERS
from bench.store import add_store
from errata.output_config import DatasetConfig
from models import leases, migrate
from models.base import new_id
from models.choosing import choose_shard, unheard_shard
from models.jobs import InjectionJob, Shard
from models.outputs import Dataset
from models.session import Database
from models.settings import StoreSettings
from models.states import Stage
from models.summaries import add_summary
from models.workspaces import DEFAULT_WORKSPACE, ProblemSet, Workspace
from workers.app import GENERATION, create_celery
from workers.dispatch import Dispatcher
from workers.engines.pool import EnginePool
from workers.judge import JudgePool
from workers.lifecycle import STAGE_ORDER, Hint, stages_of
from workers.settings import WorkerSettings
from workers.stages import STAGES
from workers.stages.base import StageContext
from workers.sweeper import Sweeper

OWN_PAIRS = 10_000
RUNNING = 16  # shards
_LIMIT = 40  # rows of a page
_WAITING = "inj_waiting"
_LEASE_SECONDS = 7200
_FILL_SECONDS = 3600.0  # of one statement

Operations = dict[str, Callable[[], object]]


class Silent(Dispatcher):
    """Sends no hint, and says that none waits."""

    def __init__(self) -> None:
        pass

    def send(self, hints: Iterable[Hint]) -> int:
        """Say how many there were."""
        return len(list(hints))

    def waiting(self, queue: str) -> int:  # noqa: ARG002
        """None."""
        return 0


def client_of(database: Database, home: Path) -> TestClient:
    """The application over this database, in this process."""
    app = create_app(database, StoreSettings(ERRATA_HOME=home), Dispatcher(create_celery("memory://")), ApiSettings())
    return TestClient(app, base_url="http://127.0.0.1:8000")


def fill_pairs(url: str, pairs: int, texts: Literal["whole", "short"]) -> None:
    """A store of so many pairs in an empty database."""
    migrate.upgrade(url)
    database = Database(url, statement_seconds=_FILL_SECONDS)
    if pairs > OWN_PAIRS:
        add_store(database, pairs - OWN_PAIRS, name="rest", texts=texts, tell=True)
    add_store(database, OWN_PAIRS, name="own", texts=texts)
    database.dispose()


def pair_operations(database: Database, home: Path, judge: JudgePool) -> Operations:
    """Pages by each filter, in the workspace and within a job; status and lists; the freeze of a job."""
    client = client_of(database, home)

    def get(address: str) -> Callable[[], object]:
        return lambda: client.get(address).raise_for_status()

    found: Operations = {}
    for filters in API_FILTERS:
        told = "&".join(f"{name}={value}" for name, value in filters.items()) or "all"
        found[f"pairs {told}"] = get(f"/v1/pairs?limit={_LIMIT}&{told if filters else ''}")
        found[f"pairs of a job {told}"] = get(f"/v1/pairs?limit={_LIMIT}&job=inj_own&{told if filters else ''}")
    found |= {
        "status": get("/v1/injection-jobs/inj_own"),
        "funnel": get("/v1/injection-jobs/inj_own/funnel"),
        "usage": get("/v1/usage"),
        "list jobs": get(f"/v1/injection-jobs?limit={_LIMIT}"),
        "list jobs by state": get(f"/v1/injection-jobs?state=succeeded&limit={_LIMIT}"),
        "list problem sets": get(f"/v1/problem-sets?limit={_LIMIT}"),
        "list problems": get(f"/v1/problem-sets/pset_own/problems?limit={_LIMIT}"),
        "list solutions": get(f"/v1/injection-jobs/inj_own/solutions?limit={_LIMIT}"),
        "list outcomes": get(f"/v1/injection-jobs/inj_own/problems?limit={_LIMIT}"),
        "list datasets": get(f"/v1/datasets?limit={_LIMIT}"),
        "freeze": lambda: freeze(database, home, judge),
    }
    return found


def freeze(database: Database, home: Path, judge: JudgePool) -> None:
    """Freeze the job of ``OWN_PAIRS`` pairs as a worker does, default shapes and gates."""
    config = DatasetConfig(jobs=["inj_own"])
    with database.begin() as session:
        row = Dataset(
            id=new_id("ds"), workspace_id=DEFAULT_WORKSPACE, name="bench", config=config.model_dump(mode="json")
        )
        session.add(row)
        session.flush()
        shard = Shard(id=new_id("shard"), dataset_id=row.id, position=0, stage=Stage.FREEZE)
        session.add(shard)
        session.flush()
        lease = leases.claim(session, shard.id, "bench", _LEASE_SECONDS)
    if lease is None:
        raise RuntimeError("the dataset could not be claimed")
    context = StageContext(database, StoreSettings(ERRATA_HOME=home), lease, EnginePool(), judge, lambda: False)
    finish = STAGES[Stage.FREEZE](context)
    with database.begin() as session:
        leases.finish(session, lease, finish.next_stage)
        finish.write(session)
        if session.get_one(Dataset, lease.owner_id, populate_existing=True).manifest is None:
            raise RuntimeError("the freeze failed")


def fill_shards(url: str, count: int) -> None:
    """A running job with so many shards that wait, in an empty database."""
    migrate.upgrade(url)
    database = Database(url)
    with database.begin() as session:
        session.merge(Workspace(id=DEFAULT_WORKSPACE, name="default"))
        session.flush()
        session.add(ProblemSet(id="pset", workspace_id=DEFAULT_WORKSPACE, name="p", domain="math", content_sha256="0"))
        session.flush()
        owner = {"workspace_id": DEFAULT_WORKSPACE, "problem_set_id": "pset", "state": "running"}
        job = InjectionJob(id=_WAITING, **owner, config={"preset": "rules"})
        session.add(job)
        session.flush()
        add_summary(session, job)
        session.flush()
        session.execute(_SHARDS, {"job": _WAITING, "waiting": count, "running": RUNNING})
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM (ANALYZE) shards, injection_jobs")
    database.dispose()


# In order of position: those that are done, those that run, and those that wait.
_SHARDS = text(
    "INSERT INTO shards (id, injection_job_id, position, start, stop, stage, state, ledger, fence, failures,"
    " interruptions, alone, created_at, hinted_at, worker, lease_expires_at)"
    " SELECT 'shard_' || n, :job, n, n * 8, n * 8 + 8,"
    " CASE WHEN n < :waiting THEN 'pair' ELSE (ARRAY['sample', 'edit', 'grade'])[1 + mod(n, 3)] END,"
    " CASE WHEN n < :waiting THEN 'done' WHEN n < :waiting + :running THEN 'running' ELSE 'queued' END,"
    " '{}', 1, 0, 0, false, now(), now() - interval '1 hour',"
    " CASE WHEN n >= :waiting AND n < :waiting + :running THEN 'other:1' END,"
    " CASE WHEN n >= :waiting AND n < :waiting + :running THEN now() + interval '1 day' END"
    " FROM generate_series(0, 2 * CAST(:waiting AS INTEGER) + CAST(:running AS INTEGER) - 1) AS n"
)


def shard_operations(database: Database, home: Path) -> Operations:
    """What is done while shards wait: a claim with its choice, what idle workers and sweepers ask, status and list."""
    client = client_of(database, home)
    with database.read() as session:
        named = session.execute(text("SELECT id FROM shards WHERE state = 'queued' ORDER BY position DESC")).scalar()
    # Few hints a sweep, so that the smallest store has as many to give as the largest.
    sweeper = Sweeper(database, Silent(), WorkerSettings(resend_limit=16))

    def claim() -> None:
        with database.begin() as session:
            chosen = choose_shard(session, str(named), STAGE_ORDER[GENERATION])
            if chosen is None:
                raise RuntimeError("no shard waits")
            known: Any = {"owner": chosen.owner, "begun": chosen.begun, "limited": chosen.limited}
            lease = leases.claim(session, chosen.shard_id, "bench", _LEASE_SECONDS, stages_of(GENERATION), **known)
        with database.begin() as session:
            if lease is None or not leases.release(session, lease):
                raise RuntimeError("the shard could not be claimed and given back")

    def ask() -> None:
        with database.read() as session:
            if unheard_shard(session, stages_of(GENERATION), 2.0) is None:
                raise RuntimeError("no shard waits")

    def end() -> None:
        with database.look() as session:
            if not leases.has_open_shards(session, InjectionJob, _WAITING):
                raise RuntimeError("no shard waits")

    def get(address: str) -> Callable[[], object]:
        return lambda: client.get(address).raise_for_status()

    return {
        "claim and release": claim,
        "an idle worker asks": ask,
        "whether a job has ended": end,
        "sweep": sweeper.sweep,
        "status of a running job": get(f"/v1/injection-jobs/{_WAITING}"),
        "list running jobs": get(f"/v1/injection-jobs?state=running&limit={_LIMIT}"),
    }
