"""Carrying a changed value through a solution, by program (docs/method.md step 6).

An edit changes one calculation. Its value is then written wherever the step repeats or uses it (to the step's end), or
through all later steps to the answer (to the solution's end), with calculator marks. Where it is open whether a number
is that value, nothing is carried at all: a place left behind would tell the sides of a pair apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from errata.arithmetic import TokenChange, apply_changes, find_equations, marks_agree, tokens_of
from errata.dataflow import Flow, FlowNode, ProseNumber, plain_value, read_flow
from errata.evaluation import NotEvaluable, evaluate_tokens, number_factor
from errata.unit_edits import changed_equation, token_changes

Reach = Literal["step", "end"]

_WORD = re.compile(r"(?<![\\\w])[^\W\d_]{2,}")  # of prose: a sign of LaTeX may change


@dataclass(frozen=True, slots=True)
class FlowEdit:
    """Token changes of one calculation. Those of its result are made only where the computed side stays as it is;
    otherwise the result is computed anew."""

    node: int
    changes: tuple[TokenChange, ...]


@dataclass(frozen=True, slots=True)
class Carried:
    """A value carried. ``values``: the new result of every calculation that changed, by its index; ``solution``: the
    text with all of them written; ``step``: its edited step."""

    values: Mapping[int, Fraction]
    solution: str
    step: str


def flow_edit(flow: Flow, index: int, edited_step: str) -> FlowEdit | None:
    """What an edited step changes, as changes of the first calculation that differs; None where none was read.

    A result beside other changes is left out: it is computed anew. Other calculations that differ carry the first one's
    value on, or nothing that is built on them is proven.
    """
    # A job that offers thoughts cuts steps otherwise: then this is another step, and nothing of it can be followed.
    if index >= len(flow.steps) or _WORD.findall(flow.text(index)) != _WORD.findall(edited_step):
        return None
    at = changed_equation(flow.text(index), edited_step)
    node = next((n for n, node in enumerate(flow.nodes) if node.step == index and node.at == at), None)
    if node is None or at is None:
        return None
    changes = token_changes(flow.nodes[node].equation, find_equations(edited_step)[at], edited_step) or ()
    others = tuple(change for change in changes if change.first != flow.nodes[node].result)
    return FlowEdit(node, others or changes) if changes else None


def carry_step(question: str, solution: str, index: int, edited_step: str, reach: Reach) -> Carried | None:
    """An edited step in which nothing but one equation was changed, with its value carried on; None: ambiguous."""
    flow = read_flow(solution, question)
    edit = flow_edit(flow, index, edited_step)
    return None if edit is None else carry(flow, edit, reach)


def edit_at(flow: Flow, start: int, end: int, text: str) -> FlowEdit | None:
    """The edit that writes ``text`` over one number or sign of a calculation, by offsets; else None."""
    for index, node in enumerate(flow.nodes):
        base = flow.steps[node.step].start
        for place, token in enumerate(tokens_of(node.equation)):
            changes = token.kind == "number" or token.symbol in ("+", "-", "*", "/")
            if (base + token.start, base + token.end) == (start, end) and changes:
                return FlowEdit(index, (TokenChange(place, place, text),))
    return None


def carry(flow: Flow, edit: FlowEdit, reach: Reach) -> Carried | None:
    """The edited value written to the end of its step or of the solution; None where a place is ambiguous.

    Also None where a new value cannot be written as the old one was: a fraction for a whole number, a negative one, or
    more decimals than money has. The solution's answer is a number like any other.
    """
    follow = follow_values(flow, edit, reach)
    if follow is None:
        return None
    numbers = _prose_changes(flow, edit, follow, reach)
    if numbers is None:
        return None
    texts: dict[int, str] = {}
    first = flow.nodes[edit.node].step
    for step in range(first, len(flow.steps) if reach == "end" else first + 1):
        made = _write(flow, step, follow, [n for n in numbers if n[0].step == step])
        if made is None:
            return None
        texts[step] = made
    edited = texts[first]
    if flow.text(first) == edited:
        return None
    whole = "".join(texts.get(s.index, flow.text(s.index)) for s in flow.steps)
    return Carried(follow.values, flow.solution[: flow.steps[0].start] + whole, edited)


@dataclass(frozen=True, slots=True)
class Following:
    """What changes in which calculation: new results by node, and the token changes that write them."""

    values: dict[int, Fraction]
    changes: dict[int, tuple[TokenChange, ...]] = field(default_factory=dict)


def follow_values(flow: Flow, edit: FlowEdit, reach: Reach, *, write: bool = True) -> Following | None:
    """Every calculation that the edited value reaches, with its new result; None where its way is ambiguous.

    With ``write`` also None where a value has no spelling like the old one's.
    """
    node = flow.nodes[edit.node]
    value = _edited_value(flow, node, edit)
    if value is None:
        return None
    values = {edit.node: value}
    changes = {edit.node: _edited_changes(flow, node, edit, value)}
    for index in range(edit.node + 1, len(flow.nodes)):
        later = flow.nodes[index]
        if reach == "step" and later.step != node.step:
            break
        touched = [o for o in later.operands if any(s in values for s in o.sources)]
        if not touched:
            continue
        # One source: a number that may also be the question's, or another result, is not known to change.
        if any(len(o.sources) > 1 for o in touched):
            return None
        operands = {o.place: values[s] for o in touched for s in o.sources if isinstance(s, int)}
        try:
            values[index] = later.evaluate(flow.text(later.step), operands)
        except NotEvaluable:
            return None
        changes[index] = _changes(flow, later, {**operands, later.result: values[index]})
    if write and None in changes.values():
        return None
    return Following(values, {at: found for at, found in changes.items() if found is not None})


def _edited_value(flow: Flow, node: FlowNode, edit: FlowEdit) -> Fraction | None:
    """The result of the edited calculation: computed anew, or as the edit states it."""
    text = flow.text(node.step)
    stated = apply_changes(text, node.equation, edit.changes)
    equations = find_equations(stated) if stated is not None else ()
    if stated is None or len(equations) != len(find_equations(text)):
        return None
    equation = equations[node.at]
    tokens = tokens_of(equation)
    dropped = len(tokens_of(node.equation)) - len(tokens)  # an omission leaves the computed side shorter
    if len(equation.sides) != 2:
        return None
    place = node.result - dropped if node.result > node.last else node.result
    only_result = all(change.first == change.last == node.result for change in edit.changes)
    try:
        part = tokens[place : place + 1] if only_result else tokens[node.first : node.last - dropped + 1]
        return evaluate_tokens(stated, part, {})
    except (NotEvaluable, IndexError):
        return None


def _edited_changes(flow: Flow, node: FlowNode, edit: FlowEdit, value: Fraction) -> tuple[TokenChange, ...] | None:
    others = tuple(change for change in edit.changes if change.first != node.result)
    result = _changes(flow, node, {node.result: value})
    if not others:
        return edit.changes
    return None if result is None else (*others, *result)


def _changes(flow: Flow, node: FlowNode, values: Mapping[int, Fraction]) -> tuple[TokenChange, ...] | None:
    tokens, text = tokens_of(node.equation), flow.text(node.step)
    made = []
    for place, value in values.items():
        written = write_like(value / number_factor(text, tokens[place]), tokens[place].text)
        if written is None:
            return None
        if written != tokens[place].text:
            made.append(TokenChange(place, place, written))
    return tuple(made)


def _prose_changes(flow: Flow, edit: FlowEdit, follow: Following, reach: Reach) -> list[tuple[ProseNumber, str]] | None:
    """The numbers outside calculations that repeat a changed value, each with its new spelling; None: ambiguous."""
    step = flow.nodes[edit.node].step
    old = {flow.nodes[at].value: at for at in follow.values}
    operand = _changed_operand(flow, edit)
    if operand is not None and _occurs_twice(flow, step, operand[0]):
        return None
    found: list[tuple[ProseNumber, str]] = []
    for number in flow.prose:
        if number.step < step or (reach == "step" and number.step != step):
            continue
        new = None
        if number.value is not None and number.value in old:
            if flow.sources(number.value, len(flow.nodes)) != (old[number.value],):
                return None
            new = follow.values[old[number.value]]
        elif operand is not None and number.step == step and number.value == operand[0]:
            new = operand[1]
        elif operand is not None and number.step == step and _is_percent_of(flow, number, operand[0]):
            return None  # "20% fewer, so .20 * 30": the same number, written otherwise
        elif number.value is None and _holds_digits(flow, number, [*old, *(operand or ())[:1]]):
            return None  # "3rd": whether it counts the same thing is open
        if new is not None:
            written = write_like(new, flow.solution[number.start : number.end])
            if written is None:
                return None
            found.append((number, written))
    spelled = {value for at, value in flow.words if at == step or (reach == "end" and at > step)}
    # "The other ten tickets cost $40 x 10": what repeats the operand in words would be left behind.
    here = {value for at, value in flow.words if at == step}
    return None if spelled & set(old) or (operand is not None and operand[0] in here) else found


def _changed_operand(flow: Flow, edit: FlowEdit) -> tuple[Fraction, Fraction] | None:
    """Old and new value of the one operand that an edit changes, else None."""
    node = flow.nodes[edit.node]
    changed = [(o, c) for c in edit.changes for o in node.operands if c.first == c.last == o.place]
    if len(changed) != 1 or len([c for c in edit.changes if c.first != node.result]) != 1:
        return None
    token = tokens_of(node.equation)[changed[0][0].place]
    old, new = plain_value(token.text), plain_value(changed[0][1].replacement)
    return None if old is None or new is None else (old, new)


def _occurs_twice(flow: Flow, step: int, value: Fraction) -> bool:
    """Whether several operands of a step have this value: an edit of one leaves open what the others say."""
    return sum(o.value == value for node in flow.nodes if node.step == step for o in node.operands) > 1


def _is_percent_of(flow: Flow, number: ProseNumber, value: Fraction) -> bool:
    percent = flow.solution[number.end : number.end + 2].lstrip("\\ ").startswith("%")
    return percent and number.value is not None and number.value / 100 == value


def _holds_digits(flow: Flow, number: ProseNumber, values: Sequence[Fraction]) -> bool:
    return flow.solution[number.start : number.end] in {str(value) for value in values}


def _write(flow: Flow, step: int, follow: Following, numbers: Sequence[tuple[ProseNumber, str]]) -> str | None:
    """A step with all its changes made, or None where a mark cannot follow its text."""
    text, base = flow.text(step), flow.steps[step].start
    original = text
    places: list[tuple[int, FlowNode | None, ProseNumber | None, object]] = []
    nodes = [(at, node) for at, node in enumerate(flow.nodes) if node.step == step and at in follow.changes]
    places += [(node.equation.start, node, None, follow.changes[at]) for at, node in nodes]
    places += [(number.start - base, None, number, written) for number, written in numbers]
    # From the end backward: a change moves no offset that is still to be used.
    for _, node, number, change in sorted(places, key=lambda place: -place[0]):
        if node is not None and isinstance(change, tuple):
            changed = apply_changes(text, node.equation, change)
            if changed is None:
                return None
            text = changed
        elif number is not None:
            text = text[: number.start - base] + str(change) + text[number.end - base :]
    return None if not marks_agree(text) and marks_agree(original) else text


def write_like(value: Fraction, like: str) -> str | None:
    """``value`` in the manner of the number ``like``: its separators and, at least, its decimals.

    None where it is not above zero, has more than two decimals and more than the old one, or is a fraction in place of
    a whole number that is not written as money (``4.00``).
    """
    decimals = len(like.partition(".")[2])
    old = plain_value(like)
    if old is None:
        return None
    whole_number = old.denominator == 1 and decimals < 2
    most = 0 if whole_number else max(decimals, 2)
    if value <= 0 or (value * 10**most).denominator != 1:
        return None
    while (value * 10**decimals).denominator != 1:
        decimals += 1
    digits = str((value * 10**decimals).numerator).rjust(decimals + 1, "0")
    whole, rest = digits[: len(digits) - decimals], digits[len(digits) - decimals :]
    separator = next((s for s in ("{,}", ",\\!", "\\,", ",") if s in like), "")
    if separator:
        whole = f"{int(whole):,}".replace(",", separator)
    if like.startswith(".") and whole == "0":
        whole = ""
    return f"{whole}.{rest}" if decimals else whole
