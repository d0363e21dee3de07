"""The process behind workers.training.preview: a spec on standard input, one line of JSON on standard output."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from workers.training.config import TrainingConfig
from workers.training.data import DatasetError, Pair, data_file, encode, read_rows, verify_file
from workers.training.estimates import CPU_FLOPS_PER_CORE, memory_bytes, parameter_count, run_seconds
from workers.training.loading import load_tokenizer, local_folder
from workers.training.plan import Plan, micro_batches
from workers.training.preflight import check, examine
from workers.training.protocol import Refused
from workers.training.spec import RunSpec
from workers.training.tree import pack

_SAMPLED_STEPS = 20  # optimizer batches whose tokens are counted; more are extrapolated
_GPU_FLOPS = 1e14


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=3)
    args = parser.parse_args()
    spec = RunSpec.model_validate_json(sys.stdin.read())
    try:
        answer = describe(spec, args.examples)
    except (Refused, DatasetError) as error:
        answer = {"refused": str(error), "report": None, "examples": []}
    print(json.dumps(answer))  # noqa: T201
    return 0


def describe(spec: RunSpec, examples: int) -> dict[str, Any]:
    """The preview of one run. Raises Refused and DatasetError where not even counts can be given."""
    folder = local_folder(spec.model_path, spec.model_revision)
    tokenizer, config = load_tokenizer(folder), spec.config
    path = data_file(spec.dataset_folder, config.objective)
    verify_file(spec.dataset_folder, path)
    pairs = encode(list(read_rows(path)), tokenizer, config)
    kept, report = examine(pairs, config)
    answer: dict[str, Any] = {
        "refused": _refusal(pairs, config),
        "report": report.as_dict(),
        "examples": [_example(pair, tokenizer) for pair in _varied(kept, examples)],
    }
    if kept:
        answer |= _size(folder, kept, config)
    return answer


def _refusal(pairs: Sequence[Pair], config: TrainingConfig) -> str | None:
    try:
        check(pairs, config)
    except DatasetError as error:
        return str(error)
    return None


def _varied(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """The first pair of each type and error kind, then the first others."""
    first: dict[object, Pair] = {}
    for pair in pairs:
        first.setdefault((pair.is_step, pair.error_kind), pair)
    chosen = list(first.values())[:count]
    return chosen + [pair for pair in pairs if pair not in chosen][: max(count - len(chosen), 0)]


def _example(pair: Pair, tokenizer: Any) -> dict[str, Any]:
    def tokens(ids: Sequence[int]) -> list[dict[str, Any]]:
        return [{"id": i, "text": tokenizer.decode([i])} for i in ids]

    return {
        "pair_id": pair.pair_id,
        "type": "step" if pair.is_step else "full",
        "error_kind": pair.error_kind,
        "prompt": tokens(pair.prompt_ids),  # read, never trained
        "chosen": tokens(pair.chosen_ids),
        "rejected": tokens(pair.rejected_ids),
        "ends_with_eos": bool(pair.chosen_ids) and pair.chosen_ids[-1] == tokenizer.eos_token_id,
    }


def _size(folder: Path, pairs: list[Pair], config: TrainingConfig) -> dict[str, Any]:
    plan = Plan(pairs, config)
    steps = min(plan.steps_per_epoch, _SAMPLED_STEPS)
    plain, used, widest = 0, 0, 0
    for step in range(steps):
        for part in micro_batches(plan.batch(step), pairs, config.micro_batch, whole=config.packing == "tree"):
            chosen = [pairs[i] for i in part]
            packed = pack(chosen, config.packing, config.row_tokens)
            plain, used = plain + sum(pair.tokens for pair in chosen), used + packed.tokens
            widest = max(widest, packed.input_ids.numel())
    scale = plan.steps_per_epoch / steps
    parameters = parameter_count(folder)
    speed = _GPU_FLOPS if torch.cuda.is_available() else CPU_FLOPS_PER_CORE * (os.cpu_count() or 1)
    return {
        "steps": plan.total_steps,
        "tokens": {"plain": round(plain * scale), "used": round(used * scale), "ratio": plain / used},
        "parameters": parameters,
        "memory_bytes": memory_bytes(folder, config, widest),
        "seconds": run_seconds(parameters, config, round(used * scale), speed),
    }


if __name__ == "__main__":
    sys.exit(main())
