"""vLLM in process: several batches in one continuous batch, cancelled and broken each on its own."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from errata.prompts import solve_prompt
from tests.processes import until
from tests.workers.engines.conftest import START_SECONDS, Served
from tests.workers.engines.test_conformance import solving
from workers.engines.base import Cancelled, EngineError, GenerationRequest
from workers.engines.transformers_engine import TransformersEngine

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(START_SECONDS),
    pytest.mark.parametrize("served", ["vllm-in-process"], indirect=True),
]


class Endless:
    """A batch that goes on for long: hot samples of many tokens. ``ended`` is how it ended."""

    def __init__(self, served: Served) -> None:
        self.stop = threading.Event()
        self.ended: list[Exception | None] = []
        self._served = served
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        requests = [GenerationRequest(r.prompt, n=8, temperature=2.0, max_tokens=900, seed=r.seed) for r in solving()]
        try:
            self._served.generate(requests, self.stop.is_set)
        except (Cancelled, EngineError) as error:
            self.ended.append(error)
        else:
            self.ended.append(None)

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join(120)


def test_a_batch_joins_one_that_goes_on_and_leaves_before_it(served: Served, reference: TransformersEngine) -> None:
    short = [GenerationRequest(solve_prompt(f"Tom has {n} apples."), max_tokens=20) for n in range(3)]
    first = [c.text for [c] in served.generate(short)]
    long = Endless(served)
    until(lambda: len(served.pool._children["vllm"]._open) == 1, "the long batch to be open")
    assert [c.text for [c] in served.generate(short)] == first == [c.text for [c] in reference.generate(short)]
    assert long.ended == []  # so both were in the same continuous batch
    with pytest.raises(Cancelled):  # ends this one alone
        served.generate(solving(max_tokens=900, temperature=2.0, n=8), lambda: True)
    assert long.ended == []
    long.stop.set()
    long.join()
    assert [type(error) for error in long.ended] == [Cancelled]


def test_a_death_under_several_batches_is_told_as_nobodys_own(served: Served) -> None:
    served.generate(solving()[:1])
    child = served.pool._children["vllm"]
    batches = [Endless(served), Endless(served)]
    until(lambda: len(child._open) == len(batches), "both batches to be open")
    os.kill(child.pid, signal.SIGKILL)
    for batch in batches:
        batch.join()
    assert [getattr(error, "shared", None) for batch in batches for error in batch.ended] == [True, True]
