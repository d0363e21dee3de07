"""One request as an OpenAI-compatible body, and its answer as completions. Pure: no HTTP."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from errata.thoughts import THOUGHTS
from workers.engines.base import Completion, EngineError, FinishReason, GenerationRequest
from workers.engines.grammars import FrameForm, frame_body

if TYPE_CHECKING:  # the registry reads what servers can do, and loads no tokenizers for it
    from workers.engines.scoring import TokenLogprobs


@dataclass(frozen=True)
class ServerKind:
    """What servers of one make can do and how they are asked. The fields' own values are those of a hosted server.

    ``request``: what every request carries beyond the standard. Servers fill what it leaves open from the model's
    generation_config.json (repetition penalty, top-k, ...); a job's configuration alone decides how it samples.
    ``prompt_logprobs``: it tells them of a prompt of token ids, by the request's field of that name, or with
    ``native_scores`` on a route of its own (workers.engines.sglang_scores).
    ``continuation``: what a chat request carries that opens the reply; None: the server cannot continue one, or not
    reliably. ``frame``: how a request is held to a frame (workers.engines.grammars). ``about``: the page, and its key,
    where the server tells its version. ``repeats_opening``: its chat answer begins with the opening that it continued.
    ``most_samples``: of one request, where it counts the tokens of the first alone. ``streams``: its stream ends with
    the counts.
    """

    name: str
    request: Mapping[str, Any] = field(default_factory=dict)
    continuation: Mapping[str, Any] | None = None
    about: tuple[str, str] | None = None
    per_request_seed: bool = False
    prefix_cache: bool = False
    prompt_logprobs: bool = False
    native_scores: bool = False
    repeats_opening: bool = False
    most_samples: int | None = None
    streams: bool = False
    frame: FrameForm = "json_schema"


_CONTINUED = {"add_generation_prompt": False, "continue_final_message": True}
_NEUTRAL = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
HOSTED = ServerKind("openai")
SERVER_KINDS: dict[str, ServerKind] = {
    kind.name: kind
    for kind in (
        HOSTED,
        ServerKind(
            "vllm",
            streams=True,
            request={**_NEUTRAL, "return_token_ids": True},
            continuation=_CONTINUED,
            about=("/version", "version"),
            per_request_seed=True,
            prefix_cache=True,
            prompt_logprobs=True,
            frame="structured_outputs",
        ),
        ServerKind(
            "sglang",
            streams=True,
            request={**_NEUTRAL, "return_token_ids": True},  # older versions pass over the last
            continuation=_CONTINUED,
            about=("/get_server_info", "version"),
            prefix_cache=True,
            prompt_logprobs=True,
            native_scores=True,
            frame="regex",
        ),
        ServerKind(
            "llamacpp",
            streams=True,
            request={"top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0, "cache_prompt": True},
            continuation={},  # it continues a last message of the assistant unasked
            about=("/props", "build_info"),
            per_request_seed=True,
            prefix_cache=True,
            repeats_opening=True,
            most_samples=1,
            frame="grammar",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Unit:
    """Samples ``[first, first + count)`` of request number ``index``: what travels as one HTTP request.

    ``tell``: of one that is asked for as a stream, who hears how many tokens have come; ``hear``: who is given its
    choices meanwhile.
    """

    index: int
    request: GenerationRequest
    first: int
    count: int
    tell: Callable[[int], None] | None = None
    hear: Callable[[Sequence[dict[str, Any]]], None] | None = None

    @property
    def stops(self) -> list[str]:
        """The request's and its prompt's stop strings, once each."""
        return list(dict.fromkeys((*self.request.stop, *self.request.prompt.stop)))


def units(index: int, request: GenerationRequest, most: int | None) -> Iterator[Unit]:
    """The request cut into units of at most ``most`` samples; greedy ones of one each (vLLM refuses more)."""
    size = 1 if request.temperature == 0 else min(request.n, most or request.n)
    for first in range(0, request.n, size):
        yield Unit(index, request, first, min(size, request.n - first))


def request_body(model: str, kind: ServerKind, unit: Unit, max_tokens: int) -> dict[str, Any]:
    """What both endpoints take, without the prompt."""
    request = unit.request
    body = {
        "model": model,
        "n": unit.count,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "max_tokens": max_tokens,
        "seed": request.seed + unit.first,  # so that cutting a request into units changes no text
    }
    if unit.stops:
        body["stop"] = unit.stops
    if request.frame is not None and kind is not HOSTED:
        body |= frame_body(kind.frame, request.frame)
    return {**body, **kind.request}


def scoring_body(model: str, kind: ServerKind, ids: list[int], alternatives: int) -> dict[str, Any]:
    """A request for the log-probabilities of the prompt itself; a server generates one token at least."""
    # One more than is asked for: the text's own token counts among them where it is likely.
    body = {"model": model, "prompt": ids, "max_tokens": 1, "temperature": 0.0, "prompt_logprobs": alternatives + 1}
    return {**body, **kind.request}


def read_prompt_logprobs(answer: dict[str, Any], ids: Sequence[int], first: int) -> list[TokenLogprobs] | None:
    """What is told of ``ids`` from ``first`` on; None for an answer without it."""
    choices = answer.get("choices") or [{}]
    told = choices[0].get("prompt_logprobs") if isinstance(choices[0], dict) else None
    if not isinstance(told, list) or len(told) != len(ids):
        return None
    return [of_place(place, token) for place, token in zip(told[first:], ids[first:], strict=True)]


def of_place(place: Mapping[Any, Any], token: int) -> TokenLogprobs:
    """vLLM's log-probabilities at one place, by token id: the token's own, and all of them."""
    found = {int(other): _logprob(value) for other, value in place.items()}
    return found[token], list(found.items())


def _logprob(value: Any) -> float:
    return float(value["logprob"] if isinstance(value, Mapping) else value.logprob)


@dataclass(frozen=True)
class Choices:
    """An answer's choices by index, and its usage."""

    choices: Sequence[dict[str, Any]]
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int

    @staticmethod
    def of(answer: dict[str, Any]) -> Choices | None:
        """The answer's parts; None where it has no readable choices or was aborted, and should be asked for again."""
        found = answer.get("choices")
        if not isinstance(found, list) or not found or not all(isinstance(c, dict) for c in found):
            return None
        if any(_text(c) is None or c.get("finish_reason") in (None, "abort", "error") for c in found):
            return None
        usage = answer.get("usage") or {}
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
        # Choices may come in any order; samples are told apart by their index.
        ordered = sorted(found, key=lambda choice: int(choice.get("index") or 0))
        counts = (usage.get("prompt_tokens"), usage.get("completion_tokens"), cached)
        return Choices(ordered, *(int(count or 0) for count in counts))


def read_choices(name: str, answer: Choices, unit: Unit) -> list[Completion]:
    """One completion per sample; the prompt's tokens stand on the first. Raises EngineError for a server without n."""
    if len(answer.choices) != unit.count:
        raise EngineError(
            f"language model {name!r}: the server gave {len(answer.choices)} of {unit.count} samples; set"
            " samples_per_request to 1"
        )
    spent = _spent(answer)
    first = (answer.prompt_tokens, answer.cached_tokens)
    return [
        Completion(*_ending(choice, unit), first[0] if at == 0 else 0, spent[at], first[1] if at == 0 else 0)
        for at, choice in enumerate(answer.choices)
    ]


def _ending(choice: dict[str, Any], unit: Unit) -> tuple[str, FinishReason]:
    """Text before the first stop string, and how it ended; reasons other than "stop" leave it incomplete."""
    text = _text(choice) or ""
    # Servers cut at a stop string; those that do not, or do so late, are helped here.
    cut = min((at for at in (text.find(stop) for stop in unit.stops) if at >= 0), default=None)
    if cut is not None:
        return text[:cut], "stop"
    return text, "stop" if choice["finish_reason"] == "stop" else "length"


def _text(choice: dict[str, Any]) -> str | None:
    """What was written, a thought that the server tells apart before it, between the first of our markers."""
    message = choice.get("message")
    if isinstance(message, dict):
        content = _content(message.get("content"))
        thought = message.get("reasoning_content") or message.get("reasoning")
        if content is None or not isinstance(thought, str) or not thought.strip():
            return content
        opening, closing = THOUGHTS[0]
        return f"{opening}\n{thought.strip()}\n{closing}\n\n{content}"
    text = choice.get("text")
    return text if isinstance(text, str) else None


def text_so_far(choice: dict[str, Any]) -> str:
    """What a choice of a stream holds until now: the beginning of what ``read_choices`` will make of it."""
    message = choice.get("message")
    if isinstance(message, dict) and not message.get("content"):
        thought = message.get("reasoning_content") or message.get("reasoning") or ""
        return f"{THOUGHTS[0][0]}\n{thought.strip()}" if thought.strip() else ""
    return _text(choice) or ""


def _content(value: Any) -> str | None:
    """A message's text: a server that thought to its limit gives none; some give it in parts."""
    if isinstance(value, list):
        parts = [part.get("text") for part in value if isinstance(part, dict) and part.get("type") == "text"]
        return "".join(part for part in parts if isinstance(part, str))
    return "" if value is None else value if isinstance(value, str) else None


def _spent(answer: Choices) -> list[int]:
    """Tokens per choice: counted where the server gives ids, else its total shared by length. Sums to the total."""
    ids = [choice.get("token_ids") for choice in answer.choices]
    if all(isinstance(given, list) for given in ids):
        return [len(given) for given in ids if given is not None]
    weights = [len(_text(choice) or "") + 1 for choice in answer.choices]
    # Differences of rounded-down running sums: they add up to the server's total exactly.
    edges = [sum(weights[:at]) * answer.completion_tokens // sum(weights) for at in range(len(weights) + 1)]
    return [stop - start for start, stop in itertools.pairwise(edges)]
