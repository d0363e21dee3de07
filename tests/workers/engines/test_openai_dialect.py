"""Servers that want something said otherwise, think apart from their answer, or answer in JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from errata.prompts import solve_prompt
from errata.types import Message, Prompt
from tests.openai_server import OpenAIServer
from workers.engines.base import Completion, EngineError, GenerationRequest, Journal, ModelSpec
from workers.engines.grammars import frame_body, from_json, gbnf
from workers.engines.openai_wire import SERVER_KINDS, Choices, Unit, read_choices, request_body
from workers.engines.pool import EnginePool

MINIATURE = Path(__file__).resolve().parents[3] / "demo" / "model"
PLAIN = GenerationRequest(Prompt((Message("user", "Add [3, 4]."),), "", "v"), max_tokens=12)
FRAME = "(a|b) ?[0-9]{1,2}"


class Choosy(OpenAIServer):
    """Refuses what it is told to refuse, in the words of real servers; says what it is told to say."""

    refused: tuple[str, ...] = ()
    said: dict[str, Any] | None = None

    def answer(self, path: str, body: dict[str, Any], gone: Any) -> tuple[int, str | dict[str, Any]]:
        if "max_tokens" in self.refused and "max_tokens" in body:
            told = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."
            return 400, {"error": {"message": told}}
        if "system" in self.refused and any(m["role"] == "system" for m in body.get("messages", ())):
            return 400, {"error": {"message": "System role not supported"}}
        if self.said is not None:
            usage = {"prompt_tokens": 5, "completion_tokens": 7}
            choice = {"index": 0, "finish_reason": "stop", "message": self.said}
            return 200, {"choices": [choice] * body["n"], "usage": usage}
        limit = body.get("max_completion_tokens")
        return super().answer(path, body if limit is None else {**body, "max_tokens": limit}, gone)


@pytest.fixture
def server() -> Iterator[Choosy]:
    found = Choosy(MINIATURE, owner="someone")
    yield found
    found.close()


def ask(server: OpenAIServer, *requests: GenerationRequest, journal: Journal | None = None, **config: Any) -> list[str]:
    pool = EnginePool()
    try:
        model = ModelSpec("m", "openai", server.config(**config))
        return [each[0].text for each in pool.generate(model, requests, journal=journal)]
    finally:
        pool.close()


def test_a_server_that_bounds_completions_by_another_name_is_asked_so_from_then_on(server: Choosy) -> None:
    calm = ask(server, PLAIN)
    server.refused = ("max_tokens",)
    server.seen.clear()
    assert ask(server, PLAIN, PLAIN, concurrency=1) == calm * 2
    assert ["max_completion_tokens" in body for *_, body in server.seen] == [False, True, True]


def test_a_server_without_a_system_role_gets_the_prompt_in_the_first_turn(server: Choosy) -> None:
    turns = (Message("system", "Be brief."), *PLAIN.prompt.messages)
    server.refused = ("system",)
    server.said = {"content": "yes"}
    request = GenerationRequest(Prompt(turns, "", "v"))
    assert ask(server, request, request, concurrency=1) == ["yes", "yes"]
    assert [m["content"] for m in server.seen[-1][2]["messages"]] == ["Be brief.\n\nAdd [3, 4]."]
    assert len(server.seen) == 3


def test_another_refusal_stays_one(server: Choosy) -> None:
    server.faults.append("400")
    with pytest.raises(EngineError, match="told to answer 400"):
        ask(server, PLAIN)


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"content": None, "reasoning_content": "hm"}, "<think>\nhm\n</think>\n\n"),
        ({"content": None, "reasoning": "hm"}, "<think>\nhm\n</think>\n\n"),
        ({"content": "7", "reasoning_content": "3 + 4"}, "<think>\n3 + 4\n</think>\n\n7"),
        ({"content": "7", "reasoning_content": None}, "7"),
        ({"content": None}, ""),
        ({"content": [{"type": "thinking", "thinking": []}, {"type": "text", "text": "7"}]}, "7"),
    ],
)
def test_what_a_server_thinks_apart_is_read_and_counted(server: Choosy, said: dict[str, Any], text: str) -> None:
    server.said = said
    pool = EnginePool()
    [[found]] = pool.generate(ModelSpec("m", "openai", server.config()), [PLAIN])
    pool.close()
    assert found == Completion(text, "stop", 5, 7)


def test_tokens_are_shared_by_all_that_was_written() -> None:
    thought = {"index": 0, "finish_reason": "stop", "message": {"content": "a", "reasoning": "b" * 400}}
    plain = {"index": 1, "finish_reason": "stop", "message": {"content": "abcd"}}
    answer = Choices.of({"choices": [thought, plain], "usage": {"completion_tokens": 100, "prompt_tokens": 3}})
    assert answer is not None
    found = read_choices("m", answer, Unit(0, GenerationRequest(PLAIN.prompt, n=2, temperature=1.0), 0, 2))
    assert sum(c.completion_tokens for c in found) == 100
    assert found[0].completion_tokens > 90


def test_template_variables_travel_with_the_turns(server: Choosy) -> None:
    ask(server, PLAIN, template_kwargs={"enable_thinking": False}, date="2025-03-04")
    assert server.seen[-1][2]["chat_template_kwargs"] == {"enable_thinking": False, "date_string": "04 Mar 2025"}
    ask(server, PLAIN)
    assert "chat_template_kwargs" not in server.seen[-1][2]


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("vllm", {"structured_outputs": {"regex": FRAME}}),
        ("sglang", {"regex": FRAME}),
        ("llamacpp", {"grammar": 'root ::= ( "a" | "b" ) " " ? [0-9] {1,2}'}),
    ],
)
def test_known_servers_are_sent_the_frame_as_they_take_it(kind: str, sent: dict[str, Any]) -> None:
    request = GenerationRequest(PLAIN.prompt, frame=FRAME)
    body = request_body("m", SERVER_KINDS[kind], Unit(0, request, 0, 1), 9)
    assert sent.items() <= body.items()
    assert not sent.keys() & request_body("m", SERVER_KINDS[kind], Unit(0, PLAIN, 0, 1), 9).keys()


def test_a_hosted_server_answers_an_edit_as_json_without_an_opening(server: Choosy) -> None:
    server.said = {"content": json.dumps({"rewritten": "9 + 2 = $18\nmore"}), "reasoning_content": 'a {"rewritten": 1}'}
    request = GenerationRequest(Prompt(PLAIN.prompt.messages, "```\nStep 1: ", "v", ("\n",)), frame=FRAME)
    journal = Journal()
    assert ask(server, request, journal=journal) == ["9 + 2 = $18\nmore"]
    body = server.seen[-1][2]
    assert [m["role"] for m in body["messages"]] == ["user"]
    assert "stop" not in body
    assert body["response_format"] == frame_body("json_schema", FRAME)["response_format"]
    assert journal.fallbacks == set()
    with pytest.raises(EngineError, match=r"editing\.structured 'always'"):
        ask(server, GenerationRequest(request.prompt))


def test_an_engine_without_frames_decodes_freely_and_says_so() -> None:
    pool, journal = EnginePool(), Journal()
    model = ModelSpec("m", "transformers", {"path": str(MINIATURE), "device": "cpu"})
    request = GenerationRequest(solve_prompt("Add [3, 4]."), max_tokens=8)
    try:
        free = pool.generate(model, [request])
        framed = GenerationRequest(request.prompt, max_tokens=8, frame=FRAME)
        assert pool.generate(model, [framed], journal=journal) == free
    finally:
        pool.close()
    assert journal.fallbacks == {"structured"}


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ('{"rewritten": "a"}', "a"),
        ('<think>\n{"rewritten": "b"}\n</think>\n\n{"rewritten": "a"}', "a"),
        ('{"rewritten": "a', ""),
        ('{"other": "a"}', ""),
        ('{"rewritten": 3}', ""),
        ("plain", ""),
        ("[1]", ""),
    ],
)
def test_an_answer_that_is_not_the_object_is_no_reply(text: str, reply: str) -> None:
    assert from_json(text) == reply


def test_a_grammar_quotes_what_is_text() -> None:
    assert gbnf('\\$[0-9]{2} = "\\\\') == 'root ::= "$" [0-9] {2} " " "=" " " "\\"" "\\\\"'
