"""An engine child that takes long to start, or hangs: nobody waits for it who was cancelled, or for ever."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest

from errata.prompts import solve_prompt
from tests.processes import until
from workers.engines.base import Cancelled, EngineError, GenerationRequest, ModelSpec
from workers.engines.pool import EnginePool
from workers.engines.process import ChildEngine
from workers.engines.registry import ENGINES

MINIATURE = Path(__file__).resolve().parents[3] / "demo" / "model"
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
    before, pool = children(), EnginePool(pythons={"vllm": slow_python})
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
        ChildEngine(ENGINES["vllm"], python=slow_python, start_seconds=0.3)


def test_one_that_hangs_is_ended_and_one_that_works_is_not() -> None:
    model = ModelSpec("mini", "transformers", {"path": str(MINIATURE), "device": "cpu"})
    child = ChildEngine(ENGINES["transformers"], threads=1, stall_seconds=250)
    [[answer]] = child.generate(model, REQUESTS)
    assert answer.completion_tokens
    child.stall_seconds = 1.0  # loading is done
    os.kill(child.pid, signal.SIGSTOP)
    with pytest.raises(EngineError, match="did nothing for 1 s"):
        child.generate(model, REQUESTS)
    assert not child.alive
    child.close()


def test_a_long_batch_gives_signs_of_life() -> None:
    """More tokens than the silence allowed would let through, said by the child's own lines."""
    env = {**os.environ, "ERRATA_TORCH_THREADS": "1"}
    asked = {"id": 1, "config": {"path": str(MINIATURE), "device": "cpu"}}
    many = [GenerationRequest(REQUESTS[0].prompt, max_tokens=200, n=64, temperature=1.0, seed=at) for at in range(16)]
    asked["requests"] = [asdict(request) for request in many]
    code = "import workers.engines.child as c; c._PULSE_SECONDS = 0.0; c.main()"
    command = [sys.executable, "-c", code, ENGINES["transformers"].implementation, "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        said = [json.loads(process.stdout.readline()) for _ in range(12)]
        process.kill()
    assert "ready" in said[0]
    assert said[1] == {"loading": 1}
    numbers = [number for told in said[2:] for number, *_ in told["pulse"]]
    assert numbers == [1] * 10, "each names the one batch there is"
    tokens = [tokens for told in said[2:] for _, _, tokens, _ in told["pulse"]]
    assert tokens == sorted(tokens)
    assert tokens[0] < tokens[-1] <= 10 * len(many) * 64
