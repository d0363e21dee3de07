"""Leases under many hands: eight writers at once on SQLite, ten thousand steps of the lease machine on both."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from models import leases
from models.jobs import Shard
from models.migrate import Base
from models.session import Database
from tests.chaos.sizes import size
from tests.models.test_lease_machine import add_job, run_machine

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3600)]

WRITERS, SHARDS = 8, 16
CLAIMS = size(10_000, 400)
STEPS = size(10_000, 500)


def claim_and_release(url: str, number: int, claims: int) -> tuple[list[tuple[str, int]], list[str]]:
    """Claim shards at random and give them back, until so many claims succeeded: what was claimed, and errors."""
    database, rng = Database(url), random.Random(number)
    taken: list[tuple[str, int]] = []
    errors: list[str] = []
    while len(taken) < claims and not errors:
        try:
            with database.begin() as session:
                lease = leases.claim(session, f"s{rng.randrange(SHARDS)}", f"w{number}", 60)
            if lease is not None:
                taken.append((lease.shard_id, lease.fence))
                with database.begin() as session:
                    assert leases.release(session, lease)
            time.sleep(rng.uniform(0, 0.004))  # as a worker computes between two transactions
        except (OperationalError, AssertionError) as error:
            errors.append(repr(error))
    database.dispose()
    return taken, errors


def test_sqlite_contention(tmp_path: Path) -> None:
    """No claim succeeds twice under one fence, and nobody hears that the database is locked."""
    url = f"sqlite:///{tmp_path / 'errata.db'}"
    database = Database(url)
    Base.metadata.create_all(database.engine)
    add_job(database)
    with database.begin() as session:
        session.add_all(Shard(id=f"s{at}", injection_job_id="j", position=at, stage="sample") for at in range(SHARDS))
    database.dispose()
    with multiprocessing.get_context("fork").Pool(WRITERS) as pool:
        told = pool.starmap(claim_and_release, [(url, number, CLAIMS // WRITERS) for number in range(WRITERS)])
    assert [error for _, errors in told for error in errors] == []
    claims = Counter(claim for taken, _ in told for claim in taken)
    assert len(claims) == claims.total() == CLAIMS
    with database.read() as session:
        assert sum(session.get_one(Shard, f"s{at}").fence for at in range(SHARDS)) == CLAIMS
    database.dispose()


def test_10000_steps_of_the_lease_machine(database: Database) -> None:
    """Claims, heartbeats, ends, failures and expiries in any order, held against a model after every step."""
    assert run_machine(database, STEPS // 32) >= STEPS
