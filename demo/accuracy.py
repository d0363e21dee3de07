"""How good the demo's models are, and what the figures mean: by scoring the held-out problems' own solutions.

Nothing is drawn, so there is no sampling noise, and one evaluation gives every temperature. A figure is the mean
probability of writing the solution's equations and answer (docs/evaluations.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from demo.display import Display
from errata_client import Errata
from errata_client.records import Evaluation, ProblemSet

MODES = {"greedy": 0.0, "sampled": 1.0}
#: What "at its best temperature" chooses between: a lower one sharpens a model as well as some training does.
SAMPLED = (0.3, 0.5, 0.7, 1.0)
DECODING = {"method": "score", "temperatures": [0.0, *SAMPLED]}
NAMES = {
    "before": "start model",
    "after": "trained on pairs",
    "control": "fine-tuning",
    "step_nll": "chosen steps alone",
}
Figures = dict[str, Any]


def measure(errata: Errata, models: Mapping[str, str], heldout: ProblemSet, display: Display) -> Figures:
    """Score every model once, compare them, show the table and say what it means.

    ``greedy`` and ``sampled`` (temperature 1) by role: ``accuracy``, ``low``, ``high``, and where there is something to
    compare ``against_before`` and ``against_control``, paired. ``best`` by role: the temperature above 0 at which the
    model is most often right. ``pass8`` by role, at temperature 1. ``meaning``: one sentence.
    """
    evaluations: dict[str, Evaluation] = {}
    for role, model in models.items():
        with display.stage("evaluate", f"Measuring: {NAMES[role]}") as show:
            started = errata.evaluations.create(heldout.id, model, config=DECODING)
            evaluations[role] = errata.evaluations.wait(started.id, on_progress=show)
    found: Figures = {"problems": heldout.problem_count, "method": "score"}
    for mode, temperature in MODES.items():
        found[mode] = {role: _cell(each, temperature) for role, each in evaluations.items()}
    found["best"] = {role: _best(each) for role, each in evaluations.items()}
    found["pass8"] = {role: _at(each, 1.0)["pass_at_k"]["8"] for role, each in evaluations.items()}
    for role in models:
        for other in ("before", "control"):
            if other in models and role not in ("before", other):
                _add_difference(errata, found, evaluations, role, other)
    found["meaning"] = meaning(found) if "control" in models else None
    _show(found, display)
    return found


def _at(evaluation: Evaluation, temperature: float) -> Figures:
    told: list[Figures] = (evaluation.result or {})["temperatures"]
    return next(each for each in told if each["temperature"] == temperature)


def _cell(evaluation: Evaluation, temperature: float) -> Figures:
    told = _at(evaluation, temperature)
    low, high = told["interval"] or (None, None)
    return {"evaluation": evaluation.id, "accuracy": told["accuracy"], "low": low, "high": high}


def _best(evaluation: Evaluation) -> Figures:
    found = max(SAMPLED, key=lambda at: _at(evaluation, at)["accuracy"] or 0.0)
    return {"temperature": found, **_cell(evaluation, found)}


def _add_difference(
    errata: Errata, found: Figures, evaluations: Mapping[str, Evaluation], role: str, other: str
) -> None:
    compared = errata.evaluations.compare(evaluations[other].id, evaluations[role].id)
    by_temperature = {each.temperature: each for each in compared.temperatures}
    for mode, temperature in MODES.items():
        each = by_temperature[temperature]
        found[mode][role][f"against_{other}"] = {
            "delta": each.delta,
            "low": each.interval[0],
            "high": each.interval[1],
            "p_value": each.p_value,
            "gained": each.gained,
            "lost": each.lost,
        }


def meaning(found: Figures) -> str:
    """What the figures say, in one sentence: how much is sharpening, and whether pairs beat fine-tuning."""
    before, after, best = found["sampled"]["before"], found["sampled"]["after"], found["best"]["before"]
    told = (
        f"At temperature 1 the model trained on pairs is right {after['accuracy']:.1%} of the time and the start model"
        f" {before['accuracy']:.1%}"
    )
    if min(after["accuracy"], best["accuracy"]) > before["accuracy"]:
        told += (
            f", but the start model alone at temperature {best['temperature']:g} is right {best['accuracy']:.1%}, so a"
            " lower temperature gives much of that for nothing"
        )
    verdicts = [
        f"{_verdict(found[mode]['after']['against_control'])} {words}"
        for mode, words in (("greedy", "greedily"), ("sampled", "at temperature 1"))
    ]
    return f"{told}; against fine-tuning of the same budget it is {' and '.join(verdicts)} (one seed)."


def _verdict(difference: Figures) -> str:
    """Better or worse only where the interval says so."""
    points = (
        f"{100 * difference['delta']:+.1f} points, {100 * difference['low']:+.1f} to {100 * difference['high']:+.1f}"
    )
    if difference["low"] > 0:
        return f"better ({points})"
    return f"worse ({points})" if difference["high"] < 0 else f"not shown to differ ({points})"


def _show(found: Figures, display: Display) -> None:
    rows = []
    for role in found["greedy"]:
        row = [NAMES[role]]
        for mode in MODES:
            cell = found[mode][role]
            row += [f"{cell['accuracy']:.1%} ({cell['low']:.1%} to {cell['high']:.1%})", _change(cell)]
        best = found["best"][role]
        rows.append([*row, f"{best['accuracy']:.1%} at {best['temperature']:g}", f"{found['pass8'][role]:.1%}"])
    columns = [
        "",
        "greedy (95 %)",
        "against fine-tuning",
        "T = 1 (95 %)",
        "against fine-tuning",
        "best T > 0",
        "pass@8",
    ]
    display.table(f"Accuracy on {found['problems']} held-out problems, by scoring their solutions", columns, rows)
    if found["meaning"]:
        display.say(f"\n{found['meaning']}")


def _change(cell: Figures) -> str:
    change = cell.get("against_control")
    return f"{change['delta']:+.1%} ({change['low']:+.1%} to {change['high']:+.1%})" if change else ""
