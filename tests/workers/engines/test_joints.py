"""Tokenizers and templates as transformers has them, and what is joined by ids: openings, steps, ends of turns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from errata.prompts import solve_prompt
from errata.types import Message, Prompt
from tests.workers.engines.conftest import MODEL
from tests.workers.engines.small_tokenizers import (
    saved,
    with_spaces_before_words,
    with_spaces_prepended,
    write_folder,
)
from workers.engines.joints import (
    continuation_ids,
    decoded_behind,
    end_of_turn,
    held_back,
    ids_of,
    without_held_back,
)
from workers.engines.rendering import LocalTokenizer, prompt_ids
from workers.training.config import resolve
from workers.training.run.data import encode

TURNS = [{"role": "user", "content": "a"}]


def same_as_transformers(folder: Path) -> LocalTokenizer:
    """The folder's tokenizer, once its prompt has the ids that transformers gives."""
    ours, theirs = LocalTokenizer(str(folder)), AutoTokenizer.from_pretrained(str(folder))
    expected = theirs.apply_chat_template(TURNS, tokenize=True, add_generation_prompt=True, return_dict=False)
    assert prompt_ids(ours, Prompt((Message("user", "a"),), "", "v")) == expected
    return ours


def test_what_the_template_marks_as_generated_is_rendered(tmp_path: Path) -> None:
    template = (
        "{% for m in messages %}{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] }}<|end|>"
        "{% endgeneration %}{% else %}[{{ m['content'] }}]{% endif %}{% endfor %}"
    )
    write_folder(tmp_path, with_spaces_before_words(["<|end|>"]), chat_template=template, eos_token="<|end|>")
    ours = same_as_transformers(tmp_path)
    turns = [*TURNS, {"role": "assistant", "content": "The"}]
    assert ours.apply_chat_template(turns, add_generation_prompt=False) == "[a]The<|end|>"


def test_a_special_token_that_stands_in_its_own_file_is_known(tmp_path: Path) -> None:
    write_folder(tmp_path, with_spaces_before_words(), chat_template="{{ bos_token }}[{{ messages[0]['content'] }}]")
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"bos_token": {"content": "<s>"}}))
    ours = same_as_transformers(tmp_path)
    assert ours.apply_chat_template(TURNS, add_generation_prompt=True) == "<s>[a]"
    assert len(ids_of(ours, "<s>")) == 1


@pytest.mark.parametrize("where", ["added_tokens.json", "tokenizer_config.json"])
def test_a_token_that_tokenizer_json_lacks_is_added(tmp_path: Path, where: str) -> None:
    more: dict[str, Any] = {}
    at = with_spaces_before_words().get_vocab_size()
    if where == "tokenizer_config.json":
        more = {"added_tokens_decoder": {str(at): {"content": "<|user|>", "special": True, "normalized": False}}}
    template = "<|user|>{{ messages[0]['content'] }}"
    write_folder(tmp_path, with_spaces_before_words(), chat_template=template, **more)
    if not more:
        (tmp_path / where).write_text(json.dumps({"<|user|>": at}))
    ours = same_as_transformers(tmp_path)
    assert ids_of(ours, "<|user|>") == [at]


def test_full_solutions_end_with_what_the_template_writes_and_not_with_eos(tmp_path: Path) -> None:
    template = "{% for m in messages %}<start>{{ m['content'] }}<turn>\n{% endfor %}"
    special = ["<start>", "<turn>", "<eos>"]
    ours = saved(tmp_path, with_spaces_before_words(special), chat_template=template, eos_token="<eos>")
    assert end_of_turn(ours) == ids_of(ours, "<turn>")[0] != ours.eos_token_id
    row = {"type": "full", "pair_id": "p", "problem_id": "q", "question": "a", "chosen": "The", "rejected": "a"}
    [pair] = encode([row], ours, resolve("errata"))
    assert pair.chosen_ids[-1] == pair.rejected_ids[-1] == end_of_turn(ours)


@pytest.mark.parametrize("template", ["{{ raise_exception('no') }}", "{{ messages[-1]['content'] }}"])
def test_a_template_that_writes_no_end_leaves_eos(tmp_path: Path, template: str) -> None:
    ours = saved(tmp_path, with_spaces_before_words(["<eos>"]), chat_template=template, eos_token="<eos>")
    assert end_of_turn(ours) == ours.eos_token_id


def test_steps_joined_by_ids_read_as_the_solution_where_a_space_is_prepended(tmp_path: Path) -> None:
    ours = saved(tmp_path, with_spaces_prepended(), eos_token="</s>")
    steps = ["Step two: a = 5\n", "Step two: a\n", "The 5"]
    joined = ids_of(ours, steps[0]) + [i for step in steps[1:] for i in continuation_ids(ours, step)]
    assert ours.decode(joined) == "".join(steps)
    plain = [i for step in steps for i in ids_of(ours, step)]
    assert ours.decode(plain) != "".join(steps)  # what goes wrong without


def test_trained_steps_read_as_the_solution_where_a_space_is_prepended(tmp_path: Path) -> None:
    ours = saved(tmp_path, with_spaces_prepended(), eos_token="</s>")
    row = {
        "type": "step", "pair_id": "p", "problem_id": "q", "question": "a", "error_kind": "operator",
        "prefix": "Step 1: a = 5\n", "chosen": "Step 2: a = 7\n", "rejected": "Step 2: a = 8\n",
    }  # fmt: skip
    [pair] = encode([row], ours, resolve("errata"))
    rendered = prompt_ids(ours, Prompt(solve_prompt("a").messages, "", "v"))
    for side, ids in (("chosen", pair.chosen_ids), ("rejected", pair.rejected_ids)):
        assert ours.decode([*pair.prompt_ids[len(rendered) :], *ids]) == row["prefix"] + row[side]


def test_what_is_generated_behind_an_opening_keeps_its_space(tmp_path: Path) -> None:
    ours = saved(tmp_path, with_spaces_prepended())
    written = ids_of(ours, "The 5")  # begins with the mark of a space
    assert decoded_behind(ours, written, opened=True) == " The 5"
    assert decoded_behind(ours, written, opened=False) == "The 5"


def test_a_space_at_the_openings_end_is_left_to_the_model(tmp_path: Path) -> None:
    ours = saved(tmp_path, with_spaces_before_words())
    asked = Prompt((Message("user", "a"),), "a: ", "v")
    assert held_back(ours, "a: ") == " "
    ids = prompt_ids(ours, asked)
    natural = ids_of(ours, "[a]") + ids_of(ours, "a: The")
    assert natural[: len(ids)] == ids
    assert "a: " + without_held_back(" The", " ") == "a: The"
    assert held_back(ours, "a:\n") == held_back(ours, "a:") == ""


def test_the_miniature_is_prompted_as_it_was_taught() -> None:
    ours = LocalTokenizer(str(MODEL))
    prompt = solve_prompt("Tom has 3 apples.")
    assert held_back(ours, prompt.assistant_prefix) == ""  # its words take the space behind them along
    assert ours.decode(prompt_ids(ours, prompt)).endswith(prompt.assistant_prefix)
