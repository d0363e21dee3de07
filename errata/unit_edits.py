"""What an edit changes in its equation, and whether that is what its kind asks for.

An edited equation is compared with its original token by token. The difference becomes a list of token changes, which
are then made in the original text and in its calculator mark alike, so nothing but them can change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from errata.arithmetic import Equation, Token, TokenChange, apply_changes, find_equations, strip_marks, tokens_of
from errata.calculations import side_calculations
from errata.kinds.registry import Kind
from errata.types import EvidenceKind, Form, Reason, Step
from errata.units import Unit


@dataclass(frozen=True, slots=True)
class UnitEdit:
    """The step with its edited unit; or why there is none."""

    text: str | None
    reason: Reason | None = None


def splice_unit(solution: str, step: Step, unit: Unit, reply: str, kind: Kind) -> UnitEdit:
    """The step with ``reply`` in place of the unit, label, separator and all other text as they were.

    Of an equation only the numbers, signs and brackets that differ are taken over, and its calculator mark follows. A
    result that the model wrote beside the kind's change of what is computed is left: what becomes of results is the
    program's business (errata.types.Form).
    Reasons: ``no_change``; ``not_the_kind`` where the reply is another equation than the original but for the kind's
    change, or no equation at all; ``mark_disagrees`` where the mark cannot follow.
    """
    text = solution[step.start : step.end]
    start, end = unit.start - step.start, unit.end - step.start
    if unit.kind == "sentence":
        spliced = text[:start] + reply + text[end:]
        return UnitEdit(spliced) if _words_fit(kind, reply) else UnitEdit(None, Reason.NOT_THE_KIND)
    original = next((e for e in find_equations(text) if (e.start, e.end) == (start, end)), None)
    edited = find_equations(reply)
    if original is None or len(edited) != 1 or (edited[0].start, edited[0].end) != (0, len(reply)):
        return UnitEdit(None, Reason.NOT_THE_KIND)
    if [_content(t) for t in tokens_of(original)] == [_content(t) for t in tokens_of(edited[0])]:
        return UnitEdit(text, Reason.NO_CHANGE)
    changes = token_changes(original, edited[0], reply)
    if changes is None or not is_of_kind(kind, original, edited[0]):
        return UnitEdit(None, Reason.NOT_THE_KIND)
    if kind.profile.relation is not None:
        changes = _computing(original, changes)
    made = apply_changes(text, original, changes)
    return UnitEdit(None, Reason.MARK_MISMATCH) if made is None else UnitEdit(made)


def token_changes(original: Equation, edited: Equation, text: str) -> tuple[TokenChange, ...] | None:
    """The changes that lead from one equation to the other, which stands in ``text``; None where sides are added."""
    if len(original.sides) != len(edited.sides):
        return None
    changes: list[TokenChange] = []
    at = 0
    for old, new in zip(original.sides, edited.sides, strict=True):
        changes += _side_changes(old.tokens, new.tokens, at, text)
        at += len(old.tokens)
    return tuple(changes)


def _computing(equation: Equation, changes: Sequence[TokenChange]) -> tuple[TokenChange, ...]:
    """The changes of the sides that compute something."""
    computes = [side.is_expression for side in equation.sides for _ in side.tokens]
    return tuple(change for change in changes if computes[change.first])


def _side_changes(old: Sequence[Token], new: Sequence[Token], at: int, text: str) -> list[TokenChange]:
    differ = [n for n, (a, b) in enumerate(zip(old, new, strict=False)) if _content(a) != _content(b)]
    if len(old) == len(new):
        return [TokenChange(at + n, at + n, text[new[n].start : new[n].end]) for n in differ]
    # Tokens are missing or new: all between the common head and the common tail is replaced at once.
    head = differ[0] if differ else min(len(old), len(new))
    tail = 0
    while tail < min(len(old), len(new)) - head and _content(old[-1 - tail]) == _content(new[-1 - tail]):
        tail += 1
    first, last, stop = head, len(old) - tail - 1, len(new) - tail
    if last < first:  # nothing is replaced, something is added: the token before it is written again
        first, stop = (head - 1, stop) if head else (0, stop + 1)
        last = head = first
    replacement = text[new[head].start : new[stop - 1].end] if stop > head else ""
    return [TokenChange(at + first, at + last, replacement)]


def _content(token: Token) -> tuple[str, str]:
    # As written: "1,000" for "1000" is a change of the text, but "×" for "*" is none of the calculation.
    return token.kind, token.text if token.kind == "number" else token.symbol


def changed_equation(original_step: str, edited_step: str) -> int | None:
    """The place of the first equation that differs between a step and its edit; None where their numbers differ."""
    old, new = find_equations(original_step), find_equations(edited_step)
    if len(old) != len(new):
        return None
    pairs = enumerate(zip(old, new, strict=True))
    return next((n for n, (a, b) in pairs if shown(original_step, a) != shown(edited_step, b)), None)


def shown(step: str, equation: Equation) -> str:
    """An equation as a reader sees it, without calculator marks."""
    return strip_marks(step[equation.start : equation.end])


def is_of_kind(kind: Kind, original: Equation, edited: Equation) -> bool:
    """Whether an edited equation is the original but for the kind's change.

    The change is judged by the relation that the kind's entry names for the error profile. Results may be whatever they
    are: ``splice_unit`` leaves them. A kind without such a relation is not judged: its edits are left to proof.
    """
    relation, rest = kind.profile.relation, kind.profile.rest
    if kind.check is not EvidenceKind.CONTRADICTION or (relation is None and rest != "false"):
        return True
    if len(original.sides) != len(edited.sides):
        return False
    old, new = side_calculations(original, 0), side_calculations(edited, 0)
    if relation is None:  # a calculation gets another number, and nothing else
        numbers, others = _differences(original, edited)
        return numbers == 1 and not others
    differing = [(a, b) for a, b in zip(old, new, strict=False) if (a.numbers, a.shape) != (b.numbers, b.shape)]
    return len(old) == len(new) and len(differing) == 1 and relation(*differing[0])


def step_is_of_kind(kind: Kind, original: str, edited: str, form: Form) -> bool:
    """Whether an edited step is the original but for the kind's change, as far as equations tell.

    Form ``stands``: one equation differs, by the kind's change. Form ``consistent``: what follows it may have other
    numbers, as the new value is carried on. A kind of words leaves every equation and number as it is. Texts without a
    difference in equations are left to proof where the kind is one of equations that could not be read.
    """
    if kind.version is not None or kind.check not in (EvidenceKind.CONTRADICTION, EvidenceKind.DIVERGENCE):
        return True
    old, new = find_equations(original), find_equations(edited)
    if len(old) != len(new):
        return False
    differing = [(a, b) for a, b in zip(old, new, strict=True) if shown(original, a) != shown(edited, b)]
    if kind.check is EvidenceKind.DIVERGENCE:
        return not differing
    if not differing:
        return not old
    (first, *rest) = differing
    follows = form is Form.CONSISTENT and all(_differences(a, b)[1] == 0 for a, b in rest)
    return is_of_kind(kind, *first) and (follows or not rest)


def _differences(original: Equation, edited: Equation) -> tuple[int, int]:
    """How many numbers differ, and how many other tokens; every token where their counts differ."""
    old, new = tokens_of(original), tokens_of(edited)
    if len(old) != len(new):
        return 0, max(len(old), len(new))
    pairs = [(a, b) for a, b in zip(old, new, strict=True) if _content(a) != _content(b)]
    numbers = sum(a.kind == b.kind == "number" for a, b in pairs)
    return numbers, len(pairs) - numbers


def _words_fit(kind: Kind, reply: str) -> bool:
    # A kind of words alone (misreading) brings no numbers and no equation in: they could be false for no reason.
    return kind.version is not None or kind.check is not EvidenceKind.DIVERGENCE or kind.applies(reply)
