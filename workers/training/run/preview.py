"""The process behind workers.training.supervise.preview: a spec on standard input, a line of JSON on standard output.

Says what would be trained, and estimates memory, disk and time from files alone: orders of magnitude, not promises.
Loads neither torch nor transformers: a host that only serves the API has neither. Bounded in memory, time, rows read
and tokens shown.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import math
import resource
import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from workers.engines.base import EngineError
from workers.engines.joints import end_of_turn
from workers.engines.rendering import LocalTokenizer
from workers.training.config import TrainingConfig
from workers.training.protocol import CannotTrain, RunSpec
from workers.training.run.batches import Plan, micro_batches
from workers.training.run.data import DatasetError, Pair, data_file, encode, read_rows, thought_markers, verify_file
from workers.training.run.layout import divergence, layout
from workers.training.run.preflight import check_pairs, checkpoint_copies, examine, held_out_pairs
from workers.training.run.spans import Spans

_SHOWN_TOKENS = 2_000  # of each part of an example
_SAMPLED_STEPS = 20  # optimizer batches whose tokens are counted; more are extrapolated
_MEMORY_BYTES = 4 * 1024**3
_FLOPS_PER_PARAMETER = 6.0  # of one trained token: forward 2, backward 4
_REFERENCE_FLOPS = 2.0  # of one token of the reference pass
_FLOPS_PER_SECOND = {
    "per_cpu_core": 2e10,  # float32, sustained by small models
    "per_gpu": 1e14,  # bfloat16, sustained by one large GPU
}
_ACTIVATION_FLOATS = 20.0  # kept per token, layer and hidden unit for the backward pass


def main() -> int:
    """Command line."""
    faulthandler.enable()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=3)
    parser.add_argument("--rows", type=int, default=20_000, help="most rows examined; more are only counted")
    parser.add_argument("--seconds", type=int, default=60, help="processor time at most")
    args = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (args.seconds, args.seconds + 1))
    spec = RunSpec.model_validate_json(sys.stdin.read())
    try:
        answer = describe(spec, args.examples, args.rows)
    except (CannotTrain, DatasetError, EngineError) as error:
        answer = {"refused": _without_paths(str(error), spec)}
    print(json.dumps(answer))  # noqa: T201
    return 0


def _without_paths(message: str, spec: RunSpec) -> str:
    """Where the operator keeps things is not told."""
    return message.replace(str(spec.dataset_folder), "the dataset").replace(spec.model_path, "the base model")


def describe(spec: RunSpec, examples: int, most_rows: int) -> dict[str, Any]:
    """The preview of one run. Raises CannotTrain, DatasetError and EngineError where not even counts can be given."""
    if Path(spec.model_path).is_absolute() and not Path(spec.model_path).is_dir():
        raise CannotTrain(f"the base model's folder {spec.model_path} does not exist")
    tokenizer, config = LocalTokenizer(spec.model_path, spec.model_revision), spec.config
    path = data_file(spec.dataset_folder, config.objective)
    verify_file(spec.dataset_folder, path)
    rows = list(islice(read_rows(path), most_rows))
    total = _count(path) if len(rows) == most_rows else len(rows)
    pairs = encode(rows, tokenizer, config, thought_markers(spec.dataset_folder))
    trainable, report = examine(pairs, config)
    answer: dict[str, Any] = {
        "refused": _refusal(spec, pairs, tokenizer, most_rows),
        "rows": total,
        "examined": len(rows),
        "report": asdict(report),
        "examples": [_example(pair, tokenizer) for pair in _varied(trainable, examples)],
    }
    if trainable:
        answer |= _size(Path(spec.model_path), trainable, config, total / len(rows))
    return answer


def _count(path: Path) -> int:
    with path.open("rb") as handle:
        return sum(1 for line in handle if line.strip())


def _refusal(spec: RunSpec, pairs: Sequence[Pair], tokenizer: LocalTokenizer, most_rows: int) -> str | None:
    try:
        check_pairs(pairs, spec.config)
        held_out_pairs(spec.dataset_folder, tokenizer, spec.config, most_rows)
    except (DatasetError, CannotTrain) as error:
        return _without_paths(str(error), spec)
    return None


def _varied(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """The first pair of each type and error kind, then the first others."""
    first: dict[object, Pair] = {}
    for pair in pairs:
        first.setdefault((pair.is_step, pair.error_kind), pair)
    chosen = list(first.values())[:count]
    return chosen + [pair for pair in pairs if pair not in chosen][: max(count - len(chosen), 0)]


def _example(pair: Pair, tokenizer: LocalTokenizer) -> dict[str, Any]:
    start, end = divergence(pair)
    sides = dict(zip(("chosen", "rejected"), pair.sides, strict=True))
    return {
        "pair_id": pair.pair_id,
        "type": "step" if pair.is_step else "full",
        "error_kind": pair.error_kind,
        "prompt": _part(pair.prompt_ids[-_SHOWN_TOKENS:], len(pair.prompt_ids), tokenizer),
        **{name: _side(*side, start, end, tokenizer) for name, side in sides.items()},
    }


def _side(ids: tuple[int, ...], spans: Spans | None, start: int, end: int, tokenizer: LocalTokenizer) -> dict[str, Any]:
    """A trained side: ``scored`` are the spans that the loss sees, ``divergent`` the one in which the sides differ."""
    ending = {tokenizer.eos_token_id, end_of_turn(tokenizer)}
    eos = [at for at, token in enumerate(ids) if token in ending]
    part = _part(ids[:_SHOWN_TOKENS], len(ids), tokenizer)
    scored = [(0, len(ids))] if spans is None else spans
    told = {"scored": [list(span) for span in scored], "divergent": [start, len(ids) - end]}
    return {**part, **told, "eos": eos, "ends_with_eos": len(ids) - 1 in eos}


def _part(shown: Sequence[int], total: int, tokenizer: LocalTokenizer) -> dict[str, Any]:
    tokens = [{"id": i, "text": tokenizer.decode([i])} for i in shown]
    return {"tokens": tokens, "omitted": total - len(tokens)}


def _size(folder: Path, pairs: list[Pair], config: TrainingConfig, share: float) -> dict[str, Any]:
    """Steps, tokens and estimates of a dataset ``share`` times as large as ``pairs``."""
    plan = Plan(pairs, config)
    steps = min(plan.steps_per_epoch, _SAMPLED_STEPS)
    plain, used, widest = 0, 0, 0
    for step in range(steps):
        for part in micro_batches(plan.batch(step), pairs, config.micro_batch, whole=config.packing == "tree"):
            chosen = [pairs[i] for i in part]
            sizes = [len(row.tokens) for row in layout(chosen, config.packing, config.row_tokens)]
            plain, used = plain + sum(pair.tokens for pair in chosen), used + sum(sizes)
            widest = max(widest, max(sizes) * len(sizes))
    per_epoch = round(plan.steps_per_epoch * share)
    total = min(per_epoch * config.epochs, config.max_steps or per_epoch * config.epochs)
    tokens = {
        "plain": round(plain / steps * per_epoch),
        "used": round(used / steps * per_epoch),
        "ratio": plain / used,
    }
    answer = {"steps": total, "tokens": tokens}
    if not folder.is_dir():
        return answer  # a hub model that is not here: its size is not known
    parameters = parameter_count(folder)
    reference = tokens["used"] if config.objective == "dpo" else 0
    flops = parameters * (_FLOPS_PER_PARAMETER * used / steps * total + _REFERENCE_FLOPS * reference)
    return {
        **answer,
        "parameters": parameters,
        "memory_bytes": _memory_bytes(folder, config, widest),
        "disk_bytes": _disk_bytes(folder, config),
        "seconds": {name: flops / speed for name, speed in _FLOPS_PER_SECOND.items()},
    }


def parameter_count(folder: Path) -> int:
    """Parameters of a model folder, read from the headers of its safetensors files."""
    total = 0
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as handle:
            header = json.loads(handle.read(int.from_bytes(handle.read(8), "little")))
        total += sum(math.prod(t["shape"]) for name, t in header.items() if name != "__metadata__")
    return total


def _memory_bytes(folder: Path, config: TrainingConfig, tokens_per_pass: int) -> int:
    """Weights, gradients, optimizer and what one forward pass keeps."""
    parameters = parameter_count(folder)
    hidden, layers = _shape(folder)
    width = 4 if config.dtype == "float32" else 2
    if config.lora is None:
        fixed = 16 * parameters  # float32 weights and gradients, two moments
    else:
        frozen = parameters * width // (4 if config.lora.quantize_4bit else 1)
        fixed = frozen + 16 * _trained(folder, config)
    held = hidden if config.gradient_checkpointing else _ACTIVATION_FLOATS * hidden
    return int(fixed + tokens_per_pass * layers * held * width)


def _disk_bytes(folder: Path, config: TrainingConfig) -> int:
    """Checkpoints that stand side by side at most, and the result."""
    trained, parameters = _trained(folder, config), parameter_count(folder)
    merged = config.lora is None or config.lora.merge
    width = 4 if config.lora is None or config.dtype == "float32" else 2
    return checkpoint_copies(config) * 12 * trained + (width * parameters if merged else 4 * trained)


def _shape(folder: Path) -> tuple[int, int]:
    """Hidden units and layers."""
    shape: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    shape = shape.get("text_config", shape)
    return int(shape.get("hidden_size", 0)), int(shape.get("num_hidden_layers", 0))


def _trained(folder: Path, config: TrainingConfig) -> int:
    if config.lora is None:
        return parameter_count(folder)
    hidden, layers = _shape(folder)
    return 2 * config.lora.r * hidden * 7 * layers  # about: seven projections per layer


if __name__ == "__main__":
    sys.exit(main())
