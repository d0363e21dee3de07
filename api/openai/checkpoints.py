"""Checkpoints of a fine-tuning job: those of its run that are kept."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.openai.ids import Keys, Page, anchor, public_id, row_id, rows_behind, unix
from api.openai.schemas import CheckpointMetrics, JobCheckpoint
from models.outputs import Checkpoint, Metric, TrainingRun

_KEYS = Keys(Checkpoint.created_at, Checkpoint.id)


def page(session: Session, run: TrainingRun, after: str | None, limit: int) -> Page[JobCheckpoint]:
    """One page, newest first. Raises Invalid for an unknown ``after``."""
    kept = (Checkpoint.run_id == run.id, Checkpoint.state == "ready")
    at = None
    if after is not None:
        # One that was deleted since the page before still says where to go on.
        at = anchor(session, _KEYS, Checkpoint.run_id == run.id, Checkpoint.id == (row_id(after) or ""))
    rows, more = rows_behind(session, select(Checkpoint).where(*kept), _KEYS, at, limit)
    found = [row for (row,) in rows]
    losses = _losses(session, run.id, [row.step for row in found])
    return Page[JobCheckpoint].of([_told(run, row, losses) for row in found], has_more=more)


def _losses(session: Session, run_id: str, steps: Sequence[int]) -> dict[tuple[int, str], float | None]:
    rows = session.scalars(select(Metric).where(Metric.run_id == run_id, Metric.step.in_(steps)))
    return {(row.step, row.phase): row.values.get("loss") for row in rows}


def _told(run: TrainingRun, row: Checkpoint, losses: dict[tuple[int, str], float | None]) -> JobCheckpoint:
    return JobCheckpoint(
        id=public_id(row.id),
        created_at=unix(row.created_at),
        fine_tuning_job_id=public_id(run.id),
        fine_tuned_model_checkpoint=f"{run.output_name}:ckpt-step-{row.step}",
        step_number=row.step,
        metrics=CheckpointMetrics(
            step=row.step, train_loss=losses.get((row.step, "train")), full_valid_loss=losses.get((row.step, "eval"))
        ),
    )
