"""What became of a job's problems, and its samples judged again."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from api.schemas.common import JobOut, Progress, Request, RowId, job_fields
from models.jobs import ProblemOutcome
from models.outputs import Rejudging, VerdictChangeRow
from models.workspaces import ProblemRow


class JobProblemOut(BaseModel):
    """What became of one problem in one job; ``answers`` are what its samples answered, the most frequent first."""

    object: Literal["job_problem"] = "job_problem"
    job: str
    problem: str
    position: int
    external_id: str | None
    question: str
    gold_answer: str
    outcome: str = Field(description="kept or dropped.")
    reason: str | None = Field(description="Why it was dropped, such as label_suspect or no_correct.")
    answers: dict[str, int]

    @classmethod
    def of(cls, problem: ProblemRow, outcome: ProblemOutcome, answers: dict[str, int]) -> JobProblemOut:
        """The answer for a problem and its outcome."""
        return cls(
            job=outcome.job_id,
            problem=problem.id,
            position=problem.position,
            external_id=problem.external_id,
            question=problem.question,
            gold_answer=problem.gold_answer,
            outcome=outcome.outcome,
            reason=outcome.reason,
            answers=answers,
        )


class RejudgingIn(Request):
    """The injection job whose stored samples are judged again."""

    injection_job: RowId


class RejudgingResult(BaseModel):
    """The difference: stored verdicts against those of today's verifier."""

    samples: int
    same: int
    changed: int = Field(description="Verdict or extracted answer differs; see /changes.")
    drawn: int = Field(description="Of the changed, those the job had drawn for its pairs.")
    verdicts: dict[str, int] = Field(description="Verdicts that moved, such as 'incorrect to correct'.")


class RejudgingOut(JobOut):
    """A rejudging; ``verifier`` is the one that judges now. The job's own verdicts and pairs stay as they are."""

    object: Literal["rejudging"] = "rejudging"
    injection_job: str
    verifier: str
    result: RejudgingResult | None

    @classmethod
    def of(cls, row: Rejudging, progress: Progress) -> RejudgingOut:
        """The answer for a row."""
        return cls(
            **job_fields(row, progress),
            injection_job=row.injection_job_id,
            verifier=row.verifier,
            result=RejudgingResult.model_validate(row.result) if row.result else None,
        )


class Judged(BaseModel):
    """One side of a change."""

    verdict: str
    extracted: str | None
    verifier: str | None


class VerdictChangeOut(BaseModel):
    """A sample that is judged differently now; ``role`` is what the job had drawn it for, if it had."""

    object: Literal["verdict_change"] = "verdict_change"
    solution: str
    problem: str
    role: str | None
    before: Judged
    after: Judged

    @classmethod
    def of(cls, row: VerdictChangeRow, verifier: str) -> VerdictChangeOut:
        """The answer for a row."""
        before = Judged(verdict=row.verdict_before, extracted=row.extracted_before, verifier=row.verifier_before)
        after = Judged(verdict=row.verdict_after, extracted=row.extracted_after, verifier=verifier)
        return cls(solution=row.solution_id, problem=row.problem_id, role=row.role, before=before, after=after)
