"""The transformers engine: the library's own greedy tokens, seeds per row, stops, limits, cancellation."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from errata.prompts import solve_prompt
from errata.types import Message, Prompt
from tests.processes import until
from workers.engines.base import Cancelled, Completion, EngineError, GenerationRequest, ModelSpec
from workers.engines.pool import EnginePool
from workers.engines.process import ChildEngine
from workers.engines.registry import ENGINES
from workers.engines.sampling import next_tokens, uniforms
from workers.engines.transformers_engine import TransformersEngine

QUESTIONS = [
    "Tom has 3 apples and buys 4 more. How many?",
    "Ann has 12 pens.",
    "A box holds 7 cards; how many do 6 hold?",
]


@pytest.fixture(scope="module")
def engine(random_model: Path) -> TransformersEngine:
    torch.set_num_threads(1)
    return TransformersEngine({"path": str(random_model), "device": "cpu", "batch_size": 4})


def _request(question: str, **values: object) -> GenerationRequest:
    return GenerationRequest(solve_prompt(question), max_tokens=values.pop("max_tokens", 12), **values)  # type: ignore[arg-type]


def test_greedy_tokens_equal_the_librarys_own(engine: TransformersEngine) -> None:
    results = engine.generate([_request(q) for q in QUESTIONS])
    for question, [completion] in zip(QUESTIONS, results, strict=True):
        ids = torch.tensor([engine.prompt_ids(_request(question))])
        theirs = engine.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)
        expected = engine.tokenizer.decode(theirs[0, ids.shape[1] :], skip_special_tokens=True)
        assert completion.text == expected
        assert completion.prompt_tokens == ids.shape[1]


def test_a_sampled_text_depends_on_its_seed_not_on_its_neighbours(engine: TransformersEngine) -> None:
    requests = [_request(q, temperature=1.0, seed=at, n=3) for at, q in enumerate(QUESTIONS)]
    together = engine.generate(requests)
    alone = [engine.generate([request])[0] for request in requests]
    assert together == alone
    assert engine.generate(requests) == together
    texts = [completion.text for result in together for completion in result]
    assert len(set(texts)) == len(texts)


def test_the_nth_sample_is_the_seed_plus_n(engine: TransformersEngine) -> None:
    three = engine.generate([_request(QUESTIONS[0], temperature=1.0, seed=5, n=3)])[0]
    third = engine.generate([_request(QUESTIONS[0], temperature=1.0, seed=7)])[0]
    assert three[2].text == third[0].text
    assert [c.prompt_tokens > 0 for c in three] == [True, False, False]


def test_a_stop_string_ends_the_text_before_it(engine: TransformersEngine) -> None:
    whole = engine.generate([_request(QUESTIONS[0], max_tokens=30)])[0][0].text
    stop = whole[len(whole) // 2 :][:3]
    cut = engine.generate([_request(QUESTIONS[0], max_tokens=30, stop=(stop,))])[0][0]
    assert cut.finish_reason == "stop"
    assert cut.text == whole[: whole.index(stop)]


def test_a_prompt_longer_than_the_context_yields_nothing(engine: TransformersEngine) -> None:
    request = GenerationRequest(Prompt((Message("user", "7 " * 3000),), "", "v"), max_tokens=5)
    [[completion]] = engine.generate([request])
    assert (completion.text, completion.finish_reason, completion.completion_tokens) == ("", "length", 0)


def test_cancellation_is_seen_between_tokens(engine: TransformersEngine) -> None:
    asked = iter([False, False, True])
    with pytest.raises(Cancelled):
        engine.generate([_request(QUESTIONS[0], max_tokens=500)], lambda: next(asked))


def test_sampling_follows_the_distribution_and_the_nucleus() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]])).expand(20_000, 4)
    draws = uniforms([3], 20_000)[0]
    ones = torch.ones(20_000)
    counts = Counter(next_tokens(logits, ones, ones, draws).tolist())
    assert [round(counts[token] / 20_000, 2) for token in range(4)] == [0.5, 0.3, 0.15, 0.05]
    nucleus = Counter(next_tokens(logits, ones, ones * 0.6, draws).tolist())
    assert set(nucleus) == {0, 1}
    assert round(nucleus[0] / 20_000, 2) == 0.62
    assert set(next_tokens(logits, ones * 0, ones, draws).tolist()) == {0}


@pytest.fixture
def child() -> Iterator[ChildEngine]:
    engine = ChildEngine(ENGINES["transformers"], threads=1)
    yield engine
    engine.close()


@pytest.fixture
def spec(random_model: Path) -> ModelSpec:
    return ModelSpec("m", "transformers", {"path": str(random_model), "device": "cpu", "batch_size": 4})


def test_a_child_answers_as_the_engine_does_and_its_death_is_an_error(
    child: ChildEngine, spec: ModelSpec, engine: TransformersEngine
) -> None:
    requests = [_request(q, temperature=0.7, seed=3) for q in QUESTIONS]
    assert child.generate(spec, requests) == engine.generate(requests)
    with pytest.raises(Cancelled):
        child.generate(spec, [_request(QUESTIONS[0], max_tokens=900, n=64, temperature=1.0)], lambda: True)
    assert child.generate(spec, requests) == engine.generate(requests)
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(EngineError, match="-9"):
        child.generate(spec, requests)
    assert not child.alive


def test_the_pool_swaps_models_restarts_a_dead_child_and_names_what_it_cannot_load(
    spec: ModelSpec, random_model: Path, tmp_path: Path
) -> None:
    pool = EnginePool(threads=1)
    first = pool.generate(spec, [_request(QUESTIONS[0])])
    pid = pool._children["transformers"].pid
    copy = shutil.copytree(random_model, tmp_path / "copy")
    assert pool.generate(ModelSpec("copy", "transformers", {"path": str(copy)}), [_request(QUESTIONS[0])]) == first
    assert pool._children["transformers"].pid == pid
    os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(EngineError):  # raised only where the death is not yet noticed
        assert pool.generate(spec, [_request(QUESTIONS[0])]) == first
    assert pool.generate(spec, [_request(QUESTIONS[0])]) == first
    with pytest.raises(EngineError, match="gone"):
        pool.generate(ModelSpec("gone", "transformers", {"path": str(tmp_path / "gone")}), [_request(QUESTIONS[0])])
    pool.close()


def test_a_batch_that_waits_for_its_turn_outlives_the_child_that_died_of_another(
    spec: ModelSpec, engine: TransformersEngine
) -> None:
    pool = EnginePool(threads=1)
    [[expected]] = pool.generate(spec, [_request(QUESTIONS[0])])
    child = pool._children["transformers"]
    ended: list[EngineError] = []

    def deadly() -> None:
        try:
            pool.generate(spec, [_request(QUESTIONS[1], max_tokens=900, n=64, temperature=1.0)])
        except EngineError as error:
            ended.append(error)

    first = threading.Thread(target=deadly)
    first.start()
    until(lambda: child._open, "the child to be at work")
    answers: list[Completion] = []
    second = threading.Thread(target=lambda: answers.extend(pool.generate(spec, [_request(QUESTIONS[0])])[0]))
    second.start()
    os.kill(child.pid, signal.SIGKILL)
    first.join(60)
    second.join(60)
    assert [error.shared for error in ended] == [False]
    assert answers == [expected]
    pool.close()
