"""The rows of the promises that need killed processes: see docs/reliability.md for their figures in full size."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.chaos import embedded, storm
from tests.chaos.sizes import size

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3600)]
WHOLE = {"state": "succeeded", "lost": 0, "duplicated": 0, "ledger_adds_up": True}


def test_kill_storm(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    kills, shards = size(50, 5), size(600, 30)
    report = storm(tmp_path, kills, shards, services=0, seconds=1800, seed=1)
    record_property("report", report)
    assert report.items() >= WHOLE.items()
    assert report["kills"] == kills


def test_redis_and_postgres_are_killed_ten_times_each(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Every kill takes one of the two servers, by chance."""
    kills, shards = size(20, 4), size(400, 30)
    report = storm(tmp_path, kills, shards, services=1, seconds=1800, seed=2)
    record_property("report", report)
    assert report.items() >= WHOLE.items()
    assert report["service_kills"] == kills


def test_embedded_crash(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    kills, shards = size(10, 2), size(60, 12)
    report = embedded(tmp_path, kills, shards, random.Random(3))
    record_property("report", report)
    assert report.items() >= WHOLE.items()
