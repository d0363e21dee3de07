"""A child that is restarted: started again when it ends, with growing waits, and ended when it is no longer wanted."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest

from cli.serve import RestartedChild
from tests.processes import until


def test_it_is_started_again_with_growing_waits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    starts = tmp_path / "starts"
    code = f"open({str(starts)!r}, 'a').write('x'); raise SystemExit(3)"
    with RestartedChild("helper", [sys.executable, "-c", code], first_wait=0.01):
        until(lambda: starts.exists() and len(starts.read_text()) >= 4, "four starts")
    told = [record.getMessage() for record in caplog.records]
    waits = [text.rpartition("again in ")[2] for text in told]
    assert all(text.startswith("the helper ended with status 3") for text in told)
    assert waits[:3] == ["0.01 s", "0.02 s", "0.04 s"]


def test_it_ends_with_its_block_and_is_not_started_again(caplog: pytest.LogCaptureFixture) -> None:
    with RestartedChild("helper", [sys.executable, "-c", "import sys; sys.stdin.read()"]) as restarted:
        child = psutil.Process(restarted.pid)
        assert child.is_running()
    assert not child.is_running()
    assert not caplog.records
