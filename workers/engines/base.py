"""The engine protocol: a list of requests in, completions with finish reason and token counts out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from errata.types import Message, Prompt
from workers.engines.meter import Meter, SoFar

FinishReason = Literal["stop", "length"]
#: vLLM tells twenty alternatives at each token unless started otherwise, the text's own token among them.
MOST_ALTERNATIVES = 19
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A registry entry as an engine needs it: which engine, and that engine's ``config`` (models.workspaces)."""

    name: str
    engine: str
    config: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One prompt, ``n`` completions. ``temperature`` 0 is greedy (then ``n`` must be 1); ``max_tokens`` bounds each.

    ``seed`` seeds the first completion, ``seed + i`` the i-th: on CPU float32 the same request gives the same text,
    whatever else is in the batch. ``frame``: a regular expression that each completion must match as a whole, with
    engines of the capability ``structured``.
    """

    prompt: Prompt
    n: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 512
    stop: tuple[str, ...] = ()
    seed: int = 0
    frame: str | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """What followed the prompt's assistant prefix, without it and without the stop string.

    ``prompt_tokens`` counts the prompt once per completion's request (on its first completion; 0 on the others);
    ``cached_tokens`` are those of them served from a prefix cache. ``reused_tokens``: of a text made for an earlier
    request, of which nothing was generated now.
    """

    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reused_tokens: int = 0

    @property
    def length(self) -> int:
        """Its tokens, generated now or earlier."""
        return self.completion_tokens + self.reused_tokens


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """A text that stands behind a prompt, to be scored token by token; nothing is generated.

    ``alternatives``: how many other tokens are told at each place, at most ``MOST_ALTERNATIVES``. Raises ValueError.
    ``temperatures``, each above 0: at which the text's own tokens are scored too, where the engine can
    (``TokenScore.at``).
    """

    prompt: Prompt
    text: str
    alternatives: int = 15
    temperatures: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.alternatives <= MOST_ALTERNATIVES:
            raise ValueError(f"alternatives: 0 to {MOST_ALTERNATIVES}")


class Alternative(NamedTuple):
    """Another token that the model could have written at a place: its text there, and its log-probability."""

    text: str
    logprob: float


class TokenScore(NamedTuple):
    """One token of a scored text: ``text[start:end]``, its natural log-probability, and other tokens, likeliest first.

    The tokens of a text cover it without a gap. Several tokens that make one character all have its offsets. ``at``:
    its log-probability at each temperature of the request; empty where the engine tells those of temperature 1 alone.
    """

    id: int
    start: int
    end: int
    logprob: float
    alternatives: tuple[Alternative, ...]
    at: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Scores:
    """A text's tokens in order; none where prompt and text do not fit the context. ``prompt_tokens`` counts both."""

    tokens: tuple[TokenScore, ...]
    prompt_tokens: int
    cached_tokens: int = 0


def _prompt_from_json(data: dict[str, Any]) -> Prompt:
    messages = tuple(Message(**m) for m in data["messages"])
    return Prompt(messages, data["assistant_prefix"], data["version"], tuple(data["stop"]))


def request_from_json(data: dict[str, Any]) -> GenerationRequest:
    """The request whose ``asdict`` this is: so requests travel to an engine child, as JSON lines and not as pickles."""
    return GenerationRequest(**{**data, "prompt": _prompt_from_json(data["prompt"]), "stop": tuple(data["stop"])})


def score_request_from_json(data: dict[str, Any]) -> ScoreRequest:
    """The request whose ``asdict`` this is."""
    temperatures = tuple(data.get("temperatures", ()))
    return ScoreRequest(**{**data, "prompt": _prompt_from_json(data["prompt"]), "temperatures": temperatures})


def scores_to_json(scores: Scores) -> list[Any]:
    """The scores as JSON values; without the names of fields, which would be most of the line."""
    return [scores.tokens, scores.prompt_tokens, scores.cached_tokens]


def scores_from_json(data: list[Any]) -> Scores:
    """The scores whose ``scores_to_json`` this is."""
    tokens = tuple(
        TokenScore(token, start, end, logprob, tuple(Alternative(*other) for other in others), tuple(at))
        for token, start, end, logprob, others, at in data[0]
    )
    return Scores(tokens, data[1], data[2])


def load_class(implementation: str) -> Any:
    """The class that ``module:Class`` names. Imports its libraries."""
    module, _, name = implementation.partition(":")
    return getattr(import_module(module), name)


def storable(completion: Completion) -> Completion:
    """The completion as a database takes it: a model may write NUL or half a surrogate pair; U+FFFD stands for them."""
    text = storable_text(completion.text)
    return completion if text == completion.text else replace(completion, text=text)


def storable_text(text: str) -> str:
    """The same for a text alone."""
    return _UNSTORABLE.sub("\ufffd", text)


class EngineError(Exception):
    """An engine could not answer. ``retryable`` tells whether the same request may succeed later.

    ``shared``: it ended while it worked for several batches, any of which may be to blame. ``wait_seconds``: what it
    asks to be left alone for.
    """

    def __init__(
        self, message: str, *, retryable: bool = False, shared: bool = False, wait_seconds: float = 0.0
    ) -> None:
        super().__init__(message)
        self.retryable, self.shared, self.wait_seconds = retryable, shared, wait_seconds


class LacksCapability(EngineError):
    """An engine cannot do what is asked of it at all, however often it is asked."""


class PromptRefused(EngineError):
    """The prompt is at fault: the model has no chat template, its template refuses the turns, or its server does."""


class Cancelled(Exception):
    """The caller asked to stop, or lost its lease."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do for one language model; what a job needs beyond it is refused or recorded.

    ``assistant_prefix``: continues the text a reply is made to open with. ``per_request_seed``: a sampled text follows
    from its request's seed. ``prefix_cache``: prompts that begin alike are computed once. ``repeatable``: the same list
    of requests gives the same text. ``prompt_logprobs``: scores a given text. ``structured``: holds a completion to a
    request's frame; by an object in JSON where it cannot continue an opened reply.
    """

    assistant_prefix: bool
    per_request_seed: bool
    prefix_cache: bool
    repeatable: bool = False
    prompt_logprobs: bool = False
    structured: bool = False


def fallbacks(name: str, able: Capabilities, requests: Sequence[GenerationRequest]) -> list[str]:
    """Capabilities that these requests would use and do without. Raises EngineError where one is indispensable."""
    # A reply in JSON needs no opening, and every server goes on with a text without messages.
    opened = [request for request in requests if request.prompt.assistant_prefix and request.prompt.messages]
    if not able.assistant_prefix and any(not (request.frame and able.structured) for request in opened):
        raise EngineError(
            f"language model {name!r}: its server does not continue a reply that is opened for it (capability"
            " assistant_prefix), which these prompts need; give the registry entry the setting 'tokenizer' (a folder or"
            " hub id), or 'server' if the server is vllm, sglang or llamacpp and does not say so; or ask for edits as"
            " JSON (editing.structured 'always') and for solutions without an opening (sampling.opening 'none')"
        )
    sampled = any(request.temperature > 0 for request in requests)
    missing = ["per_request_seed"] if sampled and not able.per_request_seed else []
    framed = any(request.frame is not None for request in requests)
    return [*missing, "structured"] if framed and not able.structured else missing


def require_scoring(name: str, able: Capabilities) -> None:
    """Raises LacksCapability where an engine cannot score a text."""
    if not able.prompt_logprobs:
        raise LacksCapability(
            f"language model {name!r}: its engine tells no log-probabilities of a given text (capability"
            " prompt_logprobs), which the editor 'slip' needs; serve the model by transformers, by vllm, or by a vLLM"
            " server whose registry entry has the setting 'tokenizer' (a folder or hub id)"
        )


@dataclass
class Journal:
    """What a stage's engine was and went through, for the job's events. Filled by the pool while it generates.

    ``meter``: how far the stage is. ``weights``: the mark of those that answered last (workers.engines.marks); None:
    not known. ``reused``: tokens of answers kept from earlier requests. ``batched``: requests went in batches.
    """

    engine: str | None = None
    version: str | None = None
    capabilities: Capabilities | None = None
    weights: str | None = None
    reused: int = 0
    fallbacks: set[str] = field(default_factory=set)
    retried: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0  # spent generating: without loading a model or waiting for the engine
    meter: Meter = field(default_factory=Meter)
    batched: bool = False

    def identity(self) -> dict[str, Any]:
        """Engine, version, capabilities and what was done without, as JSON values."""
        able = None if self.capabilities is None else asdict(self.capabilities)
        names = {"engine": self.engine, "version": self.version}
        return {**names, "capabilities": able, "fallbacks": sorted(self.fallbacks)}


class Engine(Protocol):
    """Generates for one language model, one batch at a time."""

    capabilities: Capabilities
    version: str

    def generate(
        self, requests: Sequence[GenerationRequest], cancelled: Callable[[], bool] = lambda: False
    ) -> list[list[Completion]]:
        """Completions per request, in request order. Raises EngineError, or Cancelled soon after ``cancelled()``."""
        ...

    def close(self) -> None:
        """Free the engine's memory and processes."""
        ...


@runtime_checkable
class ScoringEngine(Protocol):
    """An engine with the capability ``prompt_logprobs`` that takes one batch at a time."""

    def score(self, requests: Sequence[ScoreRequest], cancelled: Callable[[], bool] = lambda: False) -> list[Scores]:
        """Scores per request, in request order. Raises EngineError, or Cancelled soon after ``cancelled()``."""
        ...


@runtime_checkable
class MeteredEngine(Protocol):
    """An engine that says how far an open batch is; of others a job shows the batches that ended."""

    def so_far(self, number: int) -> SoFar:
        """What this batch has made until now. An engine that takes one batch at a time has no numbers and no need."""
        ...


Text = tuple[int, int, str]
"""What one completion holds until now: the index of its request, of its sample, and the text from its beginning."""
Hear = Callable[[Sequence[Text]], None]
"""Told texts as they grow: again only with more behind, or from the beginning where a server is asked anew. The last
characters may still change. May be called from another thread, never from two at once; it must not wait."""


@runtime_checkable
class StreamingEngine(Protocol):
    """An engine that tells the texts of an open batch; of others somebody who listens hears the end alone."""

    def texts(self, number: int) -> list[Text]:
        """What this batch's completions hold until now. An engine that takes one at a time has no need of numbers."""
        ...


Outcome = list[list[Completion]] | list[Scores] | EngineError


@runtime_checkable
class ContinuousScoringEngine(Protocol):
    """A ContinuousEngine with the capability ``prompt_logprobs``: texts to be scored join its open batches."""

    def submit_scores(self, number: int, requests: Sequence[ScoreRequest], adapter: str | None = None) -> None:
        """Open a batch as ``submit`` does; its outcome is a list of Scores."""
        ...


@runtime_checkable
class ContinuousEngine(Protocol):
    """Generates for one language model, several batches at once. One thread calls ``step`` while a batch is open."""

    capabilities: Capabilities
    version: str

    def submit(self, number: int, requests: Sequence[GenerationRequest], adapter: str | None = None) -> None:
        """Open a batch, for the model alone or with the adapter of this folder; returns at once."""
        ...

    def cancel(self, number: int) -> None:
        """Drop an open batch: no outcome follows."""
        ...

    def step(self) -> list[tuple[int, Outcome]]:
        """Generate a little for all open batches; those that ended, with their outcomes. Raises when it is broken."""
        ...

    def close(self) -> None:
        """Free the engine's memory and processes."""
        ...
