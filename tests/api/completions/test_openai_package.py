"""The unmodified `openai` package against a live service: chats, texts, streams, usage, and what is refused."""

from __future__ import annotations

import openai
import pytest

from models.session import Database
from models.usage import usage_of
from tests.api.completions.conftest import Live

ASKED = [{"role": "user", "content": "What is 3 + 4?"}]


def used(database: Database) -> int:
    with database.read() as session:
        return usage_of(session, "ws_default").tokens_today


@pytest.mark.parametrize("model", ["served", "turns"])
def test_a_chat_is_the_same_whole_and_streamed(live: Live, model: str) -> None:
    before = used(live.database)
    options = {"model": model, "messages": ASKED, "max_tokens": 16, "seed": 3, "n": 2}
    with live.openai() as client:
        whole = client.chat.completions.create(**options)
        stream = client.chat.completions.create(**options, stream=True, stream_options={"include_usage": True})
        chunks = list(stream)
    assert (whole.object, whole.model, len(whole.choices)) == ("chat.completion", model, 2)
    assert whole.usage is not None
    assert whole.usage.prompt_tokens > 5
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    assert whole.usage.prompt_tokens_details.cached_tokens == 7
    texts, ends = ["", ""], [None, None]
    for chunk in chunks[:-1]:
        assert chunk.usage is None
        [choice] = chunk.choices
        texts[choice.index] += choice.delta.content or ""
        ends[choice.index] = choice.finish_reason or ends[choice.index]
    assert texts == [choice.message.content for choice in whole.choices]
    assert texts[0] != texts[1], "each choice has a seed of its own"
    assert ends == [choice.finish_reason for choice in whole.choices]
    assert [chunk.choices[0].delta.role for chunk in chunks[:-1]].count("assistant") == 2
    assert (chunks[-1].choices, chunks[-1].usage) == ([], whole.usage)
    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    assert used(live.database) == before + 2 * whole.usage.completion_tokens


@pytest.mark.parametrize("model", ["served", "turns"])
def test_texts_go_on_as_they_stand(live: Live, model: str) -> None:
    options = {"model": model, "prompt": ["Step 1: 3 + 4 =", "Step 2:"], "temperature": 0, "max_tokens": 8}
    with live.openai() as client:
        whole = client.completions.create(**options)
        streamed = ["", ""]
        for chunk in client.completions.create(**options, stream=True):
            streamed[chunk.choices[0].index] += chunk.choices[0].text
        stopped = client.completions.create(**{**options, "prompt": "Step 1: 3 + 4 =", "stop": ["7"]})
    assert [choice.text for choice in whole.choices] == streamed
    assert whole.choices[0].text
    assert {choice.finish_reason for choice in whole.choices} <= {"stop", "length"}
    assert "7" not in stopped.choices[0].text


def test_a_turn_that_was_answered_can_be_sent_back(live: Live) -> None:
    with live.openai() as client:
        first = client.chat.completions.create(model="served", messages=ASKED, max_completion_tokens=8, temperature=0)
        again = client.chat.completions.create(
            model="served",
            messages=[
                {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
                *ASKED,
                first.choices[0].message,
                {"role": "user", "content": "Why?"},
            ],
            max_completion_tokens=8,
            user="somebody",
            presence_penalty=0,
            logprobs=False,
            tools=[],
        )
    assert again.choices[0].message.role == "assistant"


REFUSED = [
    ({"top_k": 5}, "top_k", "unknown_parameter"),
    ({"presence_penalty": 0.5}, "presence_penalty", "unsupported_value"),
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools", "unsupported_value"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content", None),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role", None),
    ({"temperature": 3}, "temperature", None),
    ({"n": 17}, "n", None),
    ({"max_tokens": 1, "max_completion_tokens": 2}, "max_tokens", None),
    ({"stream_options": {"include_usage": True}}, "stream_options", None),
]


def test_what_is_not_taken_is_named(live: Live) -> None:
    with live.openai() as client:
        for more, param, code in REFUSED:
            body = {"model": "served", "messages": ASKED, **more}
            with pytest.raises(openai.BadRequestError) as raised:
                client.post("/chat/completions", body=body, cast_to=object)
            assert (raised.value.param, raised.value.code) == (param, code), more
            assert param.partition("[")[0] in raised.value.message
            assert raised.value.type == "invalid_request_error"
        with pytest.raises(openai.NotFoundError, match="does not exist") as missing:
            client.chat.completions.create(model="other", messages=ASKED)
        assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
        with pytest.raises(openai.BadRequestError, match="context") as long:
            client.chat.completions.create(
                model="served", messages=[{"role": "user", "content": "a b c d " * 2_000}], stream=True
            )
        assert long.value.code == "model_refused"
    with live.openai(api_key="errata_x_y") as stranger, pytest.raises(openai.AuthenticationError) as denied:
        stranger.chat.completions.create(model="served", messages=ASKED)
    assert denied.value.code == "invalid_api_key"
