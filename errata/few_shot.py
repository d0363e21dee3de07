"""Examples that stand before a prompt: which of them, and what an edit's example says (docs/method.md, steps 2 and 6).

The package's own are data (``examples.json``). They are the same for all problems of a job, in one order, so that an
engine's prefix cache computes them once. An example whose question is the problem's own is left out for it.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from errata.json_cells import find_json
from errata.kinds import Kind, kinds_of
from errata.prompt_config import EditExample
from errata.proof import Outcome, prove_edit
from errata.steps import separator, splice, split_steps
from errata.types import Domain, EvidenceKind, Step
from errata.unit_edits import splice_unit
from errata.units import Unit, UnitKind, units_of

EXAMPLES_VERSION = "examples/1"
_FILE = Path(__file__).with_name("examples.json")
_SENTENCES = 4


@dataclass(frozen=True, slots=True)
class SolvedExample:
    """A question with a solution in the format that the solver is asked for."""

    question: str
    solution: str


@dataclass(frozen=True, slots=True)
class ShownEdit:
    """An example's edit in its place: of ``steps[index]`` the ``unit`` becomes ``edited``, the step ``edited_step``."""

    steps: Sequence[Step]
    index: int
    unit: Unit
    edited: str
    edited_step: str


@lru_cache(maxsize=1)
def _file() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_FILE.read_text("utf-8"))
    return found


@lru_cache(maxsize=len(Domain))
def packaged_solutions(domain: Domain) -> tuple[SolvedExample, ...]:
    """The package's solved examples of a domain."""
    return tuple(SolvedExample(**row) for row in _file()[domain]["solutions"])


@lru_cache(maxsize=len(Domain))
def packaged_edits(domain: Domain) -> tuple[EditExample, ...]:
    """The package's examples of edits of a domain: one of each kind first, then further ones."""
    solved = packaged_solutions(domain)
    rows = [dict(row) for row in _file()[domain]["edits"]]
    return tuple(
        EditExample(question=solved[at].question, solution=solved[at].solution, **row)
        for row in rows
        for at in [row.pop("of")]
    )


def solved_examples(count: int, domain: Domain, question: str) -> tuple[SolvedExample, ...]:
    """The first ``count`` solved examples with another question; fewer where there are no more."""
    # Lazily: most prompts have no examples, and a freeze makes one for each of its questions.
    others = (each for each in packaged_solutions(domain) if not _same(each.question, question))
    return tuple(islice(others, count))


def edit_examples(
    count: int,
    domain: Domain,
    question: str,
    own: Sequence[EditExample] | None = None,
    kinds: Collection[str] | None = None,
) -> tuple[EditExample, ...]:
    """The first ``count`` examples with another question, those of the job's ``kinds`` first; ``own`` replace ours.

    Fewer where there are no more. Without ``kinds``: of every kind.
    """
    given = packaged_edits(domain) if own is None else own
    others = [each for each in given if not _same(each.question, question)]
    ordered = sorted(others, key=lambda each: kinds is not None and each.kind not in kinds)
    # An example of a kind that the job never asks for would teach another edit.
    wanted = [each for each in ordered if kinds is None or each.kind in kinds] or ordered
    return tuple(wanted[:count])


def _same(one: str, other: str) -> bool:
    return " ".join(one.split()) == " ".join(other.split())


def shown_edit(example: EditExample, domain: Domain) -> ShownEdit | None:
    """The example's edit as a change of one unit; None where its step is missing, or more than one unit differs."""
    steps = split_steps(example.solution, domain)
    if example.step > len(steps):
        return None
    step = steps[example.step - 1]
    original = example.solution[step.start : step.end]
    label = example.solution[step.start : step.body_start]
    body = example.edited.strip()
    edited = (body if label.strip() and body.startswith(label.strip()) else label + body) + separator(original)
    for unit in units_of(example.solution, step, _SENTENCES, domain):
        if unit.kind != _unit_kind(example.kind, domain):
            continue
        before, after = example.solution[step.start : unit.start], example.solution[unit.end : step.end]
        long_enough = len(edited) > len(before) + len(after)
        if long_enough and edited.startswith(before) and edited.endswith(after):
            return ShownEdit(steps, step.index, unit, edited[len(before) : len(edited) - len(after)], edited)
    return None


def _unit_kind(name: str, domain: Domain) -> UnitKind:
    """What a kind's edits change: an equation can be shown false, words cannot."""
    kind = kinds_of(domain).get(name)
    of_equations = kind is not None and kind.version is None and kind.check is EvidenceKind.CONTRADICTION
    return "equation" if of_equations else "sentence"


def example_fault(example: EditExample, domain: Domain) -> tuple[str, str] | None:
    """The field of an example that is wrong, and why; None where it shows an edit of its kind that is proven wrong.

    Of mathematics an equation must contradict itself. Where only continuations or a verifier could tell, the edit
    must have its kind's form: an answer in JSON, code that parses, words without numbers.
    """
    kind = kinds_of(domain).get(example.kind)
    if kind is None:
        return "kind", f"domain '{domain}' has no kind '{example.kind}'; known are {', '.join(kinds_of(domain))}"
    count = len(split_steps(example.solution, domain))
    if example.step > count:
        return "step", f"the solution has {count} steps"
    found = shown_edit(example, domain)
    if found is None:
        changed = "one equation" if _unit_kind(example.kind, domain) == "equation" else "one sentence or line"
        return "edited", f"it must be step {example.step} with {changed} of it changed, and nothing else"
    original = example.solution[found.steps[found.index].start : found.steps[found.index].end]
    if found.edited_step == original:
        return "edited", "it is the step as it stands: nothing is changed"
    return _unproven(example, found, original, kind, domain)


def _unproven(
    example: EditExample, found: ShownEdit, original: str, kind: Kind, domain: Domain
) -> tuple[str, str] | None:
    step = found.steps[found.index]
    if domain is Domain.CODE:
        return _not_code(splice(example.solution, step, found.edited_step))
    if domain is Domain.LOGIC:
        whole = find_json(found.edited_step)
        return None if whole is not None else ("edited", "it holds no JSON that can be read")
    made = splice_unit(example.solution, step, found.unit, found.edited, kind)
    if made.reason is not None:
        return "edited", made.reason.sentence
    if kind.check is EvidenceKind.DIVERGENCE or prove_edit(original, found.edited_step).outcome is Outcome.PROVEN:
        return None
    return "edited", "nothing proves the edited step wrong: no equation of it contradicts itself"


def _not_code(solution: str) -> tuple[str, str] | None:
    steps = split_steps(solution, Domain.CODE)
    try:
        ast.parse(solution[steps[0].start : steps[-1].start])
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "edited", "the program does not parse with it"
    return None
