"""Edits made by a kind's rule or at random, within the planned unit and form (docs/method.md step 6)."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

from errata.arithmetic import find_equations, marks_agree
from errata.carrying import Reach, carry, flow_edit
from errata.dataflow import read_flow
from errata.kinds import Kind, Site, kinds_of
from errata.kinds.plausibility import agrees_in_number
from errata.proof import prove_contradiction
from errata.replay import changes_answer, obstacle, why_open
from errata.types import Domain, EvidenceKind, Form, Problem, Step
from errata.units import Unit

_TOKEN = re.compile(r"\d|[A-Za-z]+|[^\sA-Za-z\d]")
_TRIED = 8  # false edits of one kind that are tried until one can be carried: enough to find one, bounded work


def rule_edit(
    solution: str,
    steps: Sequence[Step],
    index: int,
    kind: str,
    seed: int,
    domain: Domain,
    problem: Problem,
    unit: Unit | None = None,
    form: Form = Form.STANDS,
    reach: Reach = "step",
) -> str | None:
    """One edit of the step by the kind's rule, label and separator kept; None where the kind does not apply.

    Without a unit any part of the step may change, and the form is ``stands``.
    """
    site, rule = Site(solution, steps, index, problem), kinds_of(domain)[kind]
    rng = random.Random(seed)
    if unit is None or rule.check is not EvidenceKind.CONTRADICTION:
        edits = rule.twin(site, 1, rng)
        return edits[0] if edits else None
    drawn = next(rule_edits(rule, site, unit, form, reach, rng), None)
    # The plan tried the rule's edits in their fixed order: what it found, a draw that finds nothing finds there, too.
    return drawn if drawn is not None else next(rule_edits(rule, site, unit, form, reach), None)


def rule_edits(
    kind: Kind, site: Site, unit: Unit, form: Form, reach: Reach, rng: random.Random | None = None
) -> Iterator[str]:
    """Edited steps by the kind's rule that change the unit's equation, each proven wrong in its form."""
    if form is Form.STANDS:
        yield from _in_unit(kind, site, unit, 1, rng)
        return
    # One first: where that one fails for a reason that holds for every edit of the unit, no more are made.
    for most in (1, _TRIED):
        for stands in _in_unit(kind, site, unit, most, rng):
            carried = carried_step(site.problem, site.solution, site.index, stands, reach)
            # "7 / 7 = 1 people": the result that is written anew is counted by what follows it.
            if carried is not None and agrees_in_number(site.text, carried):
                yield carried
            elif carried is None and most == 1 and _hopeless(site, stands):
                return


def _hopeless(site: Site, stands: str) -> bool:
    """Whether no other edit of the same kind and equation can be carried where this one cannot."""
    flow = read_flow(site.solution, site.problem.question)
    edit = flow_edit(flow, site.index, stands)
    if edit is None or len(edit.changes) > 1:  # the equation is not read, or the kind changes several terms at once
        return True
    result = edit.changes[0].first == flow.nodes[edit.node].result
    return result or bool(obstacle(flow, edit, site.problem.gold_answer))


def carried_step(problem: Problem, solution: str, index: int, stands: str, reach: Reach) -> str | None:
    """A step's edit with its value carried through the step, if that can be proven wrong; else None.

    ``reach`` "end": the value must also be carried to the solution's end.
    """
    flow = read_flow(solution, problem.question)
    edit = flow_edit(flow, index, stands)
    if edit is None:
        return None
    node = flow.nodes[edit.node]
    calculated = all(change.first == change.last == node.result for change in edit.changes)
    # Cheap checks first: most edits that cannot be replayed are known without carrying anything.
    if not calculated and why_open(flow, edit, problem.gold_answer):
        return None
    made = carry(flow, edit, reach)
    if made is None:
        return None
    if calculated:
        # A result that nothing in the step repeats is the same edit in both forms, and counts as one that stands.
        differs = made.step != stands or reach == "end"
        return made.step if differs and prove_contradiction(flow.text(index), made.step) else None
    return made.step if changes_answer(flow, edit) else None


def _in_unit(kind: Kind, site: Site, unit: Unit, most: int, rng: random.Random | None) -> Iterable[str]:
    """The step with false edits of the unit alone."""
    if rng is not None:
        return _made_in_unit(kind, site, unit, most, rng)
    return _fixed_in_unit(kind, site.solution, site.step, unit, site.problem.question, most)


@lru_cache(maxsize=256)  # a plan asks about the same unit for each form, and an edit may ask once more
def _fixed_in_unit(kind: Kind, solution: str, step: Step, unit: Unit, question: str, most: int) -> tuple[str, ...]:
    """The edits in their fixed order: rules of arithmetic read the step, its solution and the question alone."""
    site = Site(solution, (replace(step, index=0),), 0, Problem(question, ""))
    return tuple(_made_in_unit(kind, site, unit, most, None))


def _made_in_unit(kind: Kind, site: Site, unit: Unit, most: int, rng: random.Random | None) -> Iterator[str]:
    step, text = site.step, site.text
    if len(find_equations(text)) == 1:
        yield from kind.twin(site, most, rng)
        return
    steps = list(site.steps)
    steps[site.index] = replace(step, start=unit.start, end=unit.end, body_start=unit.start)
    agreeing = marks_agree(text)
    for edited in kind.twin(replace(site, steps=steps), most, rng):
        # The unit was edited out of its context, so the step as a whole is proven again.
        whole = site.solution[step.start : unit.start] + edited + site.solution[unit.end : step.end]
        if prove_contradiction(text, whole) is not None and (not agreeing or marks_agree(whole)):
            yield whole


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
