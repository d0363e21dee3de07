"""What templates are given: an entry's variables, one date, system prompts without a role, thoughts that are open."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from errata.types import Message, Prompt
from tests.workers.engines.small_tokenizers import with_spaces_before_words, write_folder
from workers.engines.base import EngineError, ScoreRequest
from workers.engines.registry import checked
from workers.engines.rendering import LocalTokenizer, rendered_messages
from workers.engines.scoring import TextScorer
from workers.engines.templates import PINNED_DATE, sent_values, with_template_values

REFUSES = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}[{{ m['role'] }}:{{ m['content'] }}]{% endfor %}"
)
DROPS = "{% for m in messages if m['role'] != 'system' %}[{{ m['role'] }}:{{ m['content'] }}]{% endfor %}"
TAKES = "{% for m in messages %}[{{ m['role'] }}:{{ m['content'] }}]{% endfor %}"
TURNS = (Message("system", "Be brief."), Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
READERS = ["ours", "transformers"]


def tokenizer(folder: Path, template: str, reader: str, **settings: Any) -> Any:
    write_folder(folder, with_spaces_before_words(), chat_template=template)
    found = LocalTokenizer(str(folder)) if reader == "ours" else AutoTokenizer.from_pretrained(folder)
    return with_template_values(found, settings)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        (TAKES, "[system:Be brief.][user:a][assistant:b][user:c]"),
        (REFUSES, "[user:Be brief.\n\na][assistant:b][user:c]"),
        (DROPS, "[user:Be brief.\n\na][assistant:b][user:c]"),
    ],
)
def test_a_system_prompt_without_a_role_opens_the_first_turn(
    tmp_path: Path, template: str, rendered: str, reader: str
) -> None:
    assert rendered_messages(tokenizer(tmp_path, template, reader), Prompt(TURNS, "", "v")) == rendered


def test_a_template_that_refuses_the_turns_themselves_still_says_so(tmp_path: Path) -> None:
    never = tokenizer(tmp_path, "{{ raise_exception('never') }}", "ours")
    with pytest.raises(EngineError, match="never"):
        rendered_messages(never, Prompt(TURNS, "", "v"))


@pytest.mark.parametrize("reader", READERS)
def test_variables_of_the_entry_reach_the_template(tmp_path: Path, reader: str) -> None:
    template = "{% if enable_thinking is defined and enable_thinking is false %}quiet{% else %}loud{% endif %}"
    prompt = Prompt(TURNS[1:], "", "v")
    assert rendered_messages(tokenizer(tmp_path, template, reader), prompt) == "loud"
    asked = checked("transformers", {"path": "x", "template_kwargs": '{"enable_thinking": false}'})
    assert rendered_messages(tokenizer(tmp_path, template, reader, **asked), prompt) == "quiet"


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("settings", [{}, {"date": "2025-03-04"}])
def test_the_date_of_a_prompt_is_the_same_tomorrow(tmp_path: Path, reader: str, settings: dict[str, str]) -> None:
    template = "{{ strftime_now('%Y-%m-%d') }}|{% if date_string is defined %}{{ date_string }}{% endif %}"
    told = rendered_messages(tokenizer(tmp_path, template, reader, **settings), Prompt(TURNS[1:], "", "v"))
    expected = {PINNED_DATE: f"{PINNED_DATE}|26 Jul 2024", "2025-03-04": "2025-03-04|04 Mar 2025"}
    assert told == expected[settings.get("date", PINNED_DATE)]


@pytest.mark.parametrize("reader", READERS)
def test_a_thought_that_the_template_opens_is_closed_where_the_reply_is_opened(tmp_path: Path, reader: str) -> None:
    thinking = tokenizer(tmp_path, TAKES + "{{ '<think>\n' }}", reader)
    turns = TURNS[1:2]
    assert rendered_messages(thinking, Prompt(turns, "", "v")) == "[user:a]<think>\n"
    assert rendered_messages(thinking, Prompt(turns, "```\n", "v")) == "[user:a]<think>\n\n</think>\n\n"
    # What goes on behind a thought has it closed already.
    assert rendered_messages(thinking, Prompt(turns, "hm</think>\nSo", "v")) == "[user:a]<think>\n"
    scored = TextScorer(thinking).encode(ScoreRequest(Prompt(turns, "", "v"), "The"))
    assert thinking.decode(scored.ids[: scored.first]).endswith("</think>\n\n")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"template_kwargs": "{enable_thinking: false}"}, "give a JSON object"),
        ({"template_kwargs": {"messages": []}}, "is set by Errata itself"),
        ({"date": "yesterday"}, "date"),
        ({"few_shot": 9}, "few_shot"),
    ],
)
@pytest.mark.parametrize("engine", ["transformers", "vllm", "openai"])
def test_an_entrys_settings_are_checked(engine: str, settings: dict[str, Any], told: str) -> None:
    needed = {"base_url": "http://a/v1", "model": "m"} if engine == "openai" else {"path": "x"}
    with pytest.raises(ValueError, match=told):
        checked(engine, {**needed, **settings})


def test_what_travels_to_a_server_is_what_the_entry_names() -> None:
    assert sent_values({}) == {}
    sent = sent_values({"template_kwargs": {"enable_thinking": False}, "date": "2025-03-04"})
    assert json.loads(json.dumps(sent)) == {"enable_thinking": False, "date_string": "04 Mar 2025"}
