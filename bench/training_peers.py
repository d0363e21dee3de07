"""The rows and the two sides of the benchmark of a training step: stock TRL at its best, and the tree-packed trainer.

Rows are preference pairs as token ids, with the lengths that GSM8K problems and solutions to them have.
"""

from __future__ import annotations

import random
import threading
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from bench.random_llama import build
from workers.training.config import resolve
from workers.training.run.data import Pair
from workers.training.run.trainer import RiseTrainer

VOCABULARY = 2048
# Deciles of token counts, measured on 400 GSM8K questions and 1,600 solutions to them; a chat turn adds about 45.
QUESTION = [20, 35, 40, 47, 51, 57, 64, 68, 81, 94, 150]
STEP = [12, 20, 24, 28, 30, 32, 34, 37, 41, 50, 80]
STEPS = [2, 3, 3, 4, 4, 4, 4, 5, 5, 6, 8]
TURN = 45
SIZES = {"4m": (256, 4, 704), "12m": (384, 6, 1024), "110m": (768, 12, 2048), "1b": (2048, 16, 5632)}
#: Qwen2.5's own shapes at 0.5 and 1.5 billion parameters, with its vocabulary, which is what costs memory.
QWEN: dict[str, dict[str, Any]] = {
    "qwen-0.5b": {"hidden_size": 896, "num_hidden_layers": 24, "intermediate_size": 4864, "num_attention_heads": 14},
    "qwen-1.5b": {"hidden_size": 1536, "num_hidden_layers": 28, "intermediate_size": 8960, "num_attention_heads": 12},
}


def at(deciles: list[int], share: float) -> int:
    """The value below which ``share`` of the distribution lies."""
    place = share * (len(deciles) - 1)
    low = min(int(place), len(deciles) - 2)
    return round(deciles[low] + (place - low) * (deciles[low + 1] - deciles[low]))


def spread(rng: random.Random, count: int) -> list[float]:
    """``count`` shares, one from each of as many equal parts of [0, 1): a few problems must stand for many."""
    shares = [(i + rng.random()) / count for i in range(count)]
    rng.shuffle(shares)
    return shares


def make_pairs(problems: int, edits: int, seed: int = 0) -> list[Pair]:
    """N edits of one token each in different steps, and a full pair, per problem."""
    rng, pairs = random.Random(seed), []

    def ids(count: int) -> tuple[int, ...]:
        return tuple(rng.randrange(3, VOCABULARY) for _ in range(count))

    def solution(count: int) -> list[tuple[int, ...]]:
        return [ids(at(STEP, share)) for share in spread(rng, count)]

    draws = zip(*(spread(rng, problems) for _ in range(3)), strict=True)
    for p, (asked, correct, wrong) in enumerate(draws):
        question = ids(TURN + at(QUESTION, asked))
        steps = solution(max(at(STEPS, correct), edits))
        for k in sorted(rng.sample(range(len(steps)), edits)):
            place = rng.randrange(len(steps[k]))
            edited = (*steps[k][:place], 2, *steps[k][place + 1 :])
            before = question + sum(steps[:k], ())
            pairs.append(Pair(f"{p}.{k}", f"p{p}", True, "calculation", before, steps[k], edited))
        incorrect = sum(solution(at(STEPS, wrong)), ())
        pairs.append(Pair(f"{p}.full", f"p{p}", False, None, question, (*sum(steps, ()), 1), (*incorrect, 1)))
    return pairs


def make_model(size: str, device: str) -> Any:
    """A Llama with random weights, or a Qwen2 of one of the sizes of ``QWEN``."""
    if size in QWEN:
        shared: dict[str, Any] = {
            "vocab_size": 151936,
            "num_key_value_heads": 2,
            "tie_word_embeddings": True,
            "rope_theta": 1e6,
        }
        torch.manual_seed(0)
        with torch.device(device):
            qwen: Any = Qwen2ForCausalLM(Qwen2Config(**shared, **QWEN[size], pad_token_id=0, eos_token_id=1))
        qwen.set_attn_implementation("sdpa")
        return qwen
    heads = SIZES[size][0] // 64
    model = build(SIZES[size], vocab_size=VOCABULARY, num_key_value_heads=heads, pad_token_id=0, eos_token_id=1)
    model.set_attn_implementation("sdpa")
    return model.to(device)


def make_tokenizer() -> Any:
    """Only a padding token: rows are ids already."""
    tokenizer = Tokenizer(models.WordLevel({"<pad>": 0, "<end>": 1}, unk_token="<pad>"))
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>"
    )


class StockTRL(DPOTrainer):
    """TRL as it is, given ids and reference log-probabilities (its own preparation takes text)."""

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset

    def _precompute_ref_logps(self, dataset: Any, *_: Any) -> Any:
        return dataset

    def _send_telemetry(self) -> None:
        """Nothing leaves this machine."""


class Silent:
    """Nobody listens."""

    def __init__(self) -> None:
        self.stop_asked = threading.Event()

    def send(self, kind: str, **data: Any) -> None:
        """Drop the message."""


class Stock:
    """One optimizer batch by TRL: collate, forward, backward for every micro-batch.

    ``micro`` rows at a time, of similar length (``by_length``) or in any order; both may be set anew. One trainer does
    for all: TRL reads every weight when it makes one.
    """

    def __init__(self, model: Any, pairs: list[Pair], folder: str, bf16: bool) -> None:
        self.micro, self.by_length = 1, False
        self._rows = {
            True: [_row(p) for p in sorted(pairs, key=_length)],
            False: [_row(p) for p in random.Random(1).sample(pairs, len(pairs))],
        }
        arguments = DPOConfig(
            output_dir=folder,
            max_length=None,
            per_device_train_batch_size=1,  # batches are cut here: one trainer does for micro-batches of any size
            precompute_ref_log_probs=True,
            gradient_checkpointing=False,
            bf16=bf16,
            report_to="none",
        )
        self.trainer: Any = StockTRL(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_list(self._rows[True]),
            processing_class=make_tokenizer(),
        )
        self.trainer.optimizer = None

    def step(self, count: int | None = None) -> None:
        """Forward and backward over the batch, or its first ``count`` rows, ``micro`` rows at a time."""
        rows = self._rows[self.by_length][:count]
        self.trainer.current_gradient_accumulation_steps = -(-len(self._rows[True]) // self.micro)
        for at in range(0, len(rows), self.micro):
            self.trainer.training_step(self.trainer.model, self.trainer.data_collator(rows[at : at + self.micro]))


class Ours:
    """One optimizer batch by the tree-packed trainer, with the attention that ``model`` has."""

    def __init__(self, model: Any, pairs: list[Pair], micro: int, folder: str, bf16: bool) -> None:
        config = resolve(
            "errata",
            {
                "batch_size": len(pairs),
                "micro_batch": micro,
                "nll_weight": 0.0,
                "dtype": "bfloat16" if bf16 else "float32",
            },
        )
        self.trainer = RiseTrainer(model, make_tokenizer(), pairs, config, Path(folder), Silent())
        self.trainer.reference = torch.full((len(pairs), 2), -10.0)
        self.trainer.optimizer = None

    def step(self) -> None:
        """Forward and backward over the batch."""
        self.trainer.training_step(self.trainer.model, {"step": 0})


def _row(pair: Pair) -> dict[str, Any]:
    return {
        "prompt_ids": list(pair.prompt_ids),
        "chosen_ids": list(pair.chosen_ids),
        "rejected_ids": list(pair.rejected_ids),
        "ref_chosen_logps": -10.0,
        "ref_rejected_logps": -10.0,
    }


def _length(pair: Pair) -> int:
    return len(pair.prompt_ids) + max(len(pair.chosen_ids), len(pair.rejected_ids))
