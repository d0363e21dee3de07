"""Mined errors in a dataset: audited apart from edits, with their error rates as a column."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from models.jobs import PairRow
from models.session import Database
from models.settings import StoreSettings
from tests.workers.freezing.conftest import PROBLEMS, Freeze, both

RATES = (0.125, None, 0.9, 1 / 3)


@pytest.fixture
def mined(database: Database, job: str) -> str:
    """The job with one step pair of each problem mined."""
    with database.begin() as session:
        steps = select(PairRow).where(PairRow.type == "step").order_by(PairRow.pair_key)
        for at, pair in enumerate(session.scalars(steps)):
            pair.error_rate = RATES[at % 4]
            if at % 2:
                pair.editor = pair.source = "mined"
    return job


def test_the_audit_and_the_rates_of_mined_pairs(
    frozen: Freeze, store: StoreSettings, database: Database, mined: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("errata.audit.KIND_PAIRS", 20)
    dataset = frozen(shapes=["steps_and_full"], split={"test": 0.2})
    manifest = dataset.manifest or {}
    audit = manifest["audit"]
    assert set(audit) == {"step", "full", "mined"}
    assert (audit["step"]["pairs"], audit["mined"]["pairs"]) == (PROBLEMS, PROBLEMS)
    assert "the sides of mined pairs apart" in audit["mined"]["sentence"]
    assert {group["form"] for group in manifest["audit_by_kind"]} == {"stands", "mined"}
    with database.read() as session:
        stored = {pair.id: pair.error_rate for pair in session.scalars(select(PairRow))}
    rows = both(store, dataset, "steps_and_full")
    assert {row["pair_id"]: row["error_rate"] for row in rows} == stored
    assert {row["error_rate"] for row in rows if row["type"] == "full"} == {None}
    only = frozen(editors=["mined"], shapes=["steps_and_full"], types=["step"])
    assert set((only.manifest or {})["audit"]) == {"mined"}
