"""An engine child that takes long to start: nobody who was cancelled waits for it."""

from __future__ import annotations

import threading
from pathlib import Path

import psutil
import pytest

from errata.prompts import solve_prompt
from tests.processes import until
from workers.engines.base import Cancelled, EngineError, GenerationRequest, ModelSpec
from workers.engines.pool import EnginePool
from workers.engines.process import ChildEngine

MODEL = ModelSpec("big", "vllm", {"path": "org/big"})
REQUESTS = [GenerationRequest(solve_prompt("1 + 1?"))]


@pytest.fixture
def slow_python(tmp_path: Path) -> str:
    """An interpreter that never gets done importing."""
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nexec sleep 600\n")
    script.chmod(0o755)
    return str(script)


def children() -> set[psutil.Process]:
    """Processes of this one that still run."""
    return {child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE}


def test_who_starts_it_and_who_waits_for_the_start_are_cancelled(slow_python: str) -> None:
    before, pool = children(), EnginePool(vllm_python=slow_python)
    stop = [threading.Event(), threading.Event()]
    ended: list[int] = []

    def ask(at: int) -> None:
        with pytest.raises(Cancelled):
            pool.generate(MODEL, REQUESTS, cancelled=stop[at].is_set)
        ended.append(at)

    threads = [threading.Thread(target=ask, args=[at]) for at in range(2)]
    threads[0].start()
    until(lambda: children() - before, "the child")
    threads[1].start()
    stop[1].set()
    threads[1].join(60)
    assert ended == [1], "the other still starts it"
    stop[0].set()
    threads[0].join(60)
    assert ended == [1, 0]
    assert not children() - before
    pool.close()


def test_one_that_never_starts_is_given_up(slow_python: str) -> None:
    with pytest.raises(EngineError, match="took too long to start"):
        ChildEngine("vllm", python=slow_python, start_seconds=0.3)
