"""From a training process's messages to rows and events. Every transaction makes the fenced statement first."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from models import run_leases
from models.base import new_id
from models.events import record
from models.outputs import Checkpoint, Metric, TrainingRun
from models.run_leases import RunLease
from models.session import Database, insert_ignore
from models.settings import StoreSettings
from workers.training.registry import register, run_folder


class LeaseLost(Exception):
    """Another daemon may own the run: nothing more is written."""


def write(
    session: Session,
    lease: RunLease,
    ttl_seconds: float,
    step: int,
    metrics: Sequence[dict[str, Any]],
    messages: Sequence[dict[str, Any]],
) -> None:
    """Renew the lease and write what the process said, in one transaction. Raises LeaseLost.

    Metrics of a step that was already reported (before an interruption) are left as they are.
    """
    if metrics:
        state = run_leases.progressed(session, lease, ttl_seconds, step)
    else:
        state = run_leases.heartbeat(session, lease, ttl_seconds)
    if state is None:
        raise LeaseLost
    rows = [
        {"run_id": lease.run_id, "step": m["step"], "phase": m.get("phase", "train"), "values": m["values"]}
        for m in metrics
    ]
    insert_ignore(session, Metric, rows)
    for message in messages:
        HANDLERS[message["type"]](session, lease, ttl_seconds, message)


def _event(session: Session, lease: RunLease, kind: str, **data: Any) -> None:
    record(session, lease.workspace_id, lease.run_id, kind, **data)


def _started(session: Session, lease: RunLease, _ttl: float, message: dict[str, Any]) -> None:
    _event(session, lease, "training.started", pid=message["pid"], worker=lease.worker)


def _ready(session: Session, lease: RunLease, _ttl: float, message: dict[str, Any]) -> None:
    if run_leases.started(session, lease, message["total_steps"]):
        about = {key: message.get(key) for key in ("total_steps", "report", "packing", "note")}
        _event(session, lease, "training.running", **about)


def _resumed(session: Session, lease: RunLease, _ttl: float, message: dict[str, Any]) -> None:
    _mark_deleted(session, lease, [entry["step"] for entry in message["rejected"]])
    _event(session, lease, "training.resumed", step=message["step"], rejected=message["rejected"])


def _skipped(session: Session, lease: RunLease, _ttl: float, message: dict[str, Any]) -> None:
    _event(session, lease, "training.skipped", **{key: message[key] for key in ("step", "why", "pairs")})


def _shrunk(session: Session, lease: RunLease, _ttl: float, message: dict[str, Any]) -> None:
    _event(session, lease, "training.shrunk", step=message["step"], micro_batch=message["micro_batch"])


def _checkpoint(session: Session, lease: RunLease, ttl: float, message: dict[str, Any]) -> None:
    newest = session.scalar(select(func.max(Checkpoint.step)).where(Checkpoint.run_id == lease.run_id))
    if message["step"] > (newest or 0):  # one that is only written again is no progress
        run_leases.checkpointed(session, lease, ttl)
    values = {key: message[key] for key in ("path", "size_bytes", "manifest")}
    row = {"id": new_id("ckpt"), "run_id": lease.run_id, "step": message["step"], "state": "ready", **values}
    if not insert_ignore(session, Checkpoint, [row]):  # written again after a damaged one was passed over
        session.execute(
            update(Checkpoint)
            .where(Checkpoint.run_id == lease.run_id, Checkpoint.step == message["step"])
            .values(state="ready", **values)
        )
    _mark_deleted(session, lease, message["deleted"])
    _event(session, lease, "training.checkpoint", step=message["step"], size_bytes=message["size_bytes"])


def _mark_deleted(session: Session, lease: RunLease, steps: Sequence[int]) -> None:
    if steps:
        condition = (Checkpoint.run_id == lease.run_id, Checkpoint.step.in_(steps))
        session.execute(update(Checkpoint).where(*condition).values(state="deleted"))


def _stopped(session: Session, lease: RunLease, _ttl: float, message: dict[str, Any]) -> None:
    """Said of the process; what it means for the run is decided when the process has ended."""


def _finished(session: Session, lease: RunLease, _ttl: float, message: dict[str, Any]) -> None:
    run = session.get_one(TrainingRun, lease.run_id, populate_existing=True)
    if run.state != "running":
        return  # paused or being cancelled meanwhile; the last checkpoint is there
    model = register(session, run, message["path"], message["manifest"])
    if not run_leases.succeed(session, lease, model.id, message["summary"]):
        raise LeaseLost
    _event(session, lease, "training.succeeded", model=model.name, model_id=model.id, summary=message["summary"])


HANDLERS = {
    "started": _started,
    "ready": _ready,
    "resumed": _resumed,
    "skipped": _skipped,
    "shrunk": _shrunk,
    "checkpoint": _checkpoint,
    "stopped": _stopped,
    "finished": _finished,
}


def wanted(session: Session, lease: RunLease) -> tuple[str, bool]:
    """The run's state and whether a cancelled run is kept. Raises LeaseLost."""
    query = select(TrainingRun.state, TrainingRun.keep_on_cancel, TrainingRun.fence).where(
        TrainingRun.id == lease.run_id
    )
    row = session.execute(query).one()
    if row.fence != lease.fence:
        raise LeaseLost
    return row.state, row.keep_on_cancel


def end_cancelled(db: Database, store: StoreSettings, lease: RunLease) -> None:
    """End a run whose cancellation was asked for; without keeping, its checkpoints go first."""
    with db.begin() as session:
        keep = wanted(session, lease)[1]
        if not keep:
            session.execute(update(Checkpoint).where(Checkpoint.run_id == lease.run_id).values(state="deleted"))
        if not run_leases.cancelled(session, lease):
            raise LeaseLost
        _event(session, lease, "training.cancelled", kept=keep)
    if not keep:
        shutil.rmtree(run_folder(store, lease.run_id) / "checkpoints", ignore_errors=True)
