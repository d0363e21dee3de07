"""Where an edit goes: one step of one solution, with the problem it belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from errata.types import Problem, Step


@dataclass(frozen=True, slots=True)
class Site:
    """A step in its place. Twins read what their domain needs: the step, the whole code block, the puzzle's clues."""

    solution: str
    steps: Sequence[Step]
    index: int
    problem: Problem

    @property
    def step(self) -> Step:
        """The step's offsets."""
        return self.steps[self.index]

    @property
    def text(self) -> str:
        """The whole step, label and separator included."""
        return self.solution[self.step.start : self.step.end]

    @property
    def body(self) -> str:
        """The step behind its label."""
        return self.solution[self.step.body_start : self.step.end]
