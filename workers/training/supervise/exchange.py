"""Between a remote file store and the local folders that a training process needs.

A dataset is copied into the cache of the home once, its files checked against the manifest; the finished model is
copied into the store. Checkpoints stay where the run is. Where the file store is local nothing is copied.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from models.files import FileStore
from models.folders import MANIFEST, flush, name_folder
from models.settings import StoreSettings
from workers.training.protocol import CannotTrain, RunSpec
from workers.training.supervise.registry import files_root

_TRAINED_ON = ("steps_and_full/", "sft/")  # what runs read; the other shapes are for other trainers


def fetch_dataset(store: StoreSettings, spec: RunSpec) -> None:
    """Make ``spec.dataset_folder`` hold what a run reads of its dataset: the manifest and the tables it trains on.

    A folder that an earlier run left is used when it is that of the same manifest and complete. Raises CannotTrain when
    the dataset is not in the store or is not what its manifest says, and OSError when the store cannot be reached.
    """
    files, target = FileStore(store.files), spec.dataset_folder
    if files.is_local or not target.is_relative_to(files_root(store)):
        return
    path = target.relative_to(files_root(store)).as_posix()
    try:
        manifest = files.read_bytes(f"{path}/{MANIFEST}")
    except FileNotFoundError:
        raise CannotTrain("the dataset's files are no longer in the file store: freeze it again") from None
    wanted = [entry for entry in json.loads(manifest)["files"] if _is_read(str(entry["path"]))]
    if _is_whole(target, manifest, wanted):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    building = Path(tempfile.mkdtemp(dir=target.parent, prefix=f"{target.name}."))
    try:
        for entry in wanted:
            _fetch(files, path, entry, building)
        (building / MANIFEST).write_bytes(manifest)
        flush(building / MANIFEST)
        with suppress(FileExistsError):  # another run was faster with the same files
            name_folder(building, target)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def publish_model(store: StoreSettings, run_id: str, folder: Path) -> None:
    """Copy a finished model's folder into a remote store, as ``models/<run>``, in place of one that is there."""
    files = FileStore(store.files)
    if files.is_local:
        return
    files.remove(f"models/{run_id}")  # what an interrupted copy left
    files.publish(folder, f"models/{run_id}")


def _is_read(path: str) -> bool:
    return path.startswith(_TRAINED_ON) and path.endswith(".jsonl")


def _is_whole(folder: Path, manifest: bytes, wanted: list[dict[str, Any]]) -> bool:
    """Sizes only: the run itself compares the digest of what it trains on."""
    found = folder / MANIFEST
    if not found.is_file() or found.read_bytes() != manifest:
        return False
    files = [(folder / entry["path"], entry["bytes"]) for entry in wanted]
    return all(path.is_file() and path.stat().st_size == size for path, size in files)


def _fetch(files: FileStore, path: str, entry: dict[str, Any], folder: Path) -> None:
    """One file of the manifest, checked while it comes. Raises CannotTrain."""
    target, digest = folder / entry["path"], hashlib.sha256()
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with target.open("wb") as out:
            for chunk in files.chunks(f"{path}/{entry['path']}", 0, int(entry["bytes"])):
                digest.update(chunk)
                out.write(chunk)
    except FileNotFoundError:
        raise CannotTrain(f"{entry['path']} of the dataset is no longer in the file store: freeze it again") from None
    if digest.hexdigest() != entry["sha256"]:
        raise CannotTrain(f"{entry['path']} differs from the dataset's manifest: freeze the dataset again")
    flush(target)
