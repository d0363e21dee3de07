"""Every engine under one roof: each gives a registry entry for the miniature, and the pool that serves it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from tests.openai_server import OpenAIServer
from tests.vllm_server import VllmServer, vllm_python
from workers.engines.base import Completion, GenerationRequest, Journal, ModelSpec
from workers.engines.follow_ups import FollowUp
from workers.engines.pool import EnginePool
from workers.engines.transformers_engine import TransformersEngine

MODEL = Path(__file__).resolve().parents[3] / "demo" / "model"
START_SECONDS = 600  # a first start of vLLM on a busy machine
IN_PROCESS = {"dtype": "float32", "enforce_eager": True, "block_size": 32, "kv_cache_memory_bytes": 128 << 20}


@dataclass
class Served:
    """A language model and the pool that answers for it."""

    model: ModelSpec
    pool: EnginePool

    def generate(
        self,
        requests: list[GenerationRequest],
        cancelled: Callable[[], bool] = lambda: False,
        journal: Journal | None = None,
        follow_up: FollowUp | None = None,
    ) -> list[list[Completion]]:
        """Completions per request."""
        return self.pool.generate(self.model, requests, cancelled, journal, follow_up)


@pytest.fixture(scope="session")
def reference() -> TransformersEngine:
    """The miniature in this process, which the others are held against."""
    torch.set_num_threads(1)
    return TransformersEngine({"path": str(MODEL), "device": "cpu"})


@pytest.fixture(scope="session")
def openai_server() -> Iterator[OpenAIServer]:
    """A well-behaved server of the miniature."""
    server = OpenAIServer(MODEL)
    yield server
    server.close()


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    """A server of one test's own, to be spoilt."""
    server = OpenAIServer(MODEL)
    yield server
    server.close()


@pytest.fixture
def pool() -> Iterator[EnginePool]:
    """Engines of one test's own."""
    pool = EnginePool()
    yield pool
    pool.close()


@pytest.fixture(scope="session")
def vllm_server() -> Iterator[VllmServer]:
    """A real vLLM server of the miniature, one for all tests: it takes half a minute to start."""
    with VllmServer(MODEL) as server:
        yield server


ENGINES = [
    "transformers",
    "openai-ids",
    "openai-chat",
    pytest.param("vllm-served-ids", marks=pytest.mark.vllm),
    pytest.param("vllm-served-chat", marks=pytest.mark.vllm),
    pytest.param("vllm-in-process", marks=pytest.mark.vllm),
]


@pytest.fixture(scope="session", params=ENGINES)
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    """The miniature behind each engine in turn."""
    kind = str(request.param)
    pool = EnginePool(threads=1, pythons={"vllm": vllm_python()} if kind == "vllm-in-process" else {})
    yield Served(_entry(kind, request), pool)
    pool.close()


def _entry(kind: str, request: pytest.FixtureRequest) -> ModelSpec:
    if kind == "transformers":
        return ModelSpec("m", "transformers", {"path": str(MODEL), "device": "cpu"})
    if kind == "vllm-in-process":
        return ModelSpec("m", "vllm", {"path": str(MODEL), **IN_PROCESS})
    server = request.getfixturevalue("vllm_server" if kind.startswith("vllm") else "openai_server")
    by_ids = {"tokenizer": str(MODEL)} if kind.endswith("ids") else {}
    return ModelSpec("m", "openai", server.config(**by_ids))
