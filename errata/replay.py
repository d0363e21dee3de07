"""Evidence ``replay``: the solution's own arithmetic, recomputed with the edited value, misses gold (docs/method.md
step 8).

For edits whose own equation is true: a wrong number or sign, correctly computed. Nothing in the step contradicts
itself, so the solution is followed from the edit to its answer. Everything on the way must be read exactly; one
calculation, rounding or comparison that is not leaves the edit unproven.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from errata.arithmetic import Equation, find_equations, strip_marks, tokens_of
from errata.carrying import FlowEdit, carry, flow_edit, follow_values
from errata.dataflow import Flow, FlowNode, Operand, plain_value, read_flow
from errata.evaluation import NotEvaluable, evaluate_tokens
from errata.proof import Outcome, Proof
from errata.types import Evidence, EvidenceKind, Verdict
from errata.unit_edits import shown

_OPERATION_WORDS = {
    "+": "sum total altogether combined together all add adds added adding plus more increase increased increases"
    " gains",
    "-": "left remain remains remaining remainder difference fewer less minus subtract subtracting subtracted without"
    " keeps spent loses lost away change decrease decreased rest",
    "*": "times product multiply multiplied multiplying multiplies twice double triple",
    "/": "divide divided dividing divides split splits half quarter third average equally quotient",
}
_NAMES = {word: sign for sign, words in _OPERATION_WORDS.items() for word in words.split()}
_WORD = re.compile(r"[A-Za-z]+")
_GOLD = re.compile(r"\s*\\?\$?\s*(-?\d[\d,]*(?:\.\d+)?)\s*\\?%?\s*\.?\s*")


class ReplayOutcome(StrEnum):
    """What the replay of an edit shows."""

    MISSES = "misses_gold"
    REACHES = "reaches_gold"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Replay:
    """``answer``: what the solution comes to with the edited value; ``text``: a solution that ends so, for the
    verifier. Both None where ``outcome`` is ``open``, which ``why`` explains."""

    outcome: ReplayOutcome
    why: str = ""
    answer: Fraction | None = None
    text: str | None = None
    original: str = ""
    equation: str = ""


def replay(question: str, gold: str, solution: str, index: int, edited_step: str) -> Replay:
    """Follow the edit of step ``index`` to the answer of a solution of mathematics. Never raises.

    ``misses_gold`` is proof only together with the verifier's word that the new answer is not gold. It is given where
    every calculation between edit and answer is read and exact, the unedited solution reaches gold, every operand has
    one source, and the edit disagrees with what stands: its operand with the operand's source, or its sign with the
    words that name the operation.
    """
    flow = read_flow(solution, question)
    edit = flow_edit(flow, index, edited_step)
    if edit is None or not _is_true(flow, edit, edited_step):
        return Replay(ReplayOutcome.OPEN, "the edited calculation is not read, or is not true")
    why = obstacle(flow, edit, gold)
    if not why and not _carried_in_step(flow, edit, edited_step):
        why = "the step does not carry the edited value through"
    follow = None if why else follow_values(flow, edit, "end", write=False)
    if follow is None:
        return Replay(ReplayOutcome.OPEN, why or "a number between edit and answer has more than one source")
    last, node = flow.nodes[-1], flow.nodes[edit.node]
    answer = follow.values.get(len(flow.nodes) - 1, last.value)
    whole = carry(flow, edit, "end")
    text = whole.solution if whole is not None else f"The answer is \\boxed{{{answer}}}."
    equation = find_equations(edited_step)[node.at]
    said = shown(flow.text(index), node.equation), shown(edited_step, equation)
    if answer == last.value:
        return Replay(ReplayOutcome.REACHES, "the answer stays", answer, text, *said)
    why = _agrees(flow, edit, node)
    return Replay(ReplayOutcome.OPEN if why else ReplayOutcome.MISSES, why, answer, text, *said)


@dataclass(frozen=True, slots=True)
class ChainLink:
    """One calculation that an edit reaches: its step, its text, and its result before and after the edit."""

    step: int
    equation: str
    before: Fraction
    after: Fraction


def value_chain(question: str, solution: str, index: int, edited_step: str) -> list[ChainLink]:
    """The calculations that the edit of step ``index`` reaches, itself first; empty where it cannot be followed.

    For readers: what is proven is ``replay``'s to say. Never raises.
    """
    flow = read_flow(solution, question)
    edit = flow_edit(flow, index, edited_step)
    follow = None if edit is None else follow_values(flow, edit, "end", write=False)
    if follow is None:
        return []
    reached = ((flow.nodes[at], value) for at, value in sorted(follow.values.items()))
    return [ChainLink(node.step, shown(flow.text(node.step), node.equation), node.value, new) for node, new in reached]


def prove_replay(found: Replay, answered: Verdict | None) -> Proof:
    """What a replay proves, with the verifier's verdict on its ``text``: None or a timeout proves nothing."""
    if found.outcome is ReplayOutcome.REACHES or answered is Verdict.CORRECT:
        why = "the step is still true, and the solution still comes to the gold answer"
        detail = {"why": why, "equation": found.equation, "original": found.original}
        return Proof(Outcome.FALSE_NEGATIVE, Evidence(EvidenceKind.UNPROVEN, detail))
    if found.outcome is ReplayOutcome.MISSES and answered is Verdict.INCORRECT:
        detail = {"equation": found.equation, "original": found.original, "answer": str(found.answer)}
        return Proof(Outcome.PROVEN, Evidence(EvidenceKind.REPLAY, detail))
    return Proof(Outcome.UNPROVEN, Evidence(EvidenceKind.UNPROVEN, {"why": found.why or "the answer was not judged"}))


def changes_answer(flow: Flow, edit: FlowEdit) -> bool:
    """Whether the edited value, followed to the end, gives another answer than the unedited solution."""
    follow, last = follow_values(flow, edit, "end", write=False), len(flow.nodes) - 1
    return follow is not None and follow.values.get(last, flow.nodes[last].value) != flow.nodes[last].value


def why_open(flow: Flow, edit: FlowEdit, gold: str) -> str:
    """Why a replay of this edit cannot prove anything, as far as is known without carrying its value; else empty."""
    return obstacle(flow, edit, gold) or _agrees(flow, edit, flow.nodes[edit.node])


def _is_true(flow: Flow, edit: FlowEdit, edited_step: str) -> bool:
    node = flow.nodes[edit.node]
    equation = find_equations(edited_step)[node.at]
    only_result = all(change.first == node.result for change in edit.changes)
    return not only_result and bool(equation.holds) and len(equation.sides) == 2 and _exact(equation, edited_step)


def _exact(equation: Equation, text: str) -> bool:
    """Whether both sides are equal without rounding."""
    tokens, head = tokens_of(equation), len(equation.sides[0].tokens)
    try:
        return evaluate_tokens(text, tokens[:head], {}) == evaluate_tokens(text, tokens[head:], {})
    except NotEvaluable:
        return False


def obstacle(flow: Flow, edit: FlowEdit, gold: str) -> str:
    """Why the unedited solution cannot be followed from the edit to gold; empty where it can."""
    node = flow.nodes[edit.node]
    edited_end = flow.steps[node.step].start + node.equation.end
    if any(offset >= edited_end for offset in flow.unread):
        return "something between edit and answer is not read"
    known = _gold_value(gold)
    reaching = [at for at, other in enumerate(flow.nodes) if other.value == known]
    if known is None or reaching != [len(flow.nodes) - 1]:
        return "gold is not the result of the last calculation alone"
    for number in flow.prose:
        if number.start >= edited_end and not _known(flow, number.step, number.value):
            return "a number between edit and answer comes from nowhere"
    if any(len(o.sources) > 1 for other in flow.nodes[edit.node + 1 :] for o in other.operands):
        return "a number between edit and answer has more than one source"
    return ""


def _known(flow: Flow, step: int, value: Fraction | None) -> bool:
    """Whether a number outside calculations is the question's, a result, or an operand of its own step."""
    if value is None:
        return False
    mine = (o.value for node in flow.nodes if node.step == step for o in node.operands)
    return value in flow.given or any(node.value == value for node in flow.nodes) or value in mine


def _gold_value(gold: str) -> Fraction | None:
    match = _GOLD.fullmatch(gold)
    return plain_value(match[1]) if match else None


def _carried_in_step(flow: Flow, edit: FlowEdit, edited_step: str) -> bool:
    """Whether the edited step says what the program would make of the edit: no place keeps the old value."""
    carried = carry(flow, edit, "step")
    return carried is not None and _squeezed(carried.step) == _squeezed(edited_step)


def _squeezed(text: str) -> str:
    return "".join(strip_marks(text).split())


def _agrees(flow: Flow, edit: FlowEdit, node: FlowNode) -> str:
    """Why the edit may be another true way of computing; empty where something that stands contradicts it."""
    tokens = tokens_of(node.equation)
    numbers = [c for c in edit.changes if c.first == c.last and tokens[c.first].kind == "number"]
    signs = [c for c in edit.changes if c.first == c.last and tokens[c.first].kind == "operator"]
    if len(edit.changes) != 1 or len(numbers) + len(signs) != 1:
        return "more than one number or sign is changed"
    if signs:
        return _words_agree(flow, node, tokens[signs[0].first].symbol)
    operand = next(o for o in node.operands if o.place == numbers[0].first)
    return _source_agrees(flow, edit.node, operand, numbers[0].replacement)


def _source_agrees(flow: Flow, before: int, operand: Operand, written: str) -> str:
    if len(operand.sources) != 1:
        return "the changed number has no source, or more than one"
    value = plain_value(written)
    if value is None:
        return "the new number is not read"
    # A number that question or solution gives elsewhere may belong here in another true decomposition.
    return "the new number has a source, too" if flow.sources(value, before) else ""


def _words_agree(flow: Flow, node: FlowNode, sign: str) -> str:
    """Whether no word around the calculation names the operation that the edit replaced."""
    text = flow.text(node.step)
    around = text[: node.equation.start] + " " + text[node.equation.end :]
    named = {_NAMES[w.lower()] for w in _WORD.findall(strip_marks(around)) if w.lower() in _NAMES}
    return "" if named == {sign} else "no word names the operation that was changed"
