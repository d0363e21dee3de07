"""Label check: is the chosen side right and the rejected side wrong, judged and proven anew?

Verdicts are made elsewhere (workers.judge): a check names the texts it wants judged and is told the verdicts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

from errata.identity import Context, prove_identity
from errata.mined_proof import lies_apart, own_contradiction
from errata.proof import Outcome, prove_contradiction
from errata.replay import Replay, ReplayOutcome, prove_replay, replay
from errata.types import Domain, EvidenceKind, Problem, Verdict

_STATES_ITS_ANSWER = ("\\boxed", "####")


class Label(StrEnum):
    """What a check comes to: the label holds, does not hold, or nothing says so."""

    HOLDS = "holds"
    WRONG = "wrong"
    OPEN = "open"


@dataclass(frozen=True)
class LabelCheck:
    """One pair with what its label rests on.

    ``solution``: the solution that the step pair was made from, with its chosen side. ``original`` and ``edited``: the
    step without what follows it (mode ``dynamic``); equal to the sides where nothing follows. ``mined``: the rejected
    side is a mined error, which has rules of proof of its own.
    """

    type: str
    problem: Problem
    domain: Domain
    chosen: str
    rejected: str
    solution: str
    original: str = ""
    edited: str = ""
    start: int = 0
    step_index: int = 0
    evidence: str | None = None
    detail: Mapping[str, Any] | None = None
    mined: bool = False

    @cached_property
    def _replayed(self) -> Replay | None:
        if self.evidence != EvidenceKind.REPLAY:
            return None
        problem = self.problem
        found = replay(problem.question, problem.gold_answer, self.solution, self.step_index, self.edited)
        return found if found.outcome is not ReplayOutcome.OPEN else None

    @property
    def texts(self) -> dict[str, str]:
        """The whole solutions to be judged against the problem's gold answer, by their role."""
        wanted = {"chosen": self.chosen, "rejected": self.rejected} if self.type == "full" else self._of_step()
        told = self.problem.gold_solution or ""
        return {**wanted, "reference": told} if any(mark in told for mark in _STATES_ITS_ANSWER) else wanted

    def _of_step(self) -> dict[str, str]:
        wanted = {"solution": self.solution}
        if self.evidence == EvidenceKind.VERIFIER:
            before, behind = self.solution[: self.start], self.solution[self.start + len(self.original) :]
            wanted["edited"] = before + self.edited + behind
        elif self._replayed is not None and self._replayed.text is not None:
            wanted["replayed"] = self._replayed.text
        return wanted

    def result(self, verdicts: Mapping[str, Verdict]) -> tuple[Label, str]:
        """What the verdicts on ``texts`` say, and why in one sentence. A text nobody could judge leaves it open."""
        if verdicts.get("reference") is Verdict.INCORRECT:
            return Label.WRONG, "the problem's own solution does not reach its gold answer"
        right = "chosen" if self.type == "full" else "solution"
        if verdicts[right] is Verdict.INCORRECT:
            return (
                Label.WRONG,
                f"the {'chosen side' if right == 'chosen' else 'solution'} does not reach the gold answer",
            )
        if verdicts[right] is not Verdict.CORRECT:
            return Label.OPEN, f"the {right} could not be judged"
        return self._of_rejected(verdicts)

    def _of_rejected(self, verdicts: Mapping[str, Verdict]) -> tuple[Label, str]:
        """What is known of the rejected side, where the chosen one is right."""
        if self.type == "full":
            return _wrong_answer(verdicts["rejected"], "the rejected side")
        if not self.solution.startswith(self.original, self.start):
            return Label.WRONG, "the chosen step does not stand in the solution"
        if self.evidence == EvidenceKind.CONTRADICTION:
            prove = own_contradiction if self.mined else prove_contradiction
            sides = (self.edited, self.original) if self.mined else (self.original, self.edited)
            return _proven(prove(*sides) is not None)
        if self.evidence == EvidenceKind.IDENTITY:
            around = Context(self.problem.question, self.solution, self.start)
            return _proven(prove_identity(self.original, self.edited, around) is not None)
        if self.evidence == EvidenceKind.REPLAY:
            found = self._replayed
            return _proven(
                found is not None and prove_replay(found, verdicts.get("replayed")).outcome is Outcome.PROVEN
            )
        if self.evidence == EvidenceKind.VERIFIER:
            return _wrong_answer(verdicts["edited"], "the edited whole")
        if self.evidence == EvidenceKind.DIVERGENCE:
            detail = self.detail or {}
            gap = detail.get("rate", 0) - detail.get("original_rate", 0)
            # By the stored rates: nothing is generated anew.
            return _proven(gap >= detail.get("gap", 0.5) - 1e-9 and (not self.mined or lies_apart(detail)))
        return Label.OPEN, "the edit was never proven"


def _wrong_answer(verdict: Verdict, what: str) -> tuple[Label, str]:
    if verdict is Verdict.INCORRECT:
        return Label.HOLDS, ""
    if verdict is Verdict.CORRECT:
        return Label.WRONG, f"{what} reaches the gold answer"
    return Label.OPEN, f"{what} could not be judged"


def _proven(again: bool) -> tuple[Label, str]:
    return (Label.HOLDS, "") if again else (Label.WRONG, "the evidence could not be proven again")
