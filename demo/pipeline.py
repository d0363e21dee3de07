"""The demo with a language model: problems, pairs of its own making, training with a control, and the comparison.

How big it is and which settings it uses stands at the top and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo import problems
from demo.display import Display, editor_rows, funnel_rows, kind_rows
from errata_client import Errata
from errata_client.records import Evaluation, InjectionJob, ProblemSet, TrainingJob

Config = dict[str, Any]
MODES = ("greedy", "sampled")
SPLITS: tuple[problems.Split, ...] = ("train", "heldout")


def _injection(shard_size: int = 32) -> Config:
    return {
        "shard_size": shard_size,
        # All four samples: the control is fine-tuned on every correct one.
        "sampling": {"samples": 4, "adaptive": False, "temperature": 1.0, "max_tokens": 160},
        # The method alone is measured: every edit is the model's own, in words.
        "editing": {"temperature": 0.8, "attempts": 4, "fallback": []},
        "seed": 1,
    }


def _dpo() -> Config:
    """DPO on step pairs, a little on full pairs, with an ungated likelihood term on the chosen step.

    Found by trying: on 600 held-out problems two epochs at 1e-4 and beta 0.1 gave 4 points more sampled but cost 4
    greedy, a full weight of 0.3 cost 6; this one costs about none.
    """
    return {
        "beta": 0.3,
        "nll_weight": 3.0,
        "nll_gate": False,
        "full_weight": 0.1,
        "learning_rate": 5e-5,
        "epochs": 1,
        "batch_size": 32,
        "seed": 1,
    }


def _control() -> Config:
    """Fine-tuning on the model's own correct samples; as many optimizer steps of the same batch as the DPO run."""
    return {"learning_rate": 1e-4, "batch_size": 32, "seed": 1}


@dataclass(frozen=True)
class DemoPlan:
    """One size of the demo. Problems are made from the seeds; held-out ones never share numbers with the others."""

    train_problems: int = 500
    heldout_problems: int = 1000
    train_seed: int = 1
    heldout_seed: int = 2  # the settings below were chosen on other held-out problems (seed 1): these are fresh
    injection: Config = field(default_factory=_injection)
    dpo: Config = field(default_factory=_dpo)
    control: Config = field(default_factory=_control)
    answer_tokens: int = 256
    evaluation_seed: int = 7


PLANS = {
    "full": DemoPlan(),
    "small": DemoPlan(train_problems=24, heldout_problems=24, injection=_injection(shard_size=6)),
}


def run_pipeline(errata: Errata, model: str, plan: DemoPlan, folder: Path, display: Display) -> dict[str, Any]:
    """Run every stage; the result lacks only what the caller knows (seconds, dashboard).

    A model that makes no pairs ends at its funnel: there is nothing to train on, and the result says so.
    """
    train, heldout = _post_problems(errata, plan, display)
    with display.stage("inject", "Solving, editing, proving, pairing") as show:
        started = errata.injection_jobs.create(train.id, language_model=model, config=plan.injection, name="demo")
        job = errata.injection_jobs.wait(started.id, on_progress=show)
    funnel = job.funnel or {}
    display.table("What became of everything", ["", "count", "of which"], funnel_rows(funnel))
    columns = ["kind, form", "asked", "parsed", "kept", "proven", "pairs"]
    display.table("Edits by error kind and form", columns, kind_rows(funnel))
    columns = ["editor", "asked", "kept", "proven", "pairs", "tokens per pair"]
    display.table("Edits by editor", columns, editor_rows(funnel))
    if job.advice:
        display.say(job.advice)
    result: dict[str, Any] = {
        "funnel": funnel,
        "advice": job.advice,
        "pairs": funnel["pairs"],
        "model": model,
        "job": job.id,
        "dataset": None,
    }
    if not funnel["pairs"]["total"]:
        display.say("No pairs, so there is nothing to train on.")
        return {**result, "accuracy": _accuracy(errata, {"before": model}, heldout, plan, display)}
    dataset, local = _freeze(errata, job, folder, display)
    models = {"before": model, **_train(errata, model, dataset, job, plan, display)}
    accuracy = _accuracy(errata, models, heldout, plan, display)
    return {**result, "dataset": str(local), "models": models, "accuracy": accuracy}


def _post_problems(errata: Errata, plan: DemoPlan, display: Display) -> tuple[ProblemSet, ProblemSet]:
    with display.stage("problems", "Making and posting problems"):
        sets = []
        for split in SPLITS:
            made = problems.generate(getattr(plan, f"{split}_problems"), getattr(plan, f"{split}_seed"), split)
            sets.append(errata.problem_sets.create(f"miniature {split}", problems.rows(made)))
    return sets[0], sets[1]


def _freeze(errata: Errata, job: InjectionJob, folder: Path, display: Display) -> tuple[str, Path]:
    with display.stage("freeze", "Freezing and downloading the dataset") as show:
        dataset = errata.datasets.create("miniature", [job.id])
        dataset = errata.datasets.wait(dataset.id, on_progress=show)
        local = errata.datasets.download(dataset.id, folder / dataset.id)
    return dataset.id, local


def _train(
    errata: Errata, model: str, dataset: str, job: InjectionJob, plan: DemoPlan, display: Display
) -> dict[str, str]:
    """Both runs, one after the other; the names of their results."""
    suffix = job.id[-6:]  # a name is taken for good: each run of the demo needs new ones

    def train(stage: str, title: str, preset: str, config: Config) -> TrainingJob:
        with display.stage(stage, title) as show:
            run = errata.training_jobs.create(
                dataset, base_model=model, output_name=f"{model}-{stage}-{suffix}", preset=preset, config=config
            )
            return errata.training_jobs.wait(run.id, on_progress=show)

    trained = train("dpo", "Training on the pairs (DPO)", "errata", plan.dpo)
    # The same number of optimizer steps of the same batch: the control gets an equal budget.
    budget = {"max_steps": trained.total_steps, "epochs": 1000}
    control = train("control", "Training the control", "sft", {**plan.control, **budget})
    return {"after": trained.output_name, "control": control.output_name}


def _accuracy(
    errata: Errata, models: dict[str, str], heldout: ProblemSet, plan: DemoPlan, display: Display
) -> dict[str, Any]:
    """Every model greedy and sampled on the held-out problems, and each trained one compared with the first."""
    found: dict[str, Any] = {"problems": heldout.problem_count, **{mode: {} for mode in MODES}}
    for role, model in models.items():  # by model, so that each is loaded once
        for mode in MODES:
            with display.stage("evaluate", f"Measuring {role}, {mode}") as show:
                evaluation = errata.evaluations.create(heldout.id, model, config=_decoding(plan, mode))
                evaluation = errata.evaluations.wait(evaluation.id, on_progress=show)
            found[mode][role] = _measured(evaluation)
    for mode in MODES:
        sides = found[mode]
        for role in [role for role in models if role != "before"]:
            sides[role]["against_before"] = _difference(errata, sides["before"], sides[role])
        if "control" in models:
            sides["after"]["against_control"] = _difference(errata, sides["control"], sides["after"])
    _show_accuracy(found, models, display)
    return found


def _measured(evaluation: Evaluation) -> dict[str, Any]:
    result = evaluation.result or {}
    low, high = result.get("interval") or (None, None)
    figures = {"accuracy": result.get("accuracy"), "low": low, "high": high, "verdicts": result.get("verdicts")}
    return {"evaluation": evaluation.id, **figures}


def _decoding(plan: DemoPlan, mode: str) -> Config:
    temperature = {"greedy": 0.0, "sampled": 1.0}[mode]
    return {"temperature": temperature, "max_tokens": plan.answer_tokens, "seed": plan.evaluation_seed}


def _difference(errata: Errata, before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    comparison = errata.evaluations.compare(before["evaluation"], after["evaluation"])
    return {
        "delta": comparison.delta,
        "low": comparison.interval[0],
        "high": comparison.interval[1],
        "p_value": comparison.p_value,
        "gained": comparison.gained,
        "lost": comparison.lost,
    }


def _show_accuracy(found: dict[str, Any], models: dict[str, str], display: Display) -> None:
    rows = []
    for role in models:
        row = [role]
        for mode in MODES:
            cell = found[mode][role]
            row.append(f"{cell['accuracy']:.1%} ({cell['low']:.1%} to {cell['high']:.1%})")
            change = cell.get("against_before")
            row.append(f"{change['delta']:+.1%} ({change['low']:+.1%} to {change['high']:+.1%})" if change else "")
            row.append(f"+{change['gained']} -{change['lost']}" if change else "")
        rows.append(row)
    columns = ["", *(title for mode in MODES for title in (f"{mode} (95 %)", "change, paired", "flips"))]
    display.table(f"Accuracy on {found['problems']} held-out problems", columns, rows)
