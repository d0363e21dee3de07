"""What ``errata backup``, ``restore``, ``verify``, ``purge`` and ``workspaces delete`` do (see cli.operator)."""

from __future__ import annotations

import json
import math
from operator import itemgetter
from pathlib import Path

from cli import CliError
from cli.common import open_database
from cli.user.output import print_rows
from models.backup import BackupError, back_up, restore
from models.cached_answers import shrink
from models.deletion import count_hidden, purge
from models.retention import RULES, compact, count_old, delete_old
from models.settings import StoreSettings
from models.stored import orphans, remove_orphans, verify_files
from models.workspace_deletion import WorkspaceInUse, count_workspace, delete_workspace
from workers.settings import WorkerSettings


def back_up_service(store: StoreSettings, folder: Path) -> None:
    """Write a backup. Raises CliError."""
    open_database(store).dispose()  # says what is wrong with the database, if anything is
    try:
        manifest = back_up(store, folder)
    except (BackupError, OSError) as error:
        raise CliError(f"no backup was written: {error}") from None
    total = sum(entry["bytes"] for entry in manifest["files"])
    print(f"{folder}: {len(manifest['files'])} files, {total} bytes")
    if not manifest["files_copied"]:
        print(f"The files in {manifest['files_root']} were not copied: copy them now, with your store's own tools.")


def restore_service(store: StoreSettings, folder: Path) -> None:
    """Fill an empty place from a backup. Raises CliError."""
    try:
        manifest = restore(store, folder)
    except (BackupError, OSError) as error:
        raise CliError(f"nothing can be restored: {error}") from None
    print(f"Restored the backup of {manifest['created_at']}; check it with `errata verify`.")


def verify_service(store: StoreSettings, *, quick: bool, as_json: bool) -> None:
    """Print what does not fit, one fault a line. Raises CliError where there are faults."""
    db = open_database(store)
    found, without_row = verify_files(db, store, contents=not quick), orphans(db, store)
    if as_json:
        counts = {"folders": found.folders, "files": found.files, "bytes": found.bytes}
        print(json.dumps({**counts, "faults": found.faults, "orphans": without_row}))
    else:
        for fault in found.faults:
            print(fault)
        print(f"{found.folders} folders, {found.files} files, {found.bytes} bytes: {len(found.faults)} faults")
        if without_row:
            print(f"{len(without_row)} folders without a row; `errata purge` lists them")
    if found.faults:
        raise CliError(f"{len(found.faults)} faults; bring these files back from a backup, or delete what names them")


def purge_service(store: StoreSettings, *, yes: bool, vacuum: bool, as_json: bool) -> None:
    """Tell what is too old, deleted or without a row; with ``yes`` delete it. Raises CliError."""
    settings = WorkerSettings()
    db, days = open_database(store), settings.retention
    done = True
    if yes:
        done = purge(db, store, math.inf)
        rows, hidden = delete_old(db, days), 0
        rows["answers"] = rows.get("answers", 0) + shrink(db, settings.cache_bytes)
        try:
            folders = remove_orphans(db, store)
        except OSError as error:
            raise CliError(f"a folder cannot be deleted: {error}") from None
    else:
        rows, hidden, folders = count_old(db, days), count_hidden(db), orphans(db, store)
    if vacuum and yes:
        compact(db)
    if as_json:
        print(json.dumps({"deleted": yes, "rows": rows, "hidden": hidden, "folders": folders}))
    else:
        _tell(rows, days, hidden, folders, deleted=yes)
    if not done:
        raise CliError("some files cannot be deleted; the log says which. Mend that and purge again")


def _tell(
    rows: dict[str, int], days: dict[str, float | None], hidden: int, folders: list[str], *, deleted: bool
) -> None:
    verb = "deleted" if deleted else "to delete"
    for rule in RULES:
        limit = days.get(rule.setting)
        kept = f"kept: set ERRATA_{rule.setting.upper()}" if limit is None else f"{rows[rule.name]} {verb}"
        print(f"{rule.name}: {kept} ({rule.told}{'' if limit is None else f', {limit:g} days'})")
    if hidden:
        print(f"{hidden} rows that users deleted are not purged yet")
    for folder in folders:
        print(f"{verb}, without a row: {folder}")
    if not deleted:
        print("Nothing was deleted; `errata purge --yes` does it.")


def remove_workspace(store: StoreSettings, name: str, *, yes: bool) -> None:
    """Tell what a workspace holds; with ``yes`` delete it. Raises CliError."""
    db = open_database(store)
    try:
        counts = count_workspace(db, name)
        if yes:
            delete_workspace(db, store, name)
    except (LookupError, WorkspaceInUse) as error:
        raise CliError(str(error.args[0])) from None
    columns = {"rows of": itemgetter(0), "deleted" if yes else "to delete": itemgetter(1)}
    print_rows(counts.items(), columns, as_json=False, empty="There is nothing to delete.")
    if not yes:
        print(f"Nothing was deleted; `errata workspaces delete {name} --yes` does it, files included.")
        return
    print("Its rows and files are deleted. Backups hold them until you delete those.")
