"""The rows of the promises that need killed processes: see docs/reliability.md for their figures in full size."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.chaos import embedded, storm

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3600)]
FULL = os.environ.get("ERRATA_CHAOS") == "full"
WHOLE = {"state": "succeeded", "lost": 0, "duplicated": 0, "ledger_adds_up": True}


def test_kill_storm(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    kills, shards = (50, 600) if FULL else (6, 60)
    report = storm(tmp_path, kills, shards, services=0, seconds=1800, seed=1)
    record_property("report", report)
    assert report.items() >= WHOLE.items()
    assert report["kills"] == kills


def test_redis_and_postgres_are_killed_ten_times_each(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Every kill takes one of the two servers, by chance."""
    kills, shards = (20, 400) if FULL else (6, 60)
    report = storm(tmp_path, kills, shards, services=1, seconds=1800, seed=2)
    record_property("report", report)
    assert report.items() >= WHOLE.items()
    assert report["service_kills"] == kills


def test_embedded_crash(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    kills, shards = (10, 60) if FULL else (2, 20)
    report = embedded(tmp_path, kills, shards, random.Random(3))
    record_property("report", report)
    assert report.items() >= WHOLE.items()
