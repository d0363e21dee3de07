"""Planning edits: which step gets which error kind; and making them by rule or at random (docs/method.md step 6)."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from errata.arithmetic import marks_agree
from errata.config import InjectionConfig
from errata.kinds import Kind, Site, kinds_of
from errata.proof import is_consistent
from errata.steps import offered_span
from errata.types import Domain, EvidenceKind, Problem, Reason, Step

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

    Not offered: a thought, a step that only states the answer, whose own equation is already false, whose calculator
    mark says something else than its text, or to which no kind applies. ``profile`` replaces the configured weights
    (``mix: "profile"``). With ``max_kind_share`` below 1 a kind that has its share of this solution is drawn again only
    where no other applies.
    """
    rng = random.Random(seed)
    weights = profile if profile and config.editing.mix == "profile" else config.editing.kinds
    # To know whether a kind applies costs proofs. Without a cap on a kind's share, the first that applies is enough.
    most = 1 if config.editing.max_kind_share == 1 else None
    offered: dict[int, list[str]] = {}
    skipped: dict[int, Reason] = {}
    for step in steps:
        site = Site(solution, steps, step.index, problem)
        reason = _unfit(site, config, domain)
        # A model is offered the end of a long step only; rules and random tokens may change any part of it.
        if config.editing.editor == "model":
            site = _offered(site, config.editing.offered_sentences)
        found = [] if reason else list(islice(_kinds(site, config, domain, weights, rng), most))
        if found:
            offered[step.index] = found
        else:
            skipped[step.index] = reason or Reason.NO_KIND
    limit = config.editing.edits_per_solution
    if limit is not None and len(offered) > limit:
        kept = set(rng.sample(sorted(offered), limit))
        skipped |= {index: Reason.OVER_QUOTA for index in offered if index not in kept}
        offered = {index: names for index, names in offered.items() if index in kept}
    drawn = _draw(offered, config.editing.max_kind_share, rng)
    return EditPlan(tuple(sorted(drawn.items())), skipped)


def rule_edit(
    solution: str, steps: Sequence[Step], index: int, kind: str, seed: int, domain: Domain, problem: Problem
) -> str | None:
    """One edit of the step by the kind's rule, label and separator kept; None where the kind does not apply."""
    edits = kinds_of(domain)[kind].twin(Site(solution, steps, index, problem), 1, random.Random(seed))
    return edits[0] if edits else None


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


def _unfit(site: Site, config: InjectionConfig, domain: Domain) -> Reason | None:
    if site.step.is_thought:
        return Reason.THOUGHT_STEP
    if site.step.is_answer and not config.editing.offer_answer_steps:
        return Reason.ANSWER_STEP
    calculates = domain in (Domain.MATH, Domain.CHOICE)
    if calculates and config.selection.drop_false_steps and not is_consistent(site.text):
        return Reason.FALSE_STEP
    if calculates and config.screening.structural and not marks_agree(site.text):
        return Reason.MARK_MISMATCH  # neither side of a pair may have a mark that says something else than its text
    return None


def _offered(site: Site, sentences: int) -> Site:
    """The site without the sentences of a long step that its editor may not change."""
    start, _ = offered_span(site.solution, site.step, sentences)
    if start <= site.step.body_start:
        return site
    steps = list(site.steps)
    steps[site.index] = replace(site.step, start=start, body_start=start)
    return replace(site, steps=steps)


def _kinds(
    site: Site, config: InjectionConfig, domain: Domain, weights: Mapping[str, float] | None, rng: random.Random
) -> Iterator[str]:
    """The kinds that apply, in an order drawn by weight: the first is one draw among them all, and of any subset.

    By exponential clocks whose rates are the weights (Efraimidis and Spirakis 2006, algorithm A).
    """
    # A kind of the operator's own is used where the job names it, never because all kinds are.
    named = config.editing.kinds or {}
    known = {name: kind for name, kind in kinds_of(domain).items() if kind.version is None or name in named}
    kinds = {name: kind for name, kind in known.items() if _weight(name, weights)}
    # Every kind's clock rings at an exponential time with its weight as rate. The first to ring is a draw by weight,
    # and so is the first of any subset: kinds need to be tried only until one applies. All clocks are drawn before any
    # kind is tried, so how many are tried changes no later draw.
    times = {name: rng.expovariate(_weight(name, weights)) for name in kinds}
    return (name for name in sorted(kinds, key=times.__getitem__) if _applies(kinds[name], site, config))


def _applies(kind: Kind, site: Site, config: InjectionConfig) -> bool:
    """The paper's rule for its presets; ours: a false edit exists, and the job can show it wrong."""
    if config.editing.editor == "random-token" or config.editing.layout != "errata":
        return kind.applies(site.body)
    if kind.version is not None and not (config.editing.editor == "model" and kind.applies(site.body)):
        return False
    if kind.version is not None and kind.check is not EvidenceKind.DIVERGENCE:
        return True
    if kind.check is not EvidenceKind.DIVERGENCE:
        return bool(kind.twin(site, 1, None))
    if config.proof.continuations.when == "never" and config.proof.unproven == "drop":
        return False
    return bool(kind.twin(site, 1, None)) if config.editing.editor == "rules" else kind.applies(site.body)


def _weight(name: str, weights: Mapping[str, float] | None) -> float:
    return 1.0 if weights is None else weights.get(name, 0.0)


def _draw(offered: Mapping[int, Sequence[str]], share: float, rng: random.Random) -> dict[int, str]:
    """A kind per step. Steps with the least choice draw first, so that a capped kind goes where nothing else does."""
    cap = max(1, int(share * len(offered) + 1e-9)) if share < 1 else len(offered)
    taken: Counter[str] = Counter()
    drawn: dict[int, str] = {}
    order = list(offered)
    rng.shuffle(order)  # among steps with equally many kinds none is favored; the sort below is stable
    for index in sorted(order, key=lambda i: len(offered[i])):
        drawn[index] = next((name for name in offered[index] if taken[name] < cap), offered[index][0])
        taken[drawn[index]] += 1
    return drawn
