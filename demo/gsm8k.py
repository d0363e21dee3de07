"""The demo with real solutions and no model: GSM8K solutions that real language models wrote, edited by rule."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from demo.display import Display, funnel_rows
from demo.service import DemoError
from errata_client import Errata

_GOLD = "A: "


def read(file: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Problems and brought solutions of a file like ``model-solutions-400.jsonl``.

    A line has ``question``, ``ground_truth`` ending in ``A: <gold>``, and per source an object with ``solution`` and
    ``is_correct``. Raises DemoError naming the line.
    """
    problems: list[dict[str, Any]] = []
    solutions: list[dict[str, Any]] = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            gold = row["ground_truth"].rpartition(_GOLD)[2].strip()
            problems.append({"id": f"line-{number}", "question": row["question"], "gold_answer": gold})
            solutions += _solutions(row, len(problems) - 1)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DemoError(f"{file} line {number} is not what is expected: {error!r}") from None
    if not problems:
        raise DemoError(f"{file} holds no problems")
    return problems, solutions


def _solutions(row: dict[str, Any], position: int) -> Iterator[dict[str, Any]]:
    for source, value in row.items():
        if isinstance(value, dict):
            yield {"problem": position, "source": source, "text": value["solution"], "label": value["is_correct"]}


def run_pipeline(errata: Errata, file: Path, folder: Path, display: Display) -> dict[str, Any]:
    """Run every stage; the result lacks only what the caller knows (seconds, dashboard)."""
    with display.stage("problems", "Posting problems and solutions"):
        problems, solutions = read(file)
        posted = errata.problem_sets.create(file.stem, problems)
        brought = errata.problem_sets.bring_solutions(posted.id, solutions)
        if brought.added != len(solutions):
            raise DemoError(f"{brought.rejected_count} solutions were refused; the first: {brought.rejected[:1]}")
    with display.stage("inject", "Judging, editing, proving, pairing") as show:
        job = errata.injection_jobs.create(
            posted.id, preset="rules", config={"sampling": {"source": "brought"}}, name=file.stem
        )
        job = errata.injection_jobs.wait(job.id, on_progress=show)
    funnel = job.funnel or {}
    if job.advice:
        display.say(job.advice)
    with display.stage("freeze", "Freezing and downloading the dataset") as show:
        dataset = errata.datasets.create(file.stem, [job.id])
        dataset = errata.datasets.wait(dataset.id, on_progress=show)
        local = errata.datasets.download(dataset.id, folder / dataset.id)
    with display.stage("count", "Counting problems with pairs"):
        coverage = _coverage(errata, job.id)
    display.table("What became of everything", ["", "count", "of which"], funnel_rows(funnel))
    samples, kinds = funnel["samples"], funnel["pairs"]["by_kind"]
    return {
        "problems": posted.problem_count,
        "solutions": brought.received,
        "solutions_accounted": sum(samples["drawn"].values()) + sum(samples["unused"].values()),
        "labels_agree": samples["labels"].get("agree", 0),
        "labels_disagree": samples["labels"].get("disagree", 0),
        **coverage,
        "kind_shares": {kind: round(count / sum(kinds.values()), 4) for kind, count in kinds.items()},
        "funnel": funnel,
        "advice": job.advice,
        "pairs": funnel["pairs"],
        "job": job.id,
        "dataset": str(local),
        "dataset_rows": (dataset.manifest or {}).get("rows"),
    }


def _coverage(errata: Errata, job_id: str) -> dict[str, Any]:
    """How many problems with a correct solution that calculates (has a calculator mark) got a step pair."""
    solved = list(errata.injection_jobs.solutions(job_id, verdict="correct"))
    calculating = {solution.problem for solution in solved if "<<" in solution.text}
    paired = {pair.problem for pair in errata.pairs.list(job=job_id, type="step")}
    return {
        "problems_solved": len({solution.problem for solution in solved}),
        "problems_calculating": len(calculating),
        "problems_with_step_pairs": len(calculating & paired),
        "step_pair_share": round(len(calculating & paired) / len(calculating), 4) if calculating else None,
    }
