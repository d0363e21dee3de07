"""The folders of the file store that rows name: whether their files are what was written, and which no row names."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.files import FileStore, UnsafePath
from models.folders import MANIFEST, fingerprint
from models.outputs import Checkpoint, Dataset, TrainingRun
from models.session import Database
from models.settings import StoreSettings
from models.uploads import UploadedFile, upload_folder
from models.workspaces import DELETED_WORKSPACE, LanguageModel

ORPHAN_SECONDS = 86400.0
"""A folder without a row is left alone until it is this old: whoever is writing it adds the row at the end."""

_PARENTS = ("datasets", "models", "training", "imports", "uploads")


@dataclass(frozen=True, slots=True)
class StoredFolder:
    """A folder that a row names: the files it should have, or that only its own manifest tells them.

    ``digest`` is the SHA-256 of the manifest file, ``print`` the fingerprint of its files (models.folders); null: the
    row does not tell it.
    """

    subject: str
    folder: str
    manifest: Mapping[str, Any] | None = None
    digest: str | None = None
    print: str | None = None


@dataclass(slots=True)
class Verified:
    """What :func:`verify_files` found: counts, and one line per fault."""

    folders: int = 0
    files: int = 0
    bytes: int = 0
    faults: list[str] = field(default_factory=list)


def stored_folders(session: Session, files: FileStore) -> Iterator[StoredFolder]:
    """The folders of every finished dataset, kept checkpoint, trained model and uploaded file, of every workspace.

    Checkpoints of a remote store stay on the machine that trains and are left out.
    """
    visible = Dataset.workspace_id != DELETED_WORKSPACE
    for dataset in session.scalars(select(Dataset).where(Dataset.folder.is_not(None), visible).order_by(Dataset.id)):
        yield StoredFolder(dataset.id, str(dataset.folder), dataset.manifest, dataset.sha256)
    if files.local_root is not None:
        kept = (
            select(Checkpoint)
            .join(TrainingRun)
            .where(Checkpoint.state == "ready", TrainingRun.workspace_id != DELETED_WORKSPACE)
        )
        for checkpoint in session.scalars(kept.order_by(Checkpoint.id)):
            path = Path(checkpoint.path)
            inside = path.is_relative_to(files.local_root)
            folder = path.relative_to(files.local_root) if inside else path
            yield StoredFolder(checkpoint.id, folder.as_posix(), checkpoint.manifest)
    trained = (LanguageModel.training_run_id.is_not(None), LanguageModel.workspace_id != DELETED_WORKSPACE)
    for model in session.scalars(select(LanguageModel).where(*trained).order_by(LanguageModel.id)):
        yield StoredFolder(model.id, f"models/{model.training_run_id}", None, None, model.fingerprint)
    uploaded = select(UploadedFile.id).where(UploadedFile.workspace_id != DELETED_WORKSPACE)
    for file_id in session.scalars(uploaded.order_by(UploadedFile.id)):
        yield StoredFolder(file_id, upload_folder(file_id))


def verify_files(db: Database, store: StoreSettings, *, contents: bool = True) -> Verified:
    """Compare the file store with the rows: every file that a row names is there with its size and SHA-256.

    Without ``contents`` sizes are compared only. Reads, never changes. Raises what database and store raise when away.
    """
    files, found = FileStore(store.files), Verified()
    with db.read() as session:
        folders = list(stored_folders(session, files))
    for stored in folders:
        found.folders += 1
        for fault in _faults(files, stored, found, contents):
            found.faults.append(f"{stored.subject}: {stored.folder}{fault}")
    return found


def _faults(files: FileStore, stored: StoredFolder, found: Verified, contents: bool) -> Iterator[str]:
    """What is wrong with one folder, each beginning behind its name."""
    try:
        raw = files.read_bytes(f"{stored.folder}/{MANIFEST}")
        manifest = json.loads(raw)
        entries = _entries(stored.manifest or manifest)
    except FileNotFoundError:
        yield f"/{MANIFEST} is missing"
        return
    except UnsafePath:
        yield " lies outside the file store"
        return
    except (ValueError, KeyError, TypeError):
        yield f"/{MANIFEST} cannot be read"
        return
    if stored.digest is not None and hashlib.sha256(raw).hexdigest() != stored.digest:
        yield f"/{MANIFEST} is not the one that the row names"
    if stored.print is not None and fingerprint({"files": entries}) != stored.print:
        yield f"/{MANIFEST} lists other files than the row's fingerprint"
    for entry in entries:
        found.files += 1
        found.bytes += int(entry["bytes"])
        if fault := _fault(files, f"{stored.folder}/{entry['path']}", entry, contents):
            yield f"/{entry['path']} {fault}"


def _entries(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    files = manifest.get("files", [])
    return [{"path": name, **entry} for name, entry in files.items()] if isinstance(files, dict) else list(files)


def _fault(files: FileStore, path: str, entry: Mapping[str, Any], contents: bool) -> str | None:
    try:
        size = files.size(path)
        if size != entry["bytes"]:
            return f"has {size} of {entry['bytes']} bytes"
        digest = hashlib.sha256()
        for chunk in files.chunks(path, 0, size) if contents else ():
            digest.update(chunk)
    except FileNotFoundError:
        return "is missing"
    return "is corrupt" if contents and digest.hexdigest() != entry["sha256"] else None


def orphans(db: Database, store: StoreSettings, older_than: float = ORPHAN_SECONDS) -> list[str]:
    """Folders of the file store that belong to no row and were last written ``older_than`` seconds ago or more.

    Rows that wait for their deletion count as rows: what deletes them deletes their files. Only folders where Errata
    keeps datasets, models, training runs, imports and uploads are looked at; what else lies there is nobody's business.
    """
    files, until = FileStore(store.files), time.time() - older_than
    # Listed before the rows are read: what appears in between has its row, or is too young.
    names = [(parent, name) for parent in _PARENTS for name in files.children(parent)]
    with db.read() as session:
        known = set(session.scalars(select(Dataset.id))) | set(session.scalars(select(TrainingRun.id)))
        known |= set(session.scalars(select(UploadedFile.id)))
        known |= {str(run) for run in session.scalars(select(LanguageModel.training_run_id)) if run}
    without = [f"{parent}/{name}" for parent, name in names if name.partition("-")[0] not in known]
    return sorted(folder for folder in without if (written := files.modified(folder)) is not None and written <= until)


def remove_orphans(db: Database, store: StoreSettings, older_than: float = ORPHAN_SECONDS) -> list[str]:
    """Delete what :func:`orphans` finds. Returns it. Raises OSError for what cannot be deleted."""
    found, files = orphans(db, store, older_than), FileStore(store.files)
    for folder in found:
        files.remove(folder)
    return found
