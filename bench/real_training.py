"""Training on a real model's own pairs, and what it changes: ``python -m bench.real_training FOLDER [--json]``.

The whole service, embedded, with its trainer. The model's pairs are made from solutions that it writes itself and from
solutions that the problem file brings (preset `errata`), frozen, and trained on with LoRA (the settings below). Base
and trained weights then answer problems of the file's end, which no pair comes from, greedily, through the same engine.
The first of these are answered once more with the adapter itself: by the same engine, which loads it beside its base by
the registry's own ``adapter`` (on a processor vLLM is an order of magnitude slower so), and by transformers.

``pairs``: rows trained on. ``comparison``: after minus before on the same problems, with a 95 % interval and flips.
``training``: losses and margins of the first and the last step. One run is one draw: it says what came out, once.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.real_data import default_file, read
from bench.real_model import chosen_engine, served
from bench.service import Service, report, running, unwind_when_told

_SECONDS = 6 * 3600.0
_TRAINED = "trained"
_TOLD = ("loss", "rewards/margins", "rewards/accuracies", "learning_rate")


def pairs_of(service: Service, args: argparse.Namespace) -> dict[str, Any]:
    """Make the pairs and freeze them; the dataset, as the service tells it."""
    problems, brought = read(args.problems, args.own + args.brought)
    own = service.add_problems(problems[: args.own])
    first = args.own
    theirs = [{**row, "problem": row["problem"] - first} for row in brought if row["problem"] >= first]
    given = service.add_problems(problems[first:], theirs)
    base = {"language_model": "real", "preset": "errata"}
    sampled = {"sampling": {"samples": args.samples, "max_tokens": 512}, "shard_size": 32, "seed": 1}
    bodies = [
        {**base, "problem_set": own, "config": sampled},
        {**base, "problem_set": given, "config": {"sampling": {"source": "brought"}, "seed": 1}},
    ]
    _, jobs = service.run(bodies, _SECONDS)
    body = {"name": "real", "jobs": [job["id"] for job in jobs], "config": {"split": {"test": 0.0}}}
    return service.finished("/v1/datasets", body, _SECONDS)


def trained(service: Service, dataset: str, args: argparse.Namespace) -> dict[str, Any]:
    """Train an adapter; the run with its first and last metrics."""
    config = {
        "lora": {"r": 16, "alpha": 32, "merge": False},
        "learning_rate": args.learning_rate,
        "beta": args.beta,
        "batch_size": 16,
        "micro_batch": 4,
        "epochs": 100,
        "max_steps": args.steps,
        "max_length": 640,
        "dtype": args.dtype,
        "ineffective": "drop",
    }
    body = {"dataset": dataset, "base_model": "real", "output_name": _TRAINED, "config": config}
    began = time.monotonic()
    run = service.finished("/v1/training-jobs", body, _SECONDS)
    metrics = [row for row in service.all(f"/v1/training-jobs/{run['id']}/metrics") if row["phase"] == "train"]
    told = [{"step": row["step"], **{k: row["values"][k] for k in _TOLD if k in row["values"]}} for row in metrics]
    return {"config": config, "seconds": round(time.monotonic() - began), "first": told[0], "last": told[-1]}


def merged(base: Path, adapter: Path, out: Path) -> Path:
    """The adapter merged into its base, as a folder of its own."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    whole = PeftModel.from_pretrained(plain, str(adapter)).merge_and_unload()
    whole.to(torch.bfloat16).save_pretrained(out)
    AutoTokenizer.from_pretrained(base).save_pretrained(out)
    return out


def evaluated(service: Service, problem_set: str, model: str, **config: Any) -> dict[str, Any]:
    """One greedy evaluation."""
    body = {
        "problem_set": problem_set,
        "language_model": model,
        "config": {"temperature": 0.0, "max_tokens": 512, **config},
    }
    return service.finished("/v1/evaluations", body, _SECONDS)


def measure(service: Service, home: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Pairs, training, both evaluations and their comparison, and the adapter once more in transformers."""
    dataset = pairs_of(service, args)
    training = trained(service, dataset["id"], args)
    everything, _ = read(args.problems, args.count)
    held = service.add_problems(everything[-args.held :])
    # An operator would name the same folder: what the run left, beside its base.
    [adapter] = [path.parent for path in home.rglob("adapter_config.json") if "models" in path.parts]
    kind, settings = args.served
    service.add_model("merged", {**settings, "path": str(merged(args.model, adapter, home / "merged"))}, engine=kind)
    before, after = (evaluated(service, held, name) for name in ("real", "merged"))
    found = service.get(f"/v1/evaluations/{before['id']}/comparison?with={after['id']}")
    service.add_model("in-transformers", {"path": str(adapter), "dtype": "bfloat16"}, engine="transformers")
    again = {name: evaluated(service, held, name, limit=args.again) for name in (_TRAINED, "in-transformers")}
    return {
        "pairs": {key: dataset["manifest"]["counts"][key] for key in ("pairs", "type", "editor", "form")},
        "training": training,
        "base": before["result"],
        "trained": after["result"],
        "comparison": {k: found[k] for k in ("delta", "interval", "problems", "gained", "lost", "p_value")},
        "adapter": again[_TRAINED]["result"],
        "transformers": again["in-transformers"]["result"],
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of the model in Hugging Face's layout")
    parser.add_argument("--engine", choices=("auto", "vllm", "transformers"), default="auto")
    parser.add_argument("--problems", type=Path, default=default_file(), help="JSON lines; default: the GSM8K sample")
    parser.add_argument("--count", type=int, default=1000, help="problems read; the last --held of them are held out")
    parser.add_argument("--own", type=int, default=40, help="problems that the model solves itself")
    parser.add_argument("--samples", type=int, default=4, help="samples for each of these")
    parser.add_argument("--brought", type=int, default=60, help="further problems, with their solutions")
    parser.add_argument("--held", type=int, default=200, help="problems of both evaluations")
    parser.add_argument("--again", type=int, default=8, help="of these, answered with the adapter too")
    parser.add_argument("--steps", type=int, default=30, help="optimizer steps of 16 pairs")
    parser.add_argument("--learning-rate", type=float, default=2e-5)
    parser.add_argument("--beta", type=float, default=0.3)
    parser.add_argument("--threads", type=int, default=1, help="of the trainer and of vLLM, which wants one")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--json", action="store_true", help="print one line of JSON, which it does anyway")
    args = parser.parse_args()
    if args.own + args.brought + args.held > args.count:
        parser.error("--own, --brought and --held together are more than --count")
    return args


def main() -> None:
    """Command line."""
    args = _arguments()
    unwind_when_told()
    engine, more = chosen_engine(args.engine)
    with tempfile.TemporaryDirectory() as folder, served(engine, args.model.resolve(), None) as (kind, settings):
        home = Path(folder)
        with running(
            home, embedded=True, trainer=True, variables={**more, "OMP_NUM_THREADS": str(args.threads)}
        ) as service:
            service.add_model("real", settings, engine=kind)
            result = measure(service, home, args)
    report({"benchmark": "real_training", "model": args.model.name, "engine": engine, **result})


if __name__ == "__main__":
    main()
