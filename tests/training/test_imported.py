"""Imported rows as token ids: prompts as the file gives them, EOS behind whole replies, two steps on an OpenAI file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from errata.imports.config import ImportConfig
from errata.imports.formats import known_format
from errata.imports.rows import as_row
from tests.training.conftest import make_dataset, make_model, make_rows, make_tokenizer
from tests.training.test_run import make_spec, run
from workers.training.config import resolve
from workers.training.run.data import DatasetError, Pair, encode

TOKENIZER = make_tokenizer()
EOS = TOKENIZER.eos_token_id


def imported(row: dict[str, Any], **config: Any) -> dict[str, Any]:
    known = known_format(None, row)
    assert known is not None
    return as_row(known.read(row, ImportConfig(**config)))


def ids(row: dict[str, Any], tokenizer: Any = TOKENIZER, **overrides: Any) -> Pair:
    return encode([row], tokenizer, resolve("errata", overrides))[0]


def text(tokens: tuple[int, ...]) -> str:
    return str(TOKENIZER.decode(list(tokens)))


TALK = [
    {"role": "system", "content": "S"},
    {"role": "user", "content": "Q1"},
    {"role": "assistant", "content": "A1"},
    {"role": "user", "content": "Q2"},
]
OPENAI = {
    "input": {"messages": TALK},
    "preferred_output": [{"role": "assistant", "content": "First.\nStep 2: good"}],
    "non_preferred_output": [{"role": "assistant", "content": "First.\nStep 2: bad"}],
}


def test_messages_go_through_the_template_whole() -> None:
    pair = ids(imported(OPENAI))
    rendered = TOKENIZER.apply_chat_template(TALK, add_generation_prompt=True, tokenize=False)
    assert text(pair.prompt_ids) == rendered
    for side, said in ((pair.chosen_ids, "good"), (pair.rejected_ids, "bad")):
        assert text(side) == f"First.\nStep 2: {said}<|end|>"
        assert (side[-1], side.count(EOS)) == (EOS, 1)


def test_a_text_stands_before_the_reply_as_it_is() -> None:
    row = imported({"prompt": "Q: 2 + 2\nA:", "chosen": " 4", "rejected": " 5"}, prompts="text")
    pair = ids(row)
    assert (text(pair.prompt_ids), text(pair.chosen_ids)) == ("Q: 2 + 2\nA:", " 4<|end|>")
    assert (pair.chosen_ids[-1], pair.rejected_ids[-1]) == (EOS, EOS)


class WithBos:
    """A tokenizer that begins texts with BOS."""

    eos_token_id = EOS

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        plain = TOKENIZER(text, add_special_tokens=False)["input_ids"]
        return {"input_ids": [0, *plain] if add_special_tokens else plain}

    def apply_chat_template(self, *args: Any, **values: Any) -> Any:
        return TOKENIZER.apply_chat_template(*args, **values)

    def decode(self, *args: Any, **values: Any) -> Any:
        return TOKENIZER.decode(*args, **values)


def test_a_text_begins_with_bos_once() -> None:
    row = imported({"prompt": "Q", "chosen": "a", "rejected": "b"}, prompts="text")
    assert ids(row, WithBos()).prompt_ids == (0, *ids(row).prompt_ids)
    rendered = row | {"prompt_text": "<|pad|>Q"}
    assert ids(rendered, WithBos()).prompt_ids.count(0) == 1


def test_our_own_rows_are_asked_as_ever() -> None:
    for row in make_rows(problems=2):
        own = row | {"evidence": "contradiction"}
        own.pop("domain")
        back = imported(own | {"pair_id": row["pair_id"]})
        now, before = ids(back), ids(row)
        assert (now.prompt_ids, now.is_step) == (before.prompt_ids, before.is_step)
        assert (now.chosen_ids, now.rejected_ids) == (before.chosen_ids, before.rejected_ids)


def test_samples() -> None:
    sample = {
        "prompt": TALK,
        "completion": [{"role": "assistant", "content": "good"}],
        "problem_id": "p",
        "question": "Q",
    }
    found = encode([sample], TOKENIZER, resolve("sft"))[0]
    assert text(found.chosen_ids) == "good<|end|>"
    assert text(found.prompt_ids) == TOKENIZER.apply_chat_template(TALK, add_generation_prompt=True, tokenize=False)
    plain = {"prompt": "Q", "completion": "good", "problem_id": "p", "question": "Q", "prompt_text": "Q"}
    assert text(encode([plain], TOKENIZER, resolve("sft"))[0].prompt_ids) == "Q"


def test_a_template_that_refuses_a_system_message_is_told() -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = "{{ raise_exception('no system role') if messages[0]['role'] == 'system' else '' }}"
    with pytest.raises(DatasetError, match=r"row 1.*chat template.*no system role"):
        ids(imported(OPENAI), tokenizer, eos="none")


@pytest.mark.parametrize("objective", ["dpo", "sft"])
def test_two_steps_on_an_openai_file(tmp_path: Path, objective: str) -> None:
    make_model(tmp_path / "base")
    rows = [imported(OPENAI | {"input": {"messages": [{"role": "user", "content": f"Q{n}"}]}}) for n in range(8)]
    make_dataset(tmp_path / "dataset", rows)
    heard = run(make_spec(tmp_path, objective=objective, max_steps=2, batch_size=4, nll_scope="full"))
    values = [message["values"] for message in heard.of("metrics") if message["step"] in (1, 2)]
    assert len(values) >= 2
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()
