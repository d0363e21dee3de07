"""From a training process's messages to rows and events. Every transaction makes the fenced statement first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from workers.training.supervise.registry import mark_checkpoints_deleted, register, remove_checkpoints


class LeaseLost(Exception):
    """Another daemon may own the run: nothing more is written."""


def write(
    session: Session,
    lease: RunLease,
    ttl_seconds: float,
    step: int,
    metrics: Sequence[dict[str, Any]],
    messages: Sequence[dict[str, Any]],
    doing: dict[str, Any] | None = None,
) -> None:
    """Renew the lease and write what the process said, in one transaction. Raises LeaseLost.

    ``doing``: the phase between steps that the process is in, with how far it is; None while it takes steps.

    Metrics of a step that was already reported (before an interruption) are left as they are.
    """
    # First of all the statement with the fence: its row lock makes every other daemon wait until this commit.
    if metrics:
        state = run_leases.progressed(session, lease, ttl_seconds, step, doing=doing)
    else:
        state = run_leases.heartbeat(session, lease, ttl_seconds, doing=doing)
    if state is None:
        raise LeaseLost
    rows = [
        {"run_id": lease.run_id, "step": m["step"], "phase": m.get("phase", "train"), "values": m["values"]}
        for m in metrics
    ]
    insert_ignore(session, Metric, rows)  # a resumed run computes steps behind its checkpoint again, to the same values
    for message in messages:
        HANDLERS[message["type"]](session, lease, ttl_seconds, message)


Handler = Callable[[Session, RunLease, float, dict[str, Any]], None]


def _event(session: Session, lease: RunLease, kind: str, **data: Any) -> None:
    record(session, lease.workspace_id, lease.run_id, kind, **data)


def _as_event(kind: str, *fields: str) -> Handler:
    """A handler that records the message's ``fields`` as an event and writes nothing else."""

    def handle(session: Session, lease: RunLease, _ttl: float, message: dict[str, Any]) -> None:
        _event(session, lease, kind, **{field: message[field] for field in fields})

    return handle


def _ready(session: Session, lease: RunLease, _ttl: float, message: dict[str, Any]) -> None:
    if run_leases.started(session, lease, message["total_steps"]):
        about = {key: message.get(key) for key in ("total_steps", "report", "packing", "note")}
        _event(session, lease, "training.running", **about)


def _resumed(session: Session, lease: RunLease, _ttl: float, message: dict[str, Any]) -> None:
    mark_checkpoints_deleted(session, lease.run_id, [entry["step"] for entry in message["rejected"]])
    _event(session, lease, "training.resumed", step=message["step"], rejected=message["rejected"])


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
    mark_checkpoints_deleted(session, lease.run_id, message["deleted"])
    _event(session, lease, "training.checkpoint", step=message["step"], size_bytes=message["size_bytes"])


def _finished(session: Session, lease: RunLease, _ttl: float, message: dict[str, Any]) -> None:
    run = session.get_one(TrainingRun, lease.run_id, populate_existing=True)
    if run.state != "running":
        return  # paused or being cancelled meanwhile; the last checkpoint is there
    # In one transaction: a run that succeeded has its model, and a model of a lost lease is never registered.
    model = register(session, run, message["path"], message["manifest"])
    if not run_leases.succeed(session, lease, model.id, message["summary"]):
        raise LeaseLost
    _event(session, lease, "training.succeeded", model=model.name, model_id=model.id, summary=message["summary"])


HANDLERS: dict[str, Handler] = {
    "started": _as_event("training.started", "pid", "worker"),
    "ready": _ready,
    "resumed": _resumed,
    "skipped": _as_event("training.skipped", "step", "why", "pairs"),
    "shrunk": _as_event("training.shrunk", "step", "micro_batch"),
    "checkpoint": _checkpoint,
    "stopped": lambda *_: None,  # what it means for the run is decided when the process has ended
    "finished": _finished,
}


def requested(session: Session, lease: RunLease) -> tuple[str, bool]:
    """The run's state, which a user may have changed, and whether a cancelled run is kept. Raises LeaseLost."""
    query = select(TrainingRun.state, TrainingRun.keep_on_cancel, TrainingRun.fence).where(
        TrainingRun.id == lease.run_id
    )
    row = session.execute(query).one()
    if row.fence != lease.fence:  # raised by every claim: another daemon owns the run
        raise LeaseLost
    return row.state, row.keep_on_cancel


def end_cancelled(db: Database, store: StoreSettings, lease: RunLease) -> None:
    """End a run whose cancellation was asked for; without keeping, its checkpoints go first. Raises LeaseLost."""
    with db.begin() as session:
        keep = requested(session, lease)[1]
        if not keep:
            mark_checkpoints_deleted(session, lease.run_id)
        if not run_leases.cancelled(session, lease):
            raise LeaseLost
        _event(session, lease, "training.cancelled", kept=keep)
    if not keep:
        remove_checkpoints(store, lease.run_id)
