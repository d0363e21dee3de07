"""The turns that ask for an edit, and the reply an example gives (errata.prompts puts them together)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from errata.arithmetic import strip_marks
from errata.few_shot import ShownEdit
from errata.kinds import kinds_of
from errata.prompt_config import EditExample, filled
from errata.types import Domain, Step
from errata.units import Unit, whole_unit

FENCE = "```"
_EDIT_HEAD = (
    "Below are a problem and a correct solution with numbered steps. Rewrite one part of one step so that it contains"
    " one subtle error, and keep the rest of that part as it is. Do not say that there is an error."
    " Reply with the rewritten part alone, in a code fence."
)
ALONE = (
    "You put one subtle error into a part of a correct solution, as a careless student would. Change exactly what is"
    " asked for, and nothing else."
)
_WRONG = "Wrong: "


@dataclass(frozen=True, slots=True)
class EditTask:
    """One edit that is asked for; see ``edit_prompt``. ``alone``: of an equation nothing else is shown."""

    question: str
    solution: str
    steps: Sequence[Step]
    index: int
    kind: str
    domain: Domain
    layout: str
    offered: int | None
    unit: Unit | None
    alone: bool = False

    @property
    def short(self) -> bool:
        """Whether the unit is asked for without question and solution."""
        unit = self.unit
        return self.alone and self.layout == "errata" and unit is not None and unit.kind == "equation" and unit.one_line

    @property
    def step(self) -> Step:
        """The step that is edited."""
        return self.steps[self.index]

    @property
    def chosen(self) -> Unit:
        """What may change in layout ``errata``."""
        return self.unit or whole_unit(self.solution, self.step, self.offered)

    @property
    def instruction(self) -> str:
        """What the kind asks for."""
        return kinds_of(self.domain)[self.kind].instruction

    @property
    def opening(self) -> str:
        """What the reply is made to open with."""
        if self.short:
            return _WRONG
        if self.layout == "scripts":
            return f"{FENCE}\n"
        given = self.step.body_start if self.offered is None else self.offered
        end = self.chosen.start if self.layout == "errata" else given
        return f"{FENCE}\n{self.solution[self.step.start : end]}"

    @property
    def stop(self) -> str:
        """Where the reply ends: a unit of one line with its line, all else at the fence."""
        return "\n" if self.layout == "errata" and self.chosen.one_line else f"\n{FENCE}"


def edit_turn(task: EditTask, template: str | None) -> str:
    """The user's turn."""
    if template is not None:
        return filled(template, _fields(task))
    if task.short:
        asked = kinds_of(task.domain)[task.kind].of_equation or task.instruction
        return f"{asked}\nCorrect: {_shown_unit(task.solution, task.chosen)}"
    if task.layout != "errata":
        return _paper_layout(task.question, task.solution, task.step, task.instruction)
    return _errata_layout(task)


def edit_answer(task: EditTask, shown: ShownEdit) -> str:
    """What an example's reply is: as a reply to its turn would open, and the fence closed."""
    if task.short:
        return f"{task.opening}{strip_marks(shown.edited)}"
    if task.layout == "errata":
        return f"{task.opening}{strip_marks(shown.edited)}\n{FENCE}"
    return f"{FENCE}\n{shown.edited_step.strip()}\n{FENCE}"


def _fields(task: EditTask) -> dict[str, str]:
    return {
        "question": task.question.strip(),
        "solution": _numbered(task.solution, task.steps),
        "step": task.solution[task.step.start : task.step.end].strip(),
        "number": str(task.index + 1),
        "unit": _shown_unit(task.solution, task.chosen),
        "instruction": task.instruction,
    }


def _errata_layout(task: EditTask) -> str:
    return (
        f"{_EDIT_HEAD}\n\nProblem:\n{task.question.strip()}\n\nSolution:\n{_numbered(task.solution, task.steps)}\n\n"
        f"Rewrite this part of step [{task.index + 1}]: {_shown_unit(task.solution, task.chosen)}\n{task.instruction}"
    )


def _numbered(solution: str, steps: Sequence[Step]) -> str:
    return "\n".join(f"[{s.index + 1}] {solution[s.start : s.end].strip()}" for s in steps)


def _shown_unit(solution: str, unit: Unit) -> str:
    """The unit as it is asked for: without calculator marks, which the program writes itself."""
    text = strip_marks(solution[unit.start : unit.end])
    return text if unit.one_line else f"\n{FENCE}\n{text}\n{FENCE}"


def _paper_layout(question: str, solution: str, step: Step, instruction: str) -> str:
    before = solution[: step.start].rstrip()
    current = solution[step.start : step.end].strip()
    parts = [f"Problem:\n{question.strip()}"]
    if before:
        parts.append(f"Solution so far:\n{before}")
    parts.append(f"Current step:\n{FENCE}\n{current}\n{FENCE}")
    parts.append(
        f"Edit the current step to introduce an error. {instruction} Do not state that errors have been made."
        " Reply with the edited step alone, in a code fence."
    )
    return "\n\n".join(parts)


def example_task(example: EditExample, shown: ShownEdit, like: EditTask) -> EditTask:
    return replace(
        like,
        question=example.question,
        solution=example.solution,
        steps=shown.steps,
        index=shown.index,
        kind=example.kind,
        offered=None,
        unit=shown.unit,
    )
