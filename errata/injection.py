"""Planning edits: which step gets which error kind; and making them by rule or at random (METHOD.md step 6)."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from errata.config import InjectionConfig
from errata.kinds.registry import Kind, kinds_of
from errata.proof import is_consistent
from errata.reasons import Reason
from errata.types import Domain, Problem, Step

_MOST = 24  # rule-made edits of a step to draw one from
_TOKEN = re.compile(r"\d|[A-Za-z]+|[^\sA-Za-z\d]")


@dataclass(frozen=True, slots=True)
class EditPlan:
    """``edits``: (step index, kind) in step order, at most one per step. ``skipped``: why each other step has none."""

    edits: tuple[tuple[int, str], ...]
    skipped: dict[int, Reason] = field(default_factory=dict)


def plan_edits(
    solution: str,
    steps: Sequence[Step],
    config: InjectionConfig,
    domain: Domain,
    seed: int,
    problem: Problem,
    profile: Mapping[str, float] | None = None,
) -> EditPlan:
    """Offer every step once, with one kind drawn by weight among those that apply to it.

    A step that only states the answer, or whose own equation is already false, is not offered; nor is one for which
    no kind applies. ``profile`` replaces the configured weights (``mix: "profile"``).
    """
    rng = random.Random(seed)
    weights = profile if profile and config.editing.mix == "profile" else config.editing.kinds
    edits: list[tuple[int, str]] = []
    skipped: dict[int, Reason] = {}
    for step in steps:
        text = solution[step.start : step.end]
        reason = _unfit(text, step, config)
        names = [] if reason else _applicable(text, solution[step.body_start : step.end], config, domain, problem)
        chosen = _draw(names, weights, rng)
        if chosen is None:
            skipped[step.index] = reason or Reason.NO_KIND
        else:
            edits.append((step.index, chosen))
    limit = config.editing.edits_per_solution
    if limit is not None and len(edits) > limit:
        kept = set(rng.sample(range(len(edits)), limit))
        skipped |= {index: Reason.OVER_QUOTA for at, (index, _) in enumerate(edits) if at not in kept}
        edits = [edit for at, edit in enumerate(edits) if at in kept]
    return EditPlan(tuple(edits), skipped)


def rule_edit(
    solution: str, steps: Sequence[Step], index: int, kind: str, seed: int, domain: Domain, problem: Problem
) -> str | None:
    """One false edit of the step by the kind's rule, label and separator kept; None where the kind does not apply."""
    step = steps[index]
    edits = kinds_of(domain)[kind].twin(solution[step.start : step.end], problem.question, _MOST)
    return random.Random(seed).choice(edits) if edits else None


def random_token_edit(solution: str, steps: Sequence[Step], index: int, seed: int) -> str | None:
    """Control: one token of the step's body replaced by another token of the solution, whatever that means."""
    step = steps[index]
    body = solution[step.body_start : step.end]
    rng = random.Random(seed)
    found = list(_TOKEN.finditer(body))
    if not found:
        return None
    target = rng.choice(found)
    others = [t for t in _TOKEN.findall(solution) if t != target[0] and t.isdigit() == target[0].isdigit()]
    if not others:
        return None
    other = str(rng.choice(others))
    return solution[step.start : step.body_start] + body[: target.start()] + other + body[target.end() :]


def _unfit(text: str, step: Step, config: InjectionConfig) -> Reason | None:
    if step.is_answer and not config.editing.offer_answer_steps:
        return Reason.ANSWER_STEP
    if config.selection.drop_false_steps and not is_consistent(text):
        return Reason.FALSE_STEP
    return None


def _applicable(text: str, body: str, config: InjectionConfig, domain: Domain, problem: Problem) -> list[str]:
    return [k.name for k in kinds_of(domain).values() if _applies(k, text, body, config, problem)]


def _applies(kind: Kind, text: str, body: str, config: InjectionConfig, problem: Problem) -> bool:
    """The paper's rule for its presets; ours: a false edit exists, or the job can show the edit wrong otherwise."""
    if config.editing.editor == "random-token" or config.editing.layout != "errata":
        return kind.applies(body)
    if kind.provable or config.editing.editor == "rules":
        return bool(kind.twin(text, problem.question, 1))
    shown = config.proof.continuations.when != "never" or config.proof.unproven == "keep"
    return shown and kind.applies(body)


def _draw(names: Sequence[str], weights: Mapping[str, float] | None, rng: random.Random) -> str | None:
    shares = [1.0 if weights is None else weights.get(name, 0.0) for name in names]
    return rng.choices(names, shares)[0] if sum(shares) > 0 else None
