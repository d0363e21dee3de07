"""Make the confused miniature of the miniature: ``python -m demo.build_confused [--out DIR] [--steps N] [--seed S]``.

The shipped miniature is trained on for a few steps of demo.confusions, in a minute or two on a CPU, and saved with its
tokenizer. It is built by whoever needs it and not shipped: the same command gives the same model on the same versions.
"""

from __future__ import annotations

import argparse
import random
import shutil
import time
from itertools import islice
from pathlib import Path

import torch
from torch import nn
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from demo.build_model import OUT as MINIATURE
from demo.build_model import TOKENIZER_FILES, encode, padded
from demo.confusions import confused_lessons

OUT = Path("data") / "confused"
STEPS, BATCH, SEED = 48, 32, 77
PEAK_RATE, WARMUP = 1e-3, 10


def rate_at(step: int, steps: int) -> float:
    """Linear warm-up over WARMUP steps, linear decay to 0; ``step`` counts from 0."""
    return PEAK_RATE * min(1.0, (step + 1) / WARMUP) * (1.0 - step / steps)


def train(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, steps: int, seed: int) -> float:
    """Train in place; prints loss and pace, returns the last loss."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.0)
    rows = encode(tokenizer, list(islice(confused_lessons(seed), BATCH * steps)))
    rows.sort(key=lambda row: len(row[0]))  # rows of like length together: little padding
    chunks = [rows[at : at + BATCH] for at in range(0, len(rows), BATCH)]
    random.Random(seed).shuffle(chunks)
    began, shown = time.monotonic(), 0.0
    model.train()
    for step, chunk in enumerate(chunks):
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, steps)
        ids, weights = padded(chunk, int(tokenizer.pad_token_id))
        logits = model(input_ids=ids[:, :-1]).logits
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        wanted = weights[:, 1:].flatten()
        total = (loss * wanted).sum() / wanted.sum()
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        shown = total.item()
        if step % 10 == 9:
            pace = (time.monotonic() - began) / (step + 1)
            print(f"step {step + 1}/{steps} loss {shown:.4f} {pace:.3f} s/step", flush=True)
    return shown


def build(out: Path, steps: int = STEPS, seed: int = SEED) -> None:
    """Train the miniature on for ``steps`` and save it to ``out``, which appears complete or not at all."""
    torch.manual_seed(seed)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(MINIATURE)
    model = LlamaForCausalLM.from_pretrained(MINIATURE, dtype=torch.float32)
    train(model, tokenizer, steps, seed)
    half = out.with_name(out.name + ".part")
    shutil.rmtree(half, ignore_errors=True)
    half.parent.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(half)
    for name in TOKENIZER_FILES:
        if (MINIATURE / name).exists():
            shutil.copy(MINIATURE / name, half / name)
    shutil.rmtree(out, ignore_errors=True)
    half.rename(out)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=SEED)
    args = parser.parse_args()
    build(args.out, args.steps, args.seed)


if __name__ == "__main__":
    main()
