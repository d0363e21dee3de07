"""TRL's own trainers on every shape that is theirs: what their preprocessing makes of each row, and two steps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import pytest
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, SFTConfig, SFTTrainer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer

from errata.shapes import SHAPES
from tests.workers.freezing.consumers.conftest import rows_of
from workers.engines.chat_templates import knows_chat_template

CLASSES: dict[str, tuple[Any, Any]] = {
    "DPOTrainer": (DPOTrainer, DPOConfig),
    "KTOTrainer": (KTOTrainer, KTOConfig),
    "SFTTrainer": (SFTTrainer, SFTConfig),
    "ORPOTrainer": (ORPOTrainer, ORPOConfig),
}
CASES = [("chatml", name, trainer) for name, shape in SHAPES.items() for trainer in shape.trl]
# The other family of tokenizers for one shape as text and one as turns: all rows of a kind are prepared alike.
CASES += [("sentencepiece", "whole", "DPOTrainer"), ("sentencepiece", "sft_conversational", "SFTTrainer")]
CASES += [("sentencepiece", "whole", "ORPOTrainer")]


class Encoded(NamedTuple):
    """A row after preprocessing: ids of the prompt, and of each completion."""

    prompt: list[int]
    completions: list[list[int]]


@pytest.fixture
def make_trainer(
    frozen_shapes: tuple[Path, dict[str, Any]],
    tokenizer: PreTrainedTokenizerFast,
    tiny_model: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    """A trainer with its defaults over a shape as ``load_dataset`` gives it; no column is renamed."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)

    def make(shape: str, name: str) -> Any:
        kind, config = CLASSES[name]
        folder = str(frozen_shapes[0])
        data = datasets.load_dataset(folder, shape, split="train", cache_dir=str(tmp_path / "cache"))
        arguments = config(
            output_dir=str(tmp_path / "out"),
            max_steps=2,
            per_device_train_batch_size=2,
            use_cpu=True,
            bf16=False,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
        )
        model = LlamaForCausalLM.from_pretrained(tiny_model)
        return kind(model=model, args=arguments, train_dataset=data, processing_class=tokenizer)

    return make


def encoded(trainer: Any) -> Iterator[Encoded]:
    """The rows of the trainer's dataset, whatever its columns are called."""
    for row in trainer.train_dataset:
        if "chosen_labels" in row:  # ORPO
            prompt = row["prompt_input_ids"]
            yield Encoded(prompt, [row[f"{side}_input_ids"][len(prompt) :] for side in ("chosen", "rejected")])
        elif "labels" in row:  # SFT
            begins = next(at for at, label in enumerate(row["labels"]) if label != -100)
            yield Encoded(row["input_ids"][:begins], [row["input_ids"][begins:]])
        else:
            yield Encoded(
                row["prompt_ids"],
                [row[key] for key in ("chosen_ids", "rejected_ids", "completion_ids") if key in row],
            )


def asked(tokenizer: PreTrainedTokenizerFast, prompt: Any) -> list[int]:
    """The ids of the prompt alone."""
    if isinstance(prompt, str):
        return list(tokenizer(prompt)["input_ids"])
    text = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def said(row: dict[str, Any]) -> list[str]:
    """The texts of a row's completions."""
    sides = [row[name] for name in ("chosen", "rejected", "completion") if name in row]
    return [side if isinstance(side, str) else side[0]["content"] for side in sides]


@pytest.mark.parametrize(("tokenizer", "shape", "name"), CASES, indirect=["tokenizer"])
def test_preprocessed_rows_hold_what_they_should(
    shape: str, name: str, make_trainer: Any, tokenizer: PreTrainedTokenizerFast, frozen_shapes: Any
) -> None:
    trainer, rows = make_trainer(shape, name), rows_of(frozen_shapes[0], shape)
    found = list(encoded(trainer))
    assert len(found) == len(rows) >= 15, "no row was dropped"
    for row, (prompt, completions) in zip(rows, found, strict=True):
        content = row["prompt"] if isinstance(row["prompt"], str) else row["prompt"][0]["content"]
        assert content.strip() in tokenizer.decode(prompt), "the prompt holds the question"
        begun = prompt[prompt[0] == tokenizer.bos_token_id :]  # ORPO's trainer puts one before a text, too
        alone = asked(tokenizer, row["prompt"])
        assert begun == alone[alone[0] == tokenizer.bos_token_id :], "the boundary has not moved"
        for ids, text in zip(completions, said(row), strict=True):
            end = ids.index(tokenizer.eos_token_id)
            assert tokenizer.decode(ids[:end]).strip() == text.strip(), "nothing stands behind the answer"
            assert not tokenizer.decode(ids[end:], skip_special_tokens=True).strip()
            assert len(prompt) + len(ids) <= trainer.args.max_length, "and nothing of it is cut"
        if len(completions) == 2:
            assert completions[0] != completions[1]
    trainer.train()
    assert trainer.state.global_step == 2


def test_what_errata_trains_on_keeps_its_question_in_trl(
    make_trainer: Any, tokenizer: PreTrainedTokenizerFast, frozen_shapes: Any
) -> None:
    """Named explicitly, against the card: the question and the steps before are still the prompt."""
    rows = rows_of(frozen_shapes[0], "steps_and_full")
    for row, (prompt, _) in zip(rows, encoded(make_trainer("steps_and_full", "DPOTrainer")), strict=True):
        assert row["question"].strip() in tokenizer.decode(prompt)


def test_a_shape_that_ends_with_steps_would_teach_to_stop(
    make_trainer: Any, tokenizer: PreTrainedTokenizerFast, frozen_shapes: Any
) -> None:
    """Why such a shape names no trainer of TRL: an end of sequence stands amid the solution."""
    whole = {row["prompt"].strip(): row["chosen"] for row in rows_of(frozen_shapes[0], "whole")}
    amid = 0
    for row, (_, completions) in zip(
        rows_of(frozen_shapes[0], "trl"), encoded(make_trainer("trl", "DPOTrainer")), strict=True
    ):
        solution = whole.get(row["prompt"].strip(), "")
        assert completions[0][-1] == tokenizer.eos_token_id
        amid += row["chosen"] in solution and not solution.endswith(row["chosen"])
    assert amid > 0
    assert all(not SHAPES[name].trl for name in ("trl", "trl_conversational", "kto", "openai", "step_dpo"))


def test_a_saved_tokenizer_tells_its_template(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path / "chat")
    assert knows_chat_template("transformers", {"path": str(tmp_path / "chat")})
    tokenizer.chat_template, kept = None, tokenizer.chat_template
    try:
        tokenizer.save_pretrained(tmp_path / "base")
    finally:
        tokenizer.chat_template = kept
    assert not knows_chat_template("transformers", {"path": str(tmp_path / "base")})
    assert not knows_chat_template("vllm", {"path": str(tmp_path / "base")})
    assert knows_chat_template("vllm", {"path": "/a/folder/of/another/machine"})
    assert knows_chat_template("openai", {"base_url": "http://x", "model": "m"})
