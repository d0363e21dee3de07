"""Planning edits: which unit of which step gets which error kind and form (docs/method.md step 6)."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from errata.arithmetic import marks_agree
from errata.carrying import Reach
from errata.config import InjectionConfig
from errata.kinds import Kind, Site, kinds_of
from errata.proof import is_consistent
from errata.rule_edits import rule_edits
from errata.slips import KIND_OF
from errata.steps import offered_span
from errata.types import Domain, EvidenceKind, Form, Problem, Reason, Step
from errata.units import Unit, units_of


@dataclass(frozen=True, slots=True)
class PlannedEdit:
    """One edit to be made. ``unit``: what of the step may change; None: all that is offered of it."""

    step: int
    kind: str
    form: Form = Form.STANDS
    unit: Unit | None = None

    def as_list(self) -> list[Any]:
        """As a plan stores it, in JSON."""
        head: list[Any] = [self.step, self.kind, str(self.form)]
        return head if self.unit is None else [*head, self.unit.start, self.unit.end, self.unit.kind]

    @classmethod
    def from_list(cls, stored: Sequence[Any], solution: str) -> PlannedEdit:
        """The edit that ``as_list`` wrote. A plan of migration 0002 holds step and kind alone."""
        step, kind, form, *span = [*stored, Form.STANDS][: max(3, len(stored))]
        unit = Unit(span[0], span[1], span[2], "\n" not in solution[span[0] : span[1]]) if span else None
        return cls(step, kind, Form(form), unit)


@dataclass(frozen=True, slots=True)
class EditPlan:
    """``edits``: in step order, at most one per step. ``skipped``: why each other step has none."""

    edits: tuple[PlannedEdit, ...]
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
    """Offer every step once, with one kind drawn by weight among those that apply to it, and one form.

    Not offered: a thought, a step that only states the answer, whose own equation is already false, that stands behind
    such a step, whose calculator mark says something else than its text, or to which no kind applies. ``profile``
    replaces the configured weights (``mix: "profile"``). With ``max_kind_share`` below 1 a kind that has its share of
    this solution is drawn again only where no other applies. Where ``consistent`` is drawn, the kind is drawn among
    those that can be made so; where none can, the edit stands. Where rules edit, kinds with a cap of their own keep to
    it, unless the job names its kinds.
    """
    rng = random.Random(seed)
    weights = profile if profile and config.editing.mix == "profile" else config.editing.kinds
    # To know whether a kind applies costs proofs. Without a cap on a kind's share, the first that applies is enough.
    most = 1 if config.editing.max_kind_share == 1 else None
    offered: dict[int, list[PlannedEdit]] = {}
    skipped: dict[int, Reason] = {}
    behind_false = False
    for step in steps:
        site = Site(solution, steps, step.index, problem)
        reason = _unfit(site, config, domain) or (Reason.BEHIND_FALSE if behind_false else None)
        found = [] if reason else list(islice(_choices(site, config, domain, weights, rng), most))
        if found:
            offered[step.index] = found
        else:
            skipped[step.index] = reason or Reason.NO_KIND
        behind_false = behind_false or _makes_prefix_false(site, config, domain)
    limit = config.editing.edits_per_solution
    if limit is not None and len(offered) > limit:
        kept = set(rng.sample(sorted(offered), limit))
        skipped |= {index: Reason.OVER_QUOTA for index in offered if index not in kept}
        offered = {index: names for index, names in offered.items() if index in kept}
    drawn = _draw(offered, config.editing.max_kind_share, rng)
    return EditPlan(tuple(drawn[at] for at in sorted(drawn)), skipped)


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


def _makes_prefix_false(site: Site, config: InjectionConfig, domain: Domain) -> bool:
    """Whether no step behind this one may be offered: an equation of it is false."""
    calculates = domain in (Domain.MATH, Domain.CHOICE)
    return calculates and config.selection.drop_behind_false and not is_consistent(site.text)


def _offered(site: Site, sentences: int) -> Site:
    """The site without the sentences of a long step that its editor may not change."""
    start, _ = offered_span(site.solution, site.step, sentences)
    if start <= site.step.body_start:
        return site
    steps = list(site.steps)
    steps[site.index] = replace(site.step, start=start, body_start=start)
    return replace(site, steps=steps)


def _choices(
    site: Site, config: InjectionConfig, domain: Domain, weights: Mapping[str, float] | None, rng: random.Random
) -> Iterator[PlannedEdit]:
    """The edits that can be planned of a step: in the form drawn by weight, one per kind in an order drawn by weight,
    and behind those of ``consistent`` the ones that stand."""
    # Everything is drawn before any kind is tried, so how many are tried changes no later draw.
    kinds = _in_drawn_order(config, domain, weights, rng)
    forms = forms_of(config, domain)
    drawn = rng.choices(list(forms), list(forms.values()))[0]
    units = _units(site, config, domain, rng)
    if config.editing.editor == "mined":
        # Any step can be written anew; the kind follows from what the model writes wrong.
        yield from (PlannedEdit(site.index, kind.name) for kind in kinds.values() if kind.version is None)
        return
    if config.editing.editor == "slip":
        # What the model would write is not known yet: the kind follows from the slip that is drawn.
        slips = {KIND_OF[position] for position in config.editing.slips.positions}
        if any(unit.kind == "equation" for unit in units):
            yield from (PlannedEdit(site.index, name, drawn) for name in kinds if name in slips)
        return
    # Few kinds can be edited consistently in a given step: if one can where that form is drawn, it is taken, or the
    # forms would miss their weights. An edit drawn to stand is never made consistent, for the same reason.
    for form in [drawn, Form.STANDS] if drawn is Form.CONSISTENT and Form.STANDS in forms else [drawn]:
        for kind in kinds.values():
            planned = _planned(kind, form, site, units, config)
            if planned is not None:
                yield planned


def _in_drawn_order(
    config: InjectionConfig, domain: Domain, weights: Mapping[str, float] | None, rng: random.Random
) -> dict[str, Kind]:
    """The kinds that have a weight, in an order drawn by it.

    By exponential clocks whose rates are the weights (Efraimidis and Spirakis 2006, algorithm A): the first to ring is
    a draw by weight, and so is the first of any subset, so kinds need to be tried only until one applies.
    """
    # A kind of the operator's own is used where the job names it, never because all kinds are.
    named = config.editing.kinds or {}
    known = {name: kind for name, kind in kinds_of(domain).items() if kind.version is None or name in named}
    kinds = {name: kind for name, kind in known.items() if _weight(name, weights)}
    times = {name: rng.expovariate(_weight(name, weights)) for name in kinds}
    order = _capped(kinds, sorted(kinds, key=times.__getitem__), config, rng)
    return {name: kinds[name] for name in order}


def _capped(kinds: Mapping[str, Kind], order: list[str], config: InjectionConfig, rng: random.Random) -> list[str]:
    """The kinds in order, but those with a cap (``Kind.rule_share``): first on their share of the steps, else left out.

    Going first where its lot falls, a kind gets its share whatever else applies, and never more than that.
    """
    if config.editing.editor != "rules" or config.editing.kinds is not None or config.editing.mix == "profile":
        return order
    capped = [name for name in order if kinds[name].rule_share < 1]
    first = [name for name in capped if rng.random() < kinds[name].rule_share]
    return [*first, *(name for name in order if name not in capped)]


def other_edits(site: Site, config: InjectionConfig, domain: Domain, seed: int) -> Iterator[PlannedEdit]:
    """The edits by rule of a step at which another editor failed, one per kind and in an order drawn by weight."""
    editing = config.editing.model_copy(update={"editor": "rules", "fallback": (), "layout": "errata"})
    by_rule, rng = config.model_copy(update={"editing": editing}), random.Random(seed)
    yield from _choices(site, by_rule, domain, config.editing.kinds, rng)


def forms_of(config: InjectionConfig, domain: Domain) -> dict[Form, float]:
    """The forms that edits may get, with their weights; ``stands`` first."""
    if config.editing.layout != "errata" or config.editing.editor == "random-token" or domain in _VERIFIED:
        return {Form.STANDS: 1.0}
    # A whole wrong solution follows from a result that changed: one that stands leaves nothing to carry.
    if config.carries_to_end:
        return {Form.CONSISTENT: 1.0}
    return {form: weight for form in Form if (weight := config.editing.form.get(form, 0.0)) > 0}


def _units(site: Site, config: InjectionConfig, domain: Domain, rng: random.Random) -> list[Unit]:
    """The units of a step in random order; none where whole steps are edited."""
    editing = config.editing
    whole = editing.layout != "errata" and editing.editor != "slip"
    if whole or editing.editor == "random-token" or domain in _VERIFIED:
        return []
    # A model is offered the end of a long step only; rules may change any part of it.
    units = list(units_of(site.solution, site.step, editing.offered_sentences if editing.editor == "model" else None))
    rng.shuffle(units)
    return units


def _planned(kind: Kind, form: Form, site: Site, units: Sequence[Unit], config: InjectionConfig) -> PlannedEdit | None:
    """The paper's rule for its presets; ours: a false edit exists in a unit, and the job can show it wrong."""
    plain = PlannedEdit(site.index, kind.name)
    editing = config.editing
    if editing.editor == "random-token" or editing.layout != "errata":
        offered = site if editing.editor == "random-token" else _offered(site, editing.offered_sentences)
        return plain if kind.applies(offered.body) else None
    # A kind of the operator's own has no rule: only a model can be asked for it.
    if kind.version is not None and editing.editor != "model":
        return None
    if kind.version is None and kind.check is EvidenceKind.CONTRADICTION:
        reach: Reach = "end" if config.carries_to_end else "step"
        for unit in units:
            if unit.kind == "equation" and next(rule_edits(kind, site, unit, form, reach), None) is not None:
                return replace(plain, form=form, unit=unit)
        # An identity of algebra computes no result, so it is no unit: rules edit its step as a whole.
        by_rule = form is Form.STANDS and editing.editor == "rules" and kind.twin(site, 1, None)
        return plain if by_rule else None
    if form is not Form.STANDS:
        return None
    if kind.version is None and kind.check is EvidenceKind.VERIFIER:
        return plain if kind.twin(site, 1, None) else None
    return _worded(kind, plain, site, units, config)


def _worded(
    kind: Kind, plain: PlannedEdit, site: Site, units: Sequence[Unit], config: InjectionConfig
) -> PlannedEdit | None:
    """An edit of one sentence: of words, which only continuations can show to matter, or of the operator's own kind."""
    by_continuation = kind.check is EvidenceKind.DIVERGENCE
    if by_continuation and config.proof.continuations.when == "never" and config.proof.unproven == "drop":
        return None
    if config.editing.editor == "rules":
        return plain if kind.twin(site, 1, None) else None
    if not kind.applies(_offered(site, config.editing.offered_sentences).body):
        return None
    return replace(plain, unit=next((unit for unit in units if unit.kind == "sentence"), None))


def _weight(name: str, weights: Mapping[str, float] | None) -> float:
    return 1.0 if weights is None else weights.get(name, 0.0)


def _draw(offered: Mapping[int, Sequence[PlannedEdit]], share: float, rng: random.Random) -> dict[int, PlannedEdit]:
    """An edit per step. Steps with the least choice draw first, so that a capped kind goes where nothing else does."""
    cap = max(1, int(share * len(offered) + 1e-9)) if share < 1 else len(offered)
    taken: Counter[str] = Counter()
    drawn: dict[int, PlannedEdit] = {}
    order = list(offered)
    rng.shuffle(order)  # among steps with equally many kinds none is favored; the sort below is stable
    for index in sorted(order, key=lambda i: len({edit.kind for edit in offered[i]})):
        drawn[index] = next((edit for edit in offered[index] if taken[edit.kind] < cap), offered[index][0])
        taken[drawn[index].kind] += 1
    return drawn


_VERIFIED = frozenset({Domain.LOGIC, Domain.CODE})
"""Domains whose own verifier judges the edited whole: a unit is a line or an answer, and nothing is carried."""
