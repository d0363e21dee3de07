"""Bodies of completion requests and their answers, as OpenAI's clients send and read them.

A parameter that is known and not supported is taken where its value asks for nothing; any other value is refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, model_validator

from api.schemas import Request, Storable

MOST_CHOICES = 16
MOST_TOKENS = 32_768
CHAT_TOKENS = 4_096  # where a chat sets no limit
TEXT_TOKENS = 16  # where a text sets none, as at OpenAI
_MOST_TURNS = 1_000


def _only(*neutral: Any) -> AfterValidator:
    """A parameter that may only be left out, be null, or say one of these, which is the same."""

    def check(value: Any) -> None:
        if value is not None and value not in neutral:
            raise ValueError("this is not supported here; leave it out")

    return AfterValidator(check)


Text = Annotated[str, Storable]
Tokens = Annotated[int, Field(ge=1, le=MOST_TOKENS)]
Stop = Annotated[str, Field(min_length=1, max_length=200), Storable]
Ignored = Annotated[str | None, Field(default=None, max_length=1_000, description="Taken and not used.")]


class TextPart(Request):
    """A part of a turn."""

    type: Literal["text"]
    text: Text


class Turn(Request):
    """One turn of a chat. ``developer`` is another name of ``system``. A turn that was answered can be sent back."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | Annotated[list[TextPart], Field(max_length=_MOST_TURNS)]
    name: Annotated[Any, _only()] = None
    refusal: Annotated[Any, _only()] = None
    annotations: Annotated[Any, _only([])] = None
    audio: Annotated[Any, _only()] = None
    function_call: Annotated[Any, _only()] = None
    tool_calls: Annotated[Any, _only([])] = None

    def plain(self) -> dict[str, str]:
        """Role and text, as engines take them."""
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class StreamOptions(Request):
    """What a stream tells besides the text."""

    include_usage: bool = Field(False, description="A last chunk with the counts of tokens.")
    include_obfuscation: Annotated[Any, _only(False)] = None


class Sampled(Request):
    """What chats and texts have in common."""

    model: Annotated[str, Field(min_length=1, max_length=200), Storable]
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None = Field(None, description="Choices per prompt; default 1.")
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(None, description="0 is greedy; default 1.")
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_tokens: Tokens | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=16)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = Field(None, description="Drawn where left out.")
    stream: bool | None = Field(None, description="Answer by server-sent events as the text grows.")
    stream_options: StreamOptions | None = None
    user: Ignored = None
    frequency_penalty: Annotated[Any, _only(0)] = None
    presence_penalty: Annotated[Any, _only(0)] = None
    logit_bias: Annotated[Any, _only({})] = None

    @model_validator(mode="after")
    def _streams(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options: only with stream true")
        return self

    @property
    def stops(self) -> list[str]:
        """The stop strings."""
        return [self.stop] if isinstance(self.stop, str) else list(self.stop or ())


class ChatIn(Sampled):
    """A chat to be answered."""

    messages: Annotated[list[Turn], Field(min_length=1, max_length=_MOST_TURNS)]
    max_completion_tokens: Tokens | None = Field(None, description=f"Default {CHAT_TOKENS}.")
    safety_identifier: Ignored = None
    prompt_cache_key: Ignored = None
    logprobs: Annotated[Any, _only(False)] = None
    top_logprobs: Annotated[Any, _only(0)] = None
    response_format: Annotated[Any, _only({"type": "text"})] = None
    tools: Annotated[Any, _only([])] = None
    tool_choice: Annotated[Any, _only("none", "auto")] = None
    parallel_tool_calls: Annotated[Any, _only(True, False)] = None
    functions: Annotated[Any, _only([])] = None
    function_call: Annotated[Any, _only("none", "auto")] = None
    modalities: Annotated[Any, _only(["text"])] = None
    audio: Annotated[Any, _only()] = None
    prediction: Annotated[Any, _only()] = None
    reasoning_effort: Annotated[Any, _only()] = None
    verbosity: Annotated[Any, _only()] = None
    service_tier: Annotated[Any, _only("auto", "default")] = None
    store: Annotated[Any, _only(False)] = None
    metadata: Annotated[Any, _only({})] = None
    web_search_options: Annotated[Any, _only()] = None

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if None not in (self.max_tokens, self.max_completion_tokens) and self.max_tokens != self.max_completion_tokens:
            raise ValueError("max_tokens: max_completion_tokens says otherwise; give one of them")
        return self

    @property
    def prompts(self) -> list[dict[str, Any]]:
        """What the workers answer: one chat."""
        return [{"messages": [turn.plain() for turn in self.messages]}]

    @property
    def limit(self) -> int:
        """Tokens of one choice at most."""
        return self.max_completion_tokens or self.max_tokens or CHAT_TOKENS


class TextIn(Sampled):
    """Texts to be gone on with, each as it stands: no chat template is applied."""

    prompt: (
        Annotated[str, Field(min_length=1), Storable]
        | Annotated[list[Annotated[str, Field(min_length=1), Storable]], Field(min_length=1, max_length=MOST_CHOICES)]
    )
    best_of: Annotated[Any, _only(1)] = None
    echo: Annotated[Any, _only(False)] = None
    logprobs: Annotated[Any, _only(0)] = None
    suffix: Annotated[Any, _only("")] = None

    @property
    def prompts(self) -> list[dict[str, Any]]:
        """What the workers answer: each text."""
        return [{"text": text} for text in ([self.prompt] if isinstance(self.prompt, str) else self.prompt)]

    @property
    def limit(self) -> int:
        """Tokens of one choice at most."""
        return self.max_tokens or TEXT_TOKENS


class CachedTokens(BaseModel):
    """Of the prompt's tokens, those that an engine's prefix cache served."""

    cached_tokens: int


class UsageOut(BaseModel):
    """Tokens of prompts and choices."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens


class MessageOut(BaseModel):
    """A choice's turn."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class ChoiceOut(BaseModel):
    """What every choice has. ``length``: it was cut at the limit of tokens."""

    index: int
    logprobs: None = None
    finish_reason: Literal["stop", "length"]


class CompletionOut(BaseModel):
    """What every answer has."""

    id: str
    created: int = Field(description="Unix time, seconds.")
    model: str
    usage: UsageOut
    system_fingerprint: None = None


class ChatChoiceOut(ChoiceOut):
    """One answer to a chat."""

    message: MessageOut


class ChatOut(CompletionOut):
    """The answers to a chat."""

    object: Literal["chat.completion"] = "chat.completion"
    choices: list[ChatChoiceOut]


class TextChoiceOut(ChoiceOut):
    """What follows one text. Choices are counted through all prompts."""

    text: str


class TextOut(CompletionOut):
    """What follows the texts."""

    object: Literal["text_completion"] = "text_completion"
    choices: list[TextChoiceOut]
