"""The road with a language model: problems, pairs of its own making, training with a control, and the comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from client import Errata
from client.records import Evaluation, InjectionJob, ProblemSet, TrainingJob
from demo import problems
from demo.display import Display, funnel_rows, kind_rows
from demo.plan import Config, DemoPlan

MODES = ("greedy", "sampled")
SPLITS: tuple[problems.Split, ...] = ("train", "heldout")


def walk(errata: Errata, model: str, plan: DemoPlan, folder: Path, display: Display) -> dict[str, Any]:
    """Walk it; the result lacks only what the caller knows (seconds, dashboard).

    A model that makes no pairs ends the road at its funnel: there is nothing to train on, and the result says so.
    """
    train, heldout = _post_problems(errata, plan, display)
    with display.stage("inject", "Solving, editing, proving, pairing") as show:
        started = errata.injection_jobs.create(train.id, language_model=model, config=plan.injection, name="demo")
        job = errata.injection_jobs.wait(started.id, on_progress=show)
    funnel = job.funnel or {}
    display.table("What became of everything", ["", "count", "of which"], funnel_rows(funnel))
    display.table("Edits by error kind", ["kind", "asked", "parsed", "kept", "proven", "pairs"], kind_rows(funnel))
    result: dict[str, Any] = {
        "funnel": funnel,
        "pairs": funnel["pairs"],
        "model": model,
        "job": job.id,
        "dataset": None,
    }
    if not funnel["pairs"]["total"]:
        display.say("No pairs: this model has no correct solutions to edit, so there is nothing to train on.")
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
    suffix = job.id[-6:]

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
