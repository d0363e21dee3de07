"""Stage ``freeze``: a dataset's pairs become files, once and for good.

Pairs stream past in bulk (workers.stages.dataset_sources), so memory does not grow with the dataset. Where some are to
be left out by chance, they are drawn first, by few of their columns. Files are built in a scratch folder and appear in
one rename under a name that ends in the hash of their manifest (models.folders). So a freeze done twice (a worker that
died, a lease that was lost) publishes the same folder or finds it. The row is written last, fenced.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from models.events import record
from models.files import FileStore
from models.folders import MANIFEST, write_manifest
from models.outputs import Dataset, DatasetSource
from models.session import insert_ignore, update_by_key
from models.states import JobState, move
from workers.stages.base import Finish, StageContext
from workers.stages.bulk_reading import steady_memory
from workers.stages.dataset_manifest import describe
from workers.stages.dataset_rows import begin_reading
from workers.stages.dataset_selection import DatasetSelection, SelectionImpossible
from workers.stages.dataset_tables import write_tables
from workers.stages.disk import naming_a_full_disk
from workers.stages.gates import DatasetGates, GatesRefuse
from workers.stages.waiting import stoppable


def freeze(context: StageContext) -> Finish:
    """Write the dataset's folder, then its row. An impossible selection fails the dataset at once."""
    files = FileStore(context.store.files)
    dataset_id = context.lease.owner_id
    try:
        with naming_a_full_disk(context.store.files), steady_memory(), files.scratch() as folder:
            with context.db.read() as session:
                begin_reading(session)
                chosen = DatasetSelection(session, dataset_id)
                manifest = _build(context, session, chosen, folder)
            values = publish_dataset(files, dataset_id, folder, manifest)
    except SelectionImpossible as error:
        return fail_dataset(dataset_id, str(error))
    except GatesRefuse as error:
        return fail_dataset(dataset_id, str(error), error.reports)
    sources = [{"dataset_id": dataset_id, "job_id": job.id} for job in chosen.source_jobs]

    def write(session: Session) -> None:
        insert_ignore(session, DatasetSource, sources)
        update_by_key(session, Dataset, [{"id": dataset_id, **values}])

    return Finish(None, write)


def fail_dataset(dataset_id: str, reason: str, gates: dict[str, Any] | None = None) -> Finish:
    """The shard is done and the dataset failed: an impossible selection is no failure to try again.

    ``gates``: the reports of gates that refused it, kept as an event.
    """

    def write(session: Session) -> None:
        if move(session, Dataset, dataset_id, JobState.FAILED, error=reason):
            dataset = session.get_one(Dataset, dataset_id)
            if gates is not None:
                record(session, dataset.workspace_id, dataset_id, "gates_refused", gates=gates)
            record(session, dataset.workspace_id, dataset_id, "failed", error=reason)

    return Finish(None, write)


def _build(context: StageContext, session: Session, chosen: DatasetSelection, folder: Path) -> dict[str, Any]:
    """Write every table, the card and the manifest; the answer is the manifest."""
    with DatasetGates(chosen.config.gates, folder.parent, context.cancelled) as gates:
        written = write_tables(context, session, chosen, folder, gates)
        with gates.timed("shortcuts"):
            audit = stoppable(written.files.auditor.report, context.cancelled)
        found = gates.reports(context, session, chosen.source_jobs, audit)
    return stoppable(
        lambda: describe(chosen, written, folder, audit, found, context.cancelled),
        context.cancelled,
    )


def publish_dataset(files: FileStore, dataset_id: str, folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """Publish the folder under its content's name; the answer is what the dataset's row gets."""
    data = write_manifest(folder, manifest)
    digest = hashlib.sha256(data).hexdigest()
    path = f"datasets/{dataset_id}-{digest[:12]}"
    try:
        files.publish(folder, path)
    except FileExistsError:
        # Published by an earlier try whose row was never written: the name holds a hash, so the content is the same.
        if files.read_bytes(f"{path}/{MANIFEST}") != data:
            raise
    return {"folder": path, "manifest": manifest, "sha256": digest}
