"""One edit on its way: what is edited, who was asked for it, every attempt, and what is known of the last one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from errata.early_check import reason_against
from errata.injection import PlannedEdit
from errata.screening import Screening, screen
from errata.steps import split_steps
from errata.types import Domain, EditorName, Problem, Reason, Step
from models.base import new_id
from models.jobs import SolutionRow
from workers.stages.ledger import Tally
from workers.stages.loading import Job

_COLUMNS = ("kind", "form", "original", "edited", "attempts", "reason")
_TOKENS = ("prompt_tokens", "completion_tokens", "cached_tokens")


class Spent(Protocol):
    """What an engine tells of its tokens."""

    @property
    def prompt_tokens(self) -> int:
        """Of the prompt."""

    @property
    def cached_tokens(self) -> int:
        """Those of the prompt that a prefix cache served."""


@dataclass
class Draft:
    """``tallies``: the editors asked so far, the last one at work. ``doubt``: why stage ``prove`` will reject the edit.

    A doubt is no reason yet: where no other edit is found, the next stages say it with their evidence. ``chosen``: the
    text that stands against a mined error, where it is not the step's own.
    """

    solution: SolutionRow
    problem: Problem
    steps: Sequence[Step]
    step: Step
    planned: PlannedEdit
    attempts: list[dict[str, Any]] = field(default_factory=list)
    tallies: list[Tally] = field(default_factory=list)
    edited: str | None = None
    screening: Screening | None = None
    reason: str | None = None
    doubt: str | None = None
    chosen: str | None = None

    @property
    def kind(self) -> str:
        """The error kind that was planned."""
        return self.planned.kind

    @property
    def form(self) -> str:
        """The form that was planned."""
        return str(self.planned.form)

    @property
    def original(self) -> str:
        """The chosen side's text, separator included."""
        return self.solution.text[self.step.start : self.step.end] if self.chosen is None else self.chosen

    @property
    def text(self) -> str:
        """The solution with the chosen side in the step's place."""
        return self.solution.text[: self.step.start] + self.original + self.solution.text[self.step.end :]

    @property
    def kept(self) -> bool:
        """Whether there is an edit that nothing speaks against."""
        return self.edited is not None and self.reason is None and self.doubt is None

    def ask(self, editor: EditorName) -> None:
        """From here on the edit is this editor's."""
        self.tallies.append(Tally(editor, self.kind))

    def spend(self, tokens: Spent, completion_tokens: int = 0) -> None:
        """Tokens that the editor at work used."""
        tally = self.tallies[-1]
        tally.prompt_tokens += tokens.prompt_tokens
        tally.completion_tokens += completion_tokens
        tally.cached_tokens += tokens.cached_tokens

    def take(self, job: Job, edited: str | None, reason: str | None, span: tuple[int, int] | None = None) -> bool:
        """Screen an edit, or note why there is none; whether it is kept. ``span``: what of the step may change."""
        self.edited, self.reason, self.screening, self.doubt = edited, reason, None, None
        if edited is None:
            return False
        self.screening = screen(self.original, edited, self.problem.question, job.config.screening, span)
        if not self.screening.kept:
            self.reason = str(self.screening.reason)
            return False
        step = replace(self.step, end=self.step.start + len(self.original))
        editor = self.tallies[-1].editor
        against = reason_against(self.problem, self.text, step, edited, self.kind, job.config, job.domain, editor)
        self.doubt = None if against is None else str(against)
        return against is None

    def note(self, **told: Any) -> None:
        """Write down the attempt that was just taken, with the reason against it."""
        tally = self.tallies[-1]
        tally.attempts += 1
        self.attempts.append({"editor": tally.editor, **told, "reason": self.reason or self.doubt})

    def row(self, job_id: str, shard_id: str) -> dict[str, Any]:
        """The edit's row. Its tokens are those of every editor that was asked for it."""
        return {
            "id": new_id("edit"),
            "job_id": job_id,
            "shard_id": shard_id,
            "solution_id": self.solution.id,
            "problem_id": self.solution.problem_id,
            "editor": self.tallies[-1].editor,
            "step_index": self.step.index,
            "start": self.step.start,
            "end": self.step.end,
            "distance": None if self.screening is None else self.screening.distance,
            **{name: getattr(self, name) for name in _COLUMNS},
            **{name: sum(getattr(tally, name) for tally in self.tallies) for name in _TOKENS},
        }


def drafts_of(row: SolutionRow, problem: Problem, job: Job) -> list[Draft]:
    """The edits that stage ``grade`` planned for a drawn solution."""
    steps = split_steps(row.text, job.domain, job.config.thoughts.in_steps)
    planned = [PlannedEdit.from_list(stored, row.text) for stored in (row.plan or {})["edits"]]
    return [Draft(row, problem, steps, steps[edit.step], edit) for edit in planned]


def calculates(domain: Domain) -> bool:
    """Whether solutions of the domain are made of calculations, so that slips and carried values exist."""
    return domain in (Domain.MATH, Domain.CHOICE)


NO_RULE = str(Reason.NO_RULE_EDIT)
NO_SLIP = str(Reason.NO_SLIP)
