"""The miniature's tokenizer: nothing is lost, step borders are token borders, the template serves any chat."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

import demo
from demo.lessons import lessons, numbered_steps
from demo.problems import stories, true_bodies
from demo.tokens import render
from errata.prompts import solve_prompt

TOKENIZER: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(Path(demo.__file__).parent / "model")


def ids(text: str) -> list[int]:
    return list(TOKENIZER(text, add_special_tokens=False)["input_ids"])


@settings(deadline=None)
@given(st.text())
def test_any_text_comes_back_unchanged(text: str) -> None:
    assert TOKENIZER.decode(ids(text)) == text


def test_digits_are_single_tokens_and_known_words_whole() -> None:
    words = TOKENIZER.convert_ids_to_tokens(ids("Step 12: Tom has 345 apples."))
    assert [w for w in words if w.strip("Ġ").isdigit()] == list("12345")
    assert len(words) == 11


def test_cutting_at_a_step_or_its_label_changes_no_ids() -> None:
    for question, story, results in islice(stories(3), 100):
        text, steps = numbered_steps(true_bodies(story, results))
        opening = render(TOKENIZER, solve_prompt(question)).removesuffix("Step 1: ")
        assert opening.endswith(text[: steps[0].start])
        parts = [ids(opening)]
        for step in steps:
            parts += [ids(text[step.start : step.body_start]), ids(text[step.body_start : step.end])]
        whole = ids(opening + text[steps[0].start :])
        assert [i for part in parts for i in part] == whole


def test_lessons_are_cut_at_token_borders() -> None:
    for lesson in islice(lessons(1), 300):
        head = render(TOKENIZER, lesson.prompt)
        assert ids(head + lesson.reply + "<|end|>") == ids(head) + ids(lesson.reply + "<|end|>")


def test_template_takes_system_turns_and_continues_an_assistant_turn() -> None:
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Let's think step by step.\nStep 1: "},
    ]
    opening = "<|system|>Be brief.<|end|><|user|>Hello<|end|><|assistant|>"
    assert TOKENIZER.apply_chat_template(chat[:2], tokenize=False, add_generation_prompt=True) == opening
    text = opening + chat[2]["content"]
    assert TOKENIZER.apply_chat_template(chat, tokenize=False, continue_final_message=True) == text
    assert TOKENIZER.apply_chat_template(chat, tokenize=False) == text + "<|end|>"


def test_template_refuses_other_roles() -> None:
    with pytest.raises(Exception, match="Only system, user and assistant"):
        TOKENIZER.apply_chat_template([{"role": "tool", "content": "x"}], tokenize=False)


def test_end_of_turn_is_the_end_of_sequence_and_padding_is_another() -> None:
    assert TOKENIZER.eos_token == "<|end|>"
    assert TOKENIZER.pad_token_id != TOKENIZER.eos_token_id
    assert TOKENIZER.eos_token_id not in ids("The answer is \\boxed{3}.")
