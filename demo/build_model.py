"""Make the miniature: ``python -m demo.build_model [--steps N] [--out DIR] [--seed S] [--untrained]``.

A Llama-architecture model of about a million parameters is trained from scratch on demo.lessons, on a CPU, in
minutes, and saved with its tokenizer. ``--untrained`` saves a randomly initialised model of the same shape
with the miniature's tokenizer. Only the replies are learnt (plus the prompts, at PROMPT_WEIGHT).
"""

from __future__ import annotations

import argparse
import random
import shutil
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from demo.lessons import Lesson, drills, lessons
from demo.measure_model import Recipe, measure, write_card
from demo.tokens import MAX_TOKENS, render, train_tokenizer

OUT = Path(__file__).parent / "model"
STEPS, BATCH, SEED = 2000, 64, 7
PEAK_RATE, WARMUP, FINAL_SHARE = 6e-3, 100, 0.02
PROMPT_WEIGHT = 0.05
_SORTED_TOGETHER = 16
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "generation_config.json",
    "errata.json",
)

Row = tuple[list[int], list[float]]
"""Ids, and the weight of each in the loss."""


def shape(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    """The miniature's architecture."""
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=MAX_TOKENS,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def build_tokenizer(seed: int, count: int = 20_000) -> PreTrainedTokenizerFast:
    """The tokenizer learnt from the first lessons."""
    texts = (
        text
        for lesson in islice(lessons(seed), count)
        for text in (lesson.prompt.messages[0].content, lesson.prompt.assistant_prefix + lesson.reply)
    )
    return train_tokenizer(texts)


def encode(tokenizer: PreTrainedTokenizerFast, batch: list[Lesson]) -> list[Row]:
    """(ids, weights) of each lesson, rendered as an engine renders it, end of turn included."""
    prompts = [render(tokenizer, lesson.prompt) for lesson in batch]
    heads = tokenizer(prompts, add_special_tokens=False)["input_ids"]
    tails = tokenizer([lesson.reply + tokenizer.eos_token for lesson in batch], add_special_tokens=False)["input_ids"]
    return [
        (head + tail, [PROMPT_WEIGHT] * len(head) + [1.0] * len(tail)) for head, tail in zip(heads, tails, strict=True)
    ]


def encode_drill(tokenizer: PreTrainedTokenizerFast, sheets: list[str]) -> list[Row]:
    """Sheets of equations; only what stands behind an equals sign is learnt."""
    rows = []
    equals, line_end = (tokenizer.convert_tokens_to_ids(piece) for piece in ("\u0120=\u0120", "\u010a"))
    for ids in tokenizer([sheet + "\n" for sheet in sheets], add_special_tokens=False)["input_ids"]:
        weights, result = [], False
        for token in ids:
            weights.append(float(result))
            result = token == equals or (result and token != line_end)
        rows.append((ids, weights))
    return rows


def drill_share(progress: float) -> float:
    """The share of drill in a batch: calculating is learnt first, and kept up."""
    return max(0.1, 0.75 - 2.0 * progress)


def batches(tokenizer: PreTrainedTokenizerFast, steps: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """``steps`` batches of (ids, weights), both (BATCH, length), of rows of like length; padded on the right."""
    stream, sheets, rng = lessons(seed), drills(seed), random.Random(seed)
    made = 0
    while made < steps:
        count = BATCH * _SORTED_TOGETHER
        drill = round(count * drill_share(made / steps))
        rows = encode_drill(tokenizer, list(islice(sheets, drill)))
        rows += encode(tokenizer, list(islice(stream, count - drill)))
        # Sorted in large groups and shuffled by batch: little padding, and no batch knows its length from its place.
        rows.sort(key=lambda row: len(row[0]))
        chunks = [rows[at : at + BATCH] for at in range(0, len(rows), BATCH)]
        rng.shuffle(chunks)
        for chunk in chunks[: steps - made]:
            yield padded(chunk, int(tokenizer.pad_token_id))
        made += len(chunks)


def padded(rows: list[Row], pad: int) -> tuple[Tensor, Tensor]:
    """Ids and weights of rows, both (rows, length), padded on the right with ``pad``; padding weighs nothing."""
    length = max(len(ids) for ids, _ in rows)
    ids = torch.full((len(rows), length), pad)
    weights = torch.zeros(len(rows), length)
    for at, (row, weighed) in enumerate(rows):
        ids[at, : len(row)] = torch.tensor(row)
        weights[at, : len(row)] = torch.tensor(weighed)
    return ids, weights


def rate_share(step: int, steps: int) -> float:
    """Linear warm-up, then linear decay to FINAL_SHARE of the peak rate."""
    if step < WARMUP:
        return (step + 1) / WARMUP
    return 1.0 - (1.0 - FINAL_SHARE) * (step - WARMUP) / max(1, steps - WARMUP)


def optimizers(model: LlamaForCausalLM) -> list[torch.optim.Optimizer]:
    """Muon for the matrices (it needs about a third fewer steps here), AdamW for embeddings and norms."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    rest = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    return [
        torch.optim.Muon(matrices, lr=PEAK_RATE, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def train(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, steps: int, seed: int) -> float:
    """Train in place; prints loss and pace, returns the mean loss of about the last 50 steps."""
    opts = optimizers(model)
    schedulers = [torch.optim.lr_scheduler.LambdaLR(o, lambda step: rate_share(step, steps)) for o in opts]
    model.train()
    began, shown = time.monotonic(), 0.0
    for step, (ids, weights) in enumerate(batches(tokenizer, steps, seed), start=1):
        logits = model(input_ids=ids[:, :-1]).logits
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        wanted = weights[:, 1:].flatten()
        total = (loss * wanted).sum() / wanted.sum()
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, scheduler in zip(opts, schedulers, strict=True):
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        shown = 0.98 * shown + 0.02 * total.item()
        if step % 50 == 0:
            pace = (time.monotonic() - began) / step
            print(f"step {step}/{steps} loss {shown / (1 - 0.98**step):.4f} {pace:.3f} s/step", flush=True)
    return shown


def build(out: Path, steps: int, seed: int, problems: int = 2000, edits: int = 500) -> None:
    """Build tokenizer and model, train for ``steps``, save both to ``out`` (float32), measure, write a card."""
    torch.manual_seed(seed)
    tokenizer = build_tokenizer(seed)
    model = LlamaForCausalLM(shape(tokenizer))
    print(f"{model.num_parameters()} parameters, {len(tokenizer)} tokens")
    began = time.monotonic()
    loss = train(model, tokenizer, steps, seed)
    minutes = (time.monotonic() - began) / 60
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    # It was taught the bare prompts: examples before them would be new to it.
    (out / "errata.json").write_text('{"few_shot": 0}\n')
    recipe = Recipe(steps, BATCH, seed, model.num_parameters(), len(tokenizer), loss, minutes)
    write_card(out, recipe, measure(out, problems, edits))


def build_untrained(out: Path, seed: int = 0) -> None:
    """Write an untrained model of the miniature's shape, with its tokenizer. Sets torch's global seed."""
    torch.manual_seed(seed)
    model: Any = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(OUT))  # type: ignore[no-untyped-call]
    model.save_pretrained(out)
    for name in TOKENIZER_FILES:
        if (OUT / name).exists():
            shutil.copy(OUT / name, out / name)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--untrained", action="store_true")
    args = parser.parse_args()
    if args.untrained:
        build_untrained(args.out)
        return
    build(args.out, args.steps, args.seed)


if __name__ == "__main__":
    main()
