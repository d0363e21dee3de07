"""What adaptive sampling saves: ``python -m bench.sampling_cost [--json]``.

Two injection jobs over the same problems go through the real stages with the shipped miniature at temperature 1: K = 5
samples at once, and in waves. Both have one seed, so the waves are the beginning of the five, and the problems that
get a correct and an incorrect solution are the same in both.

``ratio`` divides tokens generated per problem with both, waves by five at once. ``ratio_with_prompts`` counts prompts
too, anew for every request: once per problem when five samples are asked for together, once per wave otherwise. An
engine with a prefix cache computes the prompt once in both cases; one without computes it for every sample, and then
the ratio of all it computes is ``ratio_computed``.

``curve`` says what to expect by count where every sample is right with the same probability. ``strata`` holds the same
beside what was measured, on problems of equal numbers of steps: there problems still differ in difficulty, and one
that is nearly always right or nearly always wrong takes all five, so the measured share lies above the curve.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from demo.problems import generate
from errata.config import resolve
from errata.types import Problem, Verdict
from models.jobs import InjectionJob, Shard, SolutionRow
from models.migrate import Base
from models.session import Database
from models.settings import StoreSettings
from models.workspaces import DEFAULT_WORKSPACE, LanguageModel, ProblemRow, ProblemSet, Workspace
from workers.dispatch import Dispatcher
from workers.engines.pool import EnginePool
from workers.judge import JudgePool
from workers.lifecycle import Hint, plan_injection
from workers.runner import Services, run_shard
from workers.settings import WorkerSettings
from workers.stages import STAGES

MODEL = Path(__file__).resolve().parents[1] / "demo" / "model"
K = 5
ACCURACIES = (0.1, 0.2, 0.37, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)


@dataclass(frozen=True, slots=True)
class Spent:
    """One sample of one problem, and what it cost; the prompt stands on the first sample of a request."""

    problem: str
    verdict: str | None
    prompt: int
    completion: int


def expected_share(accuracy: float, most: int = K) -> float:
    """Share of ``most`` samples that is drawn until both verdicts came, samples being right independently."""
    drawn = 2 + sum(accuracy**n + (1 - accuracy) ** n for n in range(2, most))
    return drawn / most


def totals(samples: Iterable[Spent]) -> dict[str, int]:
    """Samples, tokens, and the problems that have a correct and an incorrect solution."""
    rows = list(samples)
    right = {row.problem for row in rows if row.verdict == Verdict.CORRECT}
    wrong = {row.problem for row in rows if row.verdict == Verdict.INCORRECT}
    return {
        "problems": len({row.problem for row in rows}),
        "problems_with_both": len(right & wrong),
        "samples": len(rows),
        "correct": sum(row.verdict == Verdict.CORRECT for row in rows),
        "prompt_tokens": sum(row.prompt for row in rows),
        "completion_tokens": sum(row.completion for row in rows),
    }


def compare(fixed: Sequence[Spent], adaptive: Sequence[Spent], prompts: Mapping[str, int]) -> dict[str, Any]:
    """The ratios of the module's docstring; ``prompts`` has the length of each problem's prompt.

    Raises ValueError where no problem has both solutions: then nothing was bought with the tokens.
    """
    ours, theirs = totals(adaptive), totals(fixed)
    if not ours["problems_with_both"] or not theirs["problems_with_both"]:
        raise ValueError("no problem has a correct and an incorrect solution; take more problems")

    def ratio(cost: Mapping[str, int], against: Mapping[str, int]) -> float:
        bought = theirs["problems_with_both"] / ours["problems_with_both"]
        return round(sum(cost.values()) / sum(against.values()) * bought, 4)

    kinds = ("completion_tokens", "prompt_tokens")
    both = [{name: side[name] for name in kinds} for side in (ours, theirs)]
    computed = [
        {"tokens": side["completion_tokens"], "prompts": sum(prompts[row.problem] for row in rows)}
        for side, rows in ((ours, adaptive), (theirs, fixed))
    ]
    return {
        "ratio": ratio({"t": ours["completion_tokens"]}, {"t": theirs["completion_tokens"]}),
        "ratio_by_count": ratio({"n": ours["samples"]}, {"n": theirs["samples"]}),
        "ratio_with_prompts": ratio(*both),
        "ratio_computed": ratio(*computed),
        "accuracy": round(theirs["correct"] / theirs["samples"], 4),
        "fixed": theirs | {"tokens_per_problem": round(theirs["completion_tokens"] / theirs["problems_with_both"], 1)},
        "adaptive": ours | {"tokens_per_problem": round(ours["completion_tokens"] / ours["problems_with_both"], 1)},
    }


def stratum(fixed: Sequence[Spent], adaptive: Sequence[Spent]) -> dict[str, Any]:
    """One stratum: its accuracy, the share of samples the curve expects there, and the shares measured."""
    ours, theirs = totals(adaptive), totals(fixed)
    accuracy = theirs["correct"] / theirs["samples"]
    return {
        "problems": theirs["problems"],
        "accuracy": round(accuracy, 3),
        "expected_by_count": round(expected_share(accuracy), 3),
        "by_count": round(ours["samples"] / theirs["samples"], 3),
        "by_tokens": round(ours["completion_tokens"] / theirs["completion_tokens"], 3),
    }


class _Alone(Dispatcher):
    """Shards are run here, one after the other: nobody waits for hints."""

    def __init__(self) -> None:
        pass

    def send(self, hints: Iterable[Hint]) -> int:
        return len(list(hints))


class Bench:
    """A database of its own with the problems, and the worker that runs jobs on it."""

    def __init__(self, folder: Path, problems: Sequence[Problem], services: tuple[EnginePool, JudgePool]) -> None:
        self.db = Database(f"sqlite:///{folder / 'bench.db'}")
        Base.metadata.create_all(self.db.engine)
        store = StoreSettings(ERRATA_HOME=folder)
        self._services = Services(self.db, store, WorkerSettings(), _Alone(), *services, dict(STAGES))
        owner = {"workspace_id": DEFAULT_WORKSPACE}
        with self.db.begin() as session:
            session.add(Workspace(id=DEFAULT_WORKSPACE, name="default"))
            session.flush()
            session.add(LanguageModel(id="lm", name="m", engine="transformers", config={"path": str(MODEL)}, **owner))
            session.add(ProblemSet(id="pset", name="p", domain="math", content_sha256="", **owner))
            session.flush()
            for at, problem in enumerate(problems):
                ids = {"id": str(at), "problem_set_id": "pset", "position": at}
                session.add(ProblemRow(**ids, question=problem.question, gold_answer=problem.gold_answer))

    def run(self, name: str, sampling: Mapping[str, Any], seed: int) -> list[Spent]:
        """A job that samples and pairs whole solutions; what every sample was and cost."""
        config = resolve("full-only", {"sampling": {"samples": K, "temperature": 1.0, **sampling}, "seed": seed})
        row = {"id": name, "workspace_id": DEFAULT_WORKSPACE, "problem_set_id": "pset", "language_model_id": "lm"}
        with self.db.begin() as session:
            job = InjectionJob(**row, config=config.model_dump(mode="json"))
            session.add(job)
            count = len(session.scalars(select(ProblemRow.id)).all())
            plan_injection(session, job, count)
        with self.db.read() as session:
            shards = list(session.scalars(select(Shard.id).where(Shard.injection_job_id == name)))
        for shard in shards:
            while (told := run_shard(self._services, shard)) == "advanced":
                pass
            if told != "done":
                raise RuntimeError(f"a shard ended as {told}")
        with self.db.read() as session:
            rows = session.scalars(select(SolutionRow).where(SolutionRow.job_id == name)).all()
            return [Spent(r.problem_id, r.verdict, r.prompt_tokens, r.completion_tokens) for r in rows]


def measure(problems: Sequence[Problem], seed: int, threads: int) -> dict[str, Any]:
    """Both jobs over ``problems``: every figure of the benchmark."""
    pool = EnginePool(threads=threads)
    with tempfile.TemporaryDirectory() as folder, JudgePool(1) as judge:
        bench = Bench(Path(folder), problems, (pool, judge))
        try:
            sides = {}
            for name, adaptive in (("fixed", False), ("adaptive", True)):
                started = time.monotonic()
                sides[name] = bench.run(name, {"adaptive": adaptive, "max_tokens": 200}, seed)
                print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr)
        finally:
            pool.close()
            bench.db.dispose()
    fixed, ours = sides["fixed"], sides["adaptive"]
    prompts = {row.problem: row.prompt for row in fixed if row.prompt}
    steps = {str(at): str(problem.gold_solution).count("Step ") - 1 for at, problem in enumerate(problems)}
    strata = {
        f"{count} steps": stratum(*([r for r in side if steps[r.problem] == count] for side in (fixed, ours)))
        for count in sorted(set(steps.values()))
    }
    return {**compare(fixed, ours, prompts), "strata": strata}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print only the line of JSON")
    parser.add_argument("--problems", type=int, default=300)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of the engine; 0: torch decides")
    args = parser.parse_args()
    curve = {str(accuracy): round(expected_share(accuracy), 3) for accuracy in ACCURACIES}
    result = {"benchmark": "sampling_cost", "k": K, "temperature": 1.0, "curve": curve}
    result |= measure(generate(args.problems, args.seed, "heldout"), args.seed, args.threads)
    if not args.json:
        _tell(result)
    print(json.dumps(result))


def _tell(result: Mapping[str, Any]) -> None:
    print("share of five samples by accuracy, expected by count:", file=sys.stderr)
    for accuracy, share in result["curve"].items():
        print(f"  {float(accuracy):4.2f}  {share:.2f}  {'#' * round(40 * share)}", file=sys.stderr)
    for name, row in result["strata"].items():
        told = (
            f"{row['by_count']:.2f} by count, {row['by_tokens']:.2f} by tokens, expected {row['expected_by_count']:.2f}"
        )
        print(f"{name}: {row['problems']} problems, accuracy {row['accuracy']:.2f}: {told}", file=sys.stderr)


if __name__ == "__main__":
    main()
