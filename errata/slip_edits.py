"""Slips written into their steps: alone, or with the changed value carried through (docs/method.md step 6)."""

from __future__ import annotations

from errata.arithmetic import TokenChange, apply_changes, find_equations, tokens_of
from errata.carrying import Reach, edit_at
from errata.dataflow import read_flow
from errata.proof import prove_contradiction
from errata.replay import why_open
from errata.rule_edits import carried_step
from errata.slips import Begun, Slip, in_marked
from errata.types import Form, Problem, Step

_LIKELY = 0.5


def may_stand(found: Slip | Begun) -> bool:
    """Whether an edit of this slip may leave its result as it was.

    What the model writes more often than not is mostly another right way ("70 % left" for "30 % off"). Such a value is
    carried, and the solution's answer decides.
    """
    slip = found.slip if isinstance(found, Begun) else found
    return slip.probability <= _LIKELY


def may_follow(problem: Problem, solution: str, found: Begun) -> bool:
    """Whether a number that is only begun could be carried and proven, so that it is worth completing."""
    slip = in_marked(solution, found.slip)
    if slip.position == "result":
        return True
    flow = read_flow(solution, problem.question)
    edit = edit_at(flow, slip.start, slip.end, slip.new)
    return edit is not None and not why_open(flow, edit, problem.gold_answer)


def slip_edit(problem: Problem, solution: str, step: Step, slip: Slip, form: Form, reach: Reach) -> str | None:
    """The step with the slip, proven wrong as far as the program can; None where it cannot be, or not in this form.

    ``slip`` has offsets into the solution without calculator marks; ``solution`` and ``step`` are those with them. Form
    ``consistent`` also returns None where nothing repeats or uses the changed value.
    """
    text, stands = solution[step.start : step.end], _written(solution, step, in_marked(solution, slip))
    if stands is None:
        return None
    if form is Form.STANDS:
        return stands if prove_contradiction(text, stands) else None
    return carried_step(problem, solution, step.index, stands, reach)


def _written(solution: str, step: Step, slip: Slip) -> str | None:
    """The step with the slip and nothing else changed, its calculator mark included; None: no mark can follow it."""
    text = solution[step.start : step.end]
    for equation in find_equations(text):
        for place, token in enumerate(tokens_of(equation)):
            if (step.start + token.start, step.start + token.end) == (slip.start, slip.end):
                return apply_changes(text, equation, [TokenChange(place, place, slip.new)])
    return None
