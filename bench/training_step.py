"""Pairs per second of a training step, against stock TRL on the same rows: ``python -m bench.training_step [--json]``.

Per problem N step pairs and a full pair, lengths as in GSM8K solutions written by language models. Stock TRL gets its
best: reference log-probabilities precomputed, rows sorted by length or not, the best micro-batch of a sweep (printed).
Ours packs trees. Runs of both alternate, and the fastest of each counts: a busy machine hurts neither side more. With
one CPU thread seconds are those of the processor, so that other work on the machine does not count at all.
``token_ratio`` is TRL's tokens by ours, both without padding. ``memory_ratio`` compares peaks above what was allocated
before the forward pass (weights, gradients, optimizer), at equal pairs per micro-batch.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch

from bench.training_peers import QWEN, SIZES, Ours, Stock, make_model, make_pairs
from workers.training.run.batches import micro_batches
from workers.training.run.data import Pair
from workers.training.run.loading import allow_flex_variants
from workers.training.run.packing import pack
from workers.training.run.trainer import RiseTrainer


def seconds(work: Any, device: str) -> float:
    """Seconds of one call, by :func:`clock`."""
    now = clock(device)
    _synchronize(device)
    began = now()
    work()
    _synchronize(device)
    return now() - began


def clock(device: str) -> Callable[[], float]:
    """Processor time of this process on one CPU thread, else the wall clock."""
    return time.process_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter


def _synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def peak_bytes(work: Any, device: str) -> int:
    """Peak of what ``work`` allocates above what was there before."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        work()
    recorded = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for recording in sorted(recorded, key=lambda e: e.start_ns()):
        held += recording.nbytes()
        peak = max(peak, held)
    return peak


def our_model(args: argparse.Namespace) -> Any:
    """The model of our side, with the attention asked for, as the trainer loads it."""
    model = make_model(args.size, args.device)
    if args.attention == "flex":
        allow_flex_variants()
        model.set_attn_implementation("flex_attention")
    return model


def compare(edits: int, args: argparse.Namespace, folder: str) -> dict[str, Any]:
    """The ratio for N edits per problem."""
    pairs, bf16 = make_pairs(args.problems, edits), args.device == "cuda"
    model = make_model(args.size, args.device)
    ours = Ours(our_model(args), pairs, max(args.micro // (edits + 1), 1) * (edits + 1), folder, bf16)
    sweep: dict[str, float] = {}
    stock = Stock(model, pairs, folder, bf16)
    choices = {f"{micro}{' by length' * by}": (micro, by) for micro in args.sweep for by in (False, True)}
    for name, (stock.micro, stock.by_length) in choices.items():
        stock.step(stock.micro)  # warm up
        sweep[name] = len(pairs) / seconds(stock.step, args.device)
    best = max(sweep, key=lambda name: sweep[name])
    stock.micro, stock.by_length = choices[best]
    ours.step()
    times: dict[str, list[float]] = {"ours": [], "trl": []}
    for _ in range(args.repeats):
        times["trl"].append(seconds(stock.step, args.device))
        times["ours"].append(seconds(ours.step, args.device))
    trl_tokens, tree_tokens = (_tokens(pairs, kind, ours.trainer) for kind in ("pairs", "tree"))
    return {
        "ratio": min(times["trl"]) / min(times["ours"]),
        "token_ratio": trl_tokens / tree_tokens,
        "pairs_per_second": len(pairs) / min(times["ours"]),
        "trl_pairs_per_second": len(pairs) / min(times["trl"]),
        "trl_best": best,
        "sweep": {name: round(value, 3) for name, value in sweep.items()},
    }


def _tokens(pairs: list[Pair], kind: Any, trainer: RiseTrainer) -> int:
    parts = micro_batches(range(len(pairs)), pairs, trainer.micro_batch, whole=kind == "tree")
    return sum(pack([pairs[i] for i in part], kind).tokens for part in parts)


def memory(args: argparse.Namespace, folder: str) -> dict[str, Any]:
    """Peaks of one micro-batch of four pairs (N = 3 and a full pair) by each."""
    pairs, bf16 = make_pairs(1, 3, seed=3), args.device == "cuda"
    stock = Stock(make_model(args.size, args.device), pairs, folder, bf16)
    stock.micro, stock.by_length = 4, True
    ours = Ours(our_model(args), pairs, 4, folder, bf16)
    peaks = {}
    for name, side in (("trl", stock), ("ours", ours)):
        side.step()  # gradients are there from now on
        peaks[name] = peak_bytes(side.step, args.device)
    return {"ratio": peaks["ours"] / peaks["trl"], "bytes": peaks["ours"], "trl_bytes": peaks["trl"]}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print only the line of JSON")
    parser.add_argument("--size", choices=[*SIZES, *QWEN], default="12m")
    parser.add_argument("--problems", type=int, default=8)
    parser.add_argument("--micro", type=int, default=8, help="our pairs per forward pass, about")
    parser.add_argument("--sweep", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--edits", type=int, nargs="+", default=[1, 3, 5])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--attention", choices=["sdpa", "flex"], default="sdpa", help="ours; TRL keeps sdpa")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; 0: torch decides")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    result: dict[str, Any] = {
        "benchmark": "training_step",
        "size": args.size,
        "device": args.device,
        "attention": args.attention,
        "clock": clock(args.device).__name__,
    }
    with tempfile.TemporaryDirectory() as folder:
        result["memory_ratio"] = round(memory(args, folder)["ratio"], 3)
        for edits in args.edits:
            found = compare(edits, args, folder)
            if not args.json:
                print(f"N = {edits}: {json.dumps(found)}", file=sys.stderr)
            result[f"ratio_n{edits}"] = round(found["ratio"], 3)
            result[f"token_ratio_n{edits}"] = round(found["token_ratio"], 3)
            result[f"detail_n{edits}"] = found
    print(json.dumps(result))


if __name__ == "__main__":
    main()
