"""The database's clock: shifted by the right amount, in statements that are compiled once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from models.base import db_now
from models.jobs import Shard
from models.session import Database

SHIFTS = [-86400.0, -0.25, 0.0, 0.000125, 1.0, 3600.5, 2.0e6]


@pytest.mark.parametrize("seconds", SHIFTS)
def test_the_offset_is_in_seconds(database: Database, seconds: float) -> None:
    with database.read() as session:
        before, shifted, after = (session.scalars(select(db_now(shift))).one() for shift in (0.0, seconds, 0.0))
    rounding = timedelta(milliseconds=1)  # SQLite's clock
    assert before - rounding <= shifted - timedelta(seconds=seconds) <= after + rounding


def test_other_offsets_share_one_compiled_statement(database: Database) -> None:
    """A claim and an end of a stage name the clock: compiling them anew took a third of what both cost."""
    cache: dict[Any, Any] = {}
    with database.engine.connect().execution_options(compiled_cache=cache) as connection:
        for seconds in (1.0, 60.0, 0.5):
            connection.execute(
                update(Shard).where(Shard.next_run_at <= db_now()).values(lease_expires_at=db_now(seconds))
            )
    assert len(cache) == 1
