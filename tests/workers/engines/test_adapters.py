"""LoRA adapters, served where their base is: by a running server, by vLLM in process, by transformers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from errata.prompts import solve_prompt
from tests.openai_server import OpenAIServer
from tests.vllm_server import VllmServer, vllm_python
from tests.workers.engines.conftest import IN_PROCESS, MODEL, START_SECONDS
from workers.engines.base import EngineError, GenerationRequest, ModelSpec
from workers.engines.pool import EnginePool
from workers.engines.transformers_engine import TransformersEngine

REQUESTS = [
    GenerationRequest(solve_prompt(f"Tom has {n} apples and buys {n + 3} more."), max_tokens=40) for n in (4, 7)
]


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of the miniature that changes what it says."""
    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(0)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj"]
    config = peft.LoraConfig(r=8, lora_alpha=16, target_modules=targets, task_type="CAUSAL_LM", init_lora_weights=False)
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(MODEL), config)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(MODEL).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def adapted(adapter: Path) -> list[str]:
    """What the adapted model says, by transformers."""
    return _texts_of(TransformersEngine({"path": str(adapter), "device": "cpu"}))


@pytest.fixture(scope="module")
def plain(reference: TransformersEngine) -> list[str]:
    """What the base says, by transformers."""
    return _texts_of(reference)


def _texts_of(engine: TransformersEngine) -> list[str]:
    return [c.text for [c] in engine.generate(REQUESTS)]


@pytest.fixture
def pool() -> Iterator[EnginePool]:
    found = EnginePool(threads=1)
    yield found
    found.close()


def ask(pool: EnginePool, entry: ModelSpec) -> list[str]:
    """Greedy texts."""
    return [c.text for [c] in pool.generate(entry, REQUESTS)]


def test_a_running_server_loads_the_adapter_once(
    pool: EnginePool, adapter: Path, adapted: list[str], plain: list[str]
) -> None:
    server = OpenAIServer(MODEL)
    server.adapters = {}
    entry = server.config(tokenizer=str(MODEL), path=str(MODEL))
    base, tuned = (
        ModelSpec("m", "openai", {**entry, **more}) for more in ({}, {"model": "t", "adapter": str(adapter)})
    )
    assert ask(pool, base) == plain != adapted
    assert ask(pool, tuned) == adapted
    assert ask(pool, tuned) == adapted
    assert ask(EnginePool(), tuned) == adapted, "another worker finds it there"
    assert [path for path, _, _ in server.seen].count("/v1/load_lora_adapter") == 1
    server.adapters = {}  # as after a restart
    with pytest.raises(EngineError, match="no longer has the adapter") as lost:
        ask(pool, tuned)
    assert lost.value.retryable, "the shard is given back, no failure is counted"
    assert ask(pool, tuned) == adapted
    server.close()


def test_a_server_that_loads_none_is_told_how_it_would(pool: EnginePool, adapter: Path) -> None:
    server = OpenAIServer(MODEL)
    entry = server.config(tokenizer=str(MODEL), model="tuned", adapter=str(adapter))
    with pytest.raises(EngineError, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING"):
        ask(pool, ModelSpec("m", "openai", entry))
    server.close()


@pytest.mark.vllm
@pytest.mark.timeout(START_SECONDS)
def test_a_real_server_loads_the_adapter_while_it_runs(
    pool: EnginePool, adapter: Path, adapted: list[str], plain: list[str]
) -> None:
    with VllmServer(MODEL, more=("--enable-lora", "--max-lora-rank", "8")) as server:
        entry = server.config(tokenizer=str(MODEL))
        tuned = ModelSpec("t", "openai", {**entry, "model": "tuned", "adapter": str(adapter)})
        assert ask(pool, ModelSpec("m", "openai", entry)) == plain
        assert ask(pool, tuned) == adapted
        assert ask(pool, ModelSpec("m", "openai", entry)) == plain


@pytest.mark.vllm
@pytest.mark.timeout(START_SECONDS)
def test_vllm_in_process_adds_the_adapter_to_what_it_has_loaded(
    adapter: Path, adapted: list[str], plain: list[str]
) -> None:
    pool = EnginePool(threads=1, pythons={"vllm": vllm_python()})
    entry = {"path": str(MODEL), **IN_PROCESS, "max_lora_rank": 8}
    base, tuned = ModelSpec("m", "vllm", entry), ModelSpec("t", "vllm", {**entry, "adapter": str(adapter)})
    assert ask(pool, base) == plain
    assert ask(pool, tuned) == adapted
    assert ask(pool, base) == plain
    pool.close()
