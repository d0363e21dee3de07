"""The ``transformers`` engine on the device, in this process and as the child that workers talk to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from demo.problems import generate
from errata.prompts import solve_prompt
from workers.engines.base import GenerationRequest, ModelSpec, ScoreRequest
from workers.engines.pool import EnginePool
from workers.engines.transformers_engine import TransformersEngine

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(300)]
MODEL = Path(__file__).resolve().parents[2] / "demo/model"
PROBLEMS = generate(count=24, seed=11)


def requests(**values: Any) -> list[GenerationRequest]:
    """Requests for solutions of problems of the miniature."""
    asked = {"max_tokens": 160, **values}
    return [GenerationRequest(solve_prompt(p.question), seed=at, **asked) for at, p in enumerate(PROBLEMS)]


@pytest.fixture(scope="module")
def pool() -> Iterator[EnginePool]:
    with_child = EnginePool()
    yield with_child
    with_child.close()


@pytest.fixture(scope="module")
def reference() -> TransformersEngine:
    """The engine on the processor, in float32."""
    return TransformersEngine({"path": str(MODEL), "device": "cpu"})


def test_greedy_texts_are_the_processors(device: torch.device, pool: EnginePool, reference: TransformersEngine) -> None:
    """In float32. Where two tokens are as likely to the last digit, a GPU may choose the other: one text in ten."""
    model = ModelSpec("m", "transformers", {"path": str(MODEL), "device": device.type})
    mine, theirs = pool.generate(model, requests()), reference.generate(requests())
    same = sum(one.text == other.text for [one], [other] in zip(mine, theirs, strict=True))
    assert same >= len(theirs) * 9 // 10
    assert all(one.completion_tokens > 8 for [one] in mine)


def test_bfloat16_solves_as_well(device: torch.device, pool: EnginePool, reference: TransformersEngine) -> None:
    """Not the same texts: about as many that end by themselves."""
    model = ModelSpec("b", "transformers", {"path": str(MODEL), "device": device.type, "dtype": "bfloat16"})
    mine, theirs = pool.generate(model, requests()), reference.generate(requests())
    ended = [sum(c.finish_reason == "stop" for [c] in each) for each in (mine, theirs)]
    assert ended[0] >= ended[1] - 3


def test_samples_of_one_seed_are_the_same_again(device: torch.device, pool: EnginePool) -> None:
    model = ModelSpec("m", "transformers", {"path": str(MODEL), "device": device.type})
    one, two = (pool.generate(model, requests(temperature=1.0, n=2)) for _ in range(2))
    same = sum([a.text for a in x] == [b.text for b in y] for x, y in zip(one, two, strict=True))
    assert same >= len(one) * 9 // 10
    assert len({c.text for row in one for c in row}) > len(one)


def test_scores_are_the_processors(device: torch.device, pool: EnginePool, reference: TransformersEngine) -> None:
    asked = [ScoreRequest(solve_prompt(p.question), str(p.gold_solution)) for p in PROBLEMS[:8]]
    model = ModelSpec("m", "transformers", {"path": str(MODEL), "device": device.type})
    for mine, theirs in zip(pool.score(model, asked), reference.score(asked), strict=True):
        assert [t.id for t in mine.tokens] == [t.id for t in theirs.tokens]
        assert [t.logprob for t in mine.tokens] == pytest.approx([t.logprob for t in theirs.tokens], abs=5e-3)
