"""Which steps of a drawn solution are edited, and into which kinds: planned where the verdicts are found.

A plan tries rules and proves their edits false, which takes longer than anything else that is computed for an edit.
Done by the generation worker it would hold up the requests of every shard in flight there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from errata.injection import plan_edits
from errata.profile import ErrorProfile, error_profile
from errata.seeds import derive_seed
from errata.selection import Sample
from errata.steps import split_steps
from errata.types import Domain, Problem
from models.jobs import SolutionRow
from models.workspaces import ProblemRow
from workers.stages.loading import Job, as_problem

Plan = dict[str, Any]
"""``edits``: pairs of step index and kind; ``skipped``: a reason for every step that is not offered. JSON."""


def plan_shard(
    job: Job,
    problems: Sequence[ProblemRow],
    samples: Mapping[str, Sequence[Sample]],
    drawn: Iterable[SolutionRow],
) -> tuple[dict[str, Plan], ErrorProfile | None]:
    """A plan for every drawn solution, by its id, and the error profile behind them where the job asks for its mix.

    ``samples``: the shard's judged samples by problem. The profile is that of the shard's own wrong ones; arithmetic
    domains only.
    """
    by_id = {problem.id: as_problem(problem) for problem in problems}
    profile = None
    if job.config.editing.mix == "profile" and job.domain in (Domain.MATH, Domain.CHOICE):
        profile = error_profile((samples.get(problem.id, ()), problem.gold_solution) for problem in problems)
    return {row.id: _plan(job, row.text, by_id[row.problem_id], profile) for row in drawn}, profile


def _plan(job: Job, text: str, problem: Problem, profile: ErrorProfile | None) -> Plan:
    """It follows from the job's seed and the texts alone."""
    steps = split_steps(text, job.domain)
    seed = derive_seed(job.config.seed, "plan", problem.question, text)
    weights = None if profile is None else _weights(job, profile)
    planned = plan_edits(text, steps, job.config, job.domain, seed, problem, weights)
    return {"edits": [list(edit) for edit in planned.edits], "skipped": [str(r) for r in planned.skipped.values()]}


def _weights(job: Job, profile: ErrorProfile) -> dict[str, float]:
    """The profile's shares, of the kinds the job allows and times the weights it gives them."""
    given = job.config.editing.kinds
    return {kind: share * (1 if given is None else given.get(kind, 0)) for kind, share in profile.weights().items()}
