"""Does training on a real model's own pairs help it? ``python -m bench.real_study FOLDER --out OUT [--json]``.

One study with a GPU, or with patience. The service makes the pairs: it samples ``--train`` problems from the file's
beginning and edits what the model solved (preset `errata`, no fallback), so all training data is the model's own. Each
arm then trains a LoRA adapter with each seed, all for as many steps of as many rows at the same learning rate:

    sft     fine-tuning on its own correct samples
    errata  step and full pairs, the training preset `errata` with beta 0.3
    steps   step pairs alone, beta 1, three times the NLL of the chosen steps, ungated
    nll     the NLL of the chosen steps alone: the same data without the errors

Base and trained weights (merged, in float32) answer ``--held`` problems from the file's end: greedily, and
``--drawn`` times at temperature 0.7. Nothing of these problems is trained on.

Prints one line of JSON: ``arms``: for each its accuracy by seed, and the difference over problems, each problem's mean
over seeds, to base and to ``sft``, with a 95 % interval. The learning rate was not tuned for any arm. What is in
``--out`` is not done again, so a study that was cut off goes on. Raises RuntimeError with the last words of a process
that fails.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import fmean
from typing import Any

from bench.real_data import default_file, read
from bench.service import report, running, unwind_when_told
from errata.output_config import EvaluationConfig
from errata.statistics import mean_interval, paired_difference
from errata.types import Domain, Problem, Verdict
from tests.processes import ROOT
from workers.training.config import resolve
from workers.training.protocol import RunSpec, parse

_SECONDS = 6 * 3600.0
_LAST_WORDS = 3000
_STEPS_ALONE = {"full_weight": 0.0, "nll_gate": False}
#: Dataset, preset, and what differs from it.
ARMS: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    "sft": ("both", "sft", {}),
    "errata": ("both", "errata", {"beta": 0.3}),
    "steps": ("steps", "errata", {**_STEPS_ALONE, "beta": 1.0, "nll_weight": 3.0}),
    "nll": ("steps", "errata", {**_STEPS_ALONE, "step_weight": 0.0, "nll_weight": 1.0}),
}
_WAYS = ("greedy", "drawn")


def make_pairs(args: argparse.Namespace) -> dict[str, Any]:
    """Sample, edit and freeze: the datasets ``both`` (with the correct samples) and ``steps`` under ``--out``."""
    told = args.out / "pairs.json"
    if told.is_file():
        return dict(json.loads(told.read_text()))
    problems, _ = read(args.problems, args.train)
    home = args.out / "home"
    shutil.rmtree(home, ignore_errors=True)
    variables = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(args.threads)}
    model = {"path": str(args.model), "dtype": args.dtype, "batch_size": args.batch, "max_context": 2048}
    config = {
        "sampling": {"samples": args.samples, "max_tokens": 400, "adaptive": False},
        "editing": {"fallback": []},
        "shard_size": max(1, -(-args.train // 2)),  # two shards: the larger a batch, the better a GPU is used
        "seed": 1,
    }
    with running(home, embedded=True, variables=variables) as service:
        service.add_model("real", model, engine="transformers")
        posted = service.add_problems(problems)
        body = {"problem_set": posted, "language_model": "real", "preset": "errata", "config": config}
        seconds, [job] = service.run([body], _SECONDS)
        counts: dict[str, Any] = {}
        for name, types in (("both", ["step", "full"]), ("steps", ["step"])):
            frozen = {"split": {"test": 0.0}, "types": types, "shapes": ["sft"]}
            dataset = service.finished("/v1/datasets", {"name": name, "jobs": [job["id"]], "config": frozen}, _SECONDS)
            counts[name] = dataset["manifest"]["counts"]
            [folder] = [path.parent for path in home.rglob("manifest.json") if dataset["id"] in str(path)]
            shutil.copytree(folder, args.out / name, dirs_exist_ok=True)
    funnel = job["funnel"]
    found = {"seconds": round(seconds, 1), "counts": counts,
             "funnel": {name: funnel[name] for name in ("problems", "samples", "edits", "tokens")}}  # fmt: skip
    told.write_text(json.dumps(found))
    return found


def train(args: argparse.Namespace, arm: str, seed: int, folder: Path) -> dict[str, Any]:
    """One run of the trainer's own process, its adapter merged into float32 weights in ``folder``."""
    dataset, preset, options = ARMS[arm]
    common = {
        "lora": {"r": 16, "alpha": 32, "merge": False},
        "learning_rate": args.learning_rate,
        "batch_size": args.rows,
        "micro_batch": args.rows,
        "epochs": 1000,
        "max_steps": args.steps,
        "max_length": 768,
        "dtype": args.dtype,
        "ineffective": "drop",
        "checkpoint_every": 1_000_000,
        "best": "none",
    }
    spec = RunSpec(
        run_id=f"{arm}-{seed}",
        config=resolve(preset, {**common, **options, "seed": seed}),
        model_path=str(args.model),
        dataset_folder=args.out / dataset,
        checkpoints=folder / "checkpoints",
        output=folder / "adapter",
        reference=folder / "reference",
        lease_seconds=_SECONDS,
    )
    path, log = folder / "spec.json", folder / "log"
    path.write_text(spec.model_dump_json())
    began = time.monotonic()
    # Its standard input stays open: its end would mean that nobody waits for the run any more.
    with log.open("w") as errors, subprocess.Popen(
        [sys.executable, "-m", "workers.training.run", "--spec", str(path)], cwd=ROOT, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=errors, text=True, env=_environment(args),
    ) as process:  # fmt: skip
        assert process.stdout is not None
        said = [message for line in process.stdout if (message := parse(line)) is not None]
    if process.returncode or said[-1]["type"] != "finished":
        raise RuntimeError(f"{arm}, seed {seed}: {said[-1:]}\n{log.read_text()[-_LAST_WORDS:]}")
    metrics = [message["values"] for message in said if message["type"] == "metrics"]
    return {"seconds": round(time.monotonic() - began, 1), "first": metrics[0], "last": metrics[-1]}


def merge(base: Path, adapter: Path, out: Path) -> Path:
    """The adapter merged into its base in float32, where small changes of a weight are not rounded away."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    PeftModel.from_pretrained(plain, str(adapter)).merge_and_unload().save_pretrained(out)
    AutoTokenizer.from_pretrained(base).save_pretrained(out)
    return out


def answered(args: argparse.Namespace, folder: Path) -> dict[str, list[float]]:
    """The share of right answers to each held-out problem, greedily and drawn, with the weights in ``folder``."""
    from workers.engines.transformers_engine import TransformersEngine
    from workers.judge import JudgeItem, JudgePool
    from workers.stages.evaluate import answer_requests

    rows, _ = read(args.problems, args.count)
    held = rows[-args.held :]
    problems = [Problem(row["question"], row["gold_answer"]) for row in held]
    engine = TransformersEngine({"path": str(folder), "dtype": "float32", "batch_size": args.batch})
    judges = JudgePool(2)
    found = {}
    try:
        for way, options in zip(_WAYS, ({"temperature": 0.0, "samples": 1}, {"temperature": 0.7,
                                         "samples": args.drawn}), strict=True):  # fmt: skip
            config = EvaluationConfig(max_tokens=400, seed=7, **options)
            completions = engine.generate(answer_requests(config, Domain.MATH, [p.question for p in problems]))
            items = [
                JudgeItem(problem, _whole(each.text), Domain.MATH)
                for problem, row in zip(problems, completions, strict=True)
                for each in row
            ]
            right = [judgement.verdict is Verdict.CORRECT for judgement in judges.judge_many(items)]
            n = options["samples"]
            found[way] = [fmean(right[at : at + n]) for at in range(0, len(right), n)]
    finally:
        judges.close()
        engine.close()
    return found


def one(args: argparse.Namespace, arm: str, seed: int, until: float) -> dict[str, Any] | None:
    """Train and answer, or what an earlier run found. ``base`` is answered as it is. None where it is too late."""
    told = args.out / f"{arm}-{seed}.json"
    if told.is_file():
        return dict(json.loads(told.read_text()))
    if time.monotonic() > until:
        return None
    folder = args.out / f"run-{arm}-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    training = None if arm == "base" else train(args, arm, seed, folder)
    # A process of its own: several weights answer side by side, and each needs the interpreter for itself.
    line = [sys.executable, "-m", "bench.real_study", str(args.model), "--out", str(args.out), "--train", "0"]
    line += ["--answer", str(folder)]
    for name in ("problems", "count", "held", "drawn", "batch"):
        line += [f"--{name}", str(getattr(args, name))]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, env=_environment(args), check=False)
    if done.returncode:
        raise RuntimeError(f"{arm}, seed {seed}: {done.stderr[-_LAST_WORDS:]}")
    found = {"training": training, **json.loads(done.stdout.splitlines()[-1])}
    told.write_text(json.dumps(found))
    print(f"{arm} {seed}: " + ", ".join(f"{w} {fmean(found[w]):.3f}" for w in _WAYS), file=sys.stderr, flush=True)
    shutil.rmtree(folder / "merged", ignore_errors=True)
    return found


def figures(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Accuracy by arm, and paired differences of each problem's mean over seeds."""
    rates = {
        arm: {way: [fmean(values) for values in zip(*(run[way] for run in runs), strict=True)] for way in _WAYS}
        for arm, runs in results.items()
    }
    table: dict[str, Any] = {}
    for arm, runs in results.items():
        table[arm] = {"training": [run["training"] for run in runs]}
        for way in _WAYS:
            own = mean_interval(rates[arm][way])
            row: dict[str, Any] = {"mean": own.estimate, "interval": [own.low, own.high],
                                   "seeds": [fmean(run[way]) for run in runs]}  # fmt: skip
            for other in ("base", "sft"):
                if other != arm and other in rates:
                    found = paired_difference(rates[other][way], rates[arm][way])
                    row[f"to_{other}"] = {"delta": found.delta, "interval": [found.low, found.high],
                                          "p_value": found.p_value}  # fmt: skip
            table[arm][way] = row
    return table


def study(args: argparse.Namespace) -> dict[str, Any]:
    """Pairs, then every arm with every seed, ``--workers`` of them side by side. ``arms``: those with every seed."""
    args.out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    until = began + args.seconds
    with ThreadPoolExecutor(args.workers) as pool:
        runs = {("base", 0): pool.submit(one, args, "base", 0, until)}
        pairs = make_pairs(args)
        print(f"pairs: {json.dumps(pairs['counts'])}", file=sys.stderr, flush=True)
        # Seed by seed, so that a study that is cut off has something of every arm.
        for seed in range(args.seeds):
            runs |= {(arm, seed): pool.submit(one, args, arm, seed, until) for arm in args.arms}
        found = {key: run.result() for key, run in runs.items()}
    unfinished = [f"{arm}-{seed}" for (arm, seed), result in found.items() if result is None]
    whole: dict[str, list[Mapping[str, Any]]] = {}
    for arm in ("base", *args.arms):
        results = [result for (name, _), result in found.items() if name == arm]
        if all(result is not None for result in results):
            whole[arm] = [result for result in results if result is not None]
    seconds = round(time.monotonic() - began)
    return {"seconds": seconds, "unfinished": unfinished, "pairs": pairs, "arms": figures(whole)}


def _whole(text: str) -> str:
    from errata.prompts import SOLVE_PREFIX

    return SOLVE_PREFIX + text


def _environment(args: argparse.Namespace) -> dict[str, str]:
    return {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(args.threads), "TOKENIZERS_PARALLELISM": "0"}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of the model in Hugging Face's layout")
    parser.add_argument("--out", type=Path, required=True, help="folder of what is made; what is there is kept")
    parser.add_argument("--problems", type=Path, default=default_file(), help="JSON lines; default: the GSM8K sample")
    parser.add_argument("--count", type=int, default=1000, help="problems read; the last --held of them are held out")
    parser.add_argument("--train", type=int, default=700, help="problems that the model solves and edits")
    parser.add_argument("--samples", type=int, default=8, help="samples for each of these")
    parser.add_argument("--held", type=int, default=300, help="problems that base and trained weights answer")
    parser.add_argument("--drawn", type=int, default=4, help="answers to each at temperature 0.7")
    parser.add_argument("--seeds", type=int, default=3, help="training runs of each arm")
    parser.add_argument("--arms", default=",".join(ARMS), help="which arms, with commas between")
    parser.add_argument("--steps", type=int, default=60, help="optimizer steps")
    parser.add_argument("--rows", type=int, default=16, help="pairs, or solutions, of a step")
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16", help="of training and sampling")
    parser.add_argument("--batch", type=int, default=512, help="sequences that are decoded together")
    parser.add_argument("--workers", type=int, default=4, help="runs side by side")
    parser.add_argument("--threads", type=int, default=2, help="of each process")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="begin no run later than this")
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="print one line of JSON, which it does anyway")
    args = parser.parse_args()
    args.model, args.out, args.arms = args.model.resolve(), args.out.resolve(), args.arms.split(",")
    if not (args.model / "config.json").is_file():
        parser.error(f"{args.model} is no model folder: it has no config.json (make study MODEL=FOLDER)")
    if args.train + args.held > args.count:
        parser.error("--train and --held together are more than --count")
    if unknown := set(args.arms) - set(ARMS):
        parser.error(f"--arms: there is no arm {sorted(unknown)[0]!r}; give some of {', '.join(ARMS)}")
    return args


def main() -> None:
    """Command line."""
    args = _arguments()
    unwind_when_told()
    if args.answer is not None:  # a process that `one` started
        adapter = args.answer / "adapter"
        report(answered(args, merge(args.model, adapter, args.answer / "merged") if adapter.is_dir() else args.model))
        return
    report({"benchmark": "real_study", "model": args.model.name, **study(args)})


if __name__ == "__main__":
    main()
