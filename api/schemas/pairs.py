"""Preference pairs."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from models.jobs import PairRow


class PairOut(BaseModel):
    """One pair: ``question`` + ``prefix`` is the prompt, ``chosen`` and ``rejected`` differ in the error."""

    object: Literal["pair"] = "pair"
    id: str
    job: str
    problem: str
    solution: str
    rejected_solution: str | None
    edit: str | None
    type: Literal["step", "full"]
    question: str
    prefix: str
    chosen: str
    rejected: str
    step_index: int | None = Field(description="Counts from 0; null for full pairs.")
    start: int | None = Field(description="Offset of the chosen step in its solution.")
    end: int | None
    error_kind: str | None
    distance: int | None
    evidence_kind: str | None
    evidence: dict[str, Any] | None
    source: str
    language_model: str | None
    prompt_version: str | None
    seed: int | None
    created_at: datetime

    @classmethod
    def of(cls, row: PairRow) -> PairOut:
        """The answer for a row."""
        return cls(
            id=row.id,
            job=row.job_id,
            problem=row.problem_id,
            solution=row.solution_id,
            rejected_solution=row.rejected_solution_id,
            edit=row.edit_id,
            type="step" if row.type == "step" else "full",
            question=row.question,
            prefix=row.prefix,
            chosen=row.chosen,
            rejected=row.rejected,
            step_index=row.step_index,
            start=row.start,
            end=row.end,
            error_kind=row.error_kind,
            distance=row.distance,
            evidence_kind=row.evidence_kind,
            evidence=row.evidence,
            source=row.source,
            language_model=row.language_model,
            prompt_version=row.prompt_version,
            seed=row.seed,
            created_at=row.created_at,
        )
