"""A copy of database and files in one folder, and a service of such a copy in a new place.

The folder is whole or absent and has a manifest with the SHA-256 of every file (models.folders). The database is copied
first: a file is written before the row that names it and never changes, so the files that are copied later hold all
that the database names. What is deleted in between is what ``errata verify`` finds missing.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic.util import CommandError
from sqlalchemy import create_engine, inspect, make_url, select

from models import migrate
from models.files import FileStore
from models.folders import Damaged, verify, write_folder
from models.outputs import Checkpoint
from models.session import Database
from models.settings import StoreSettings
from models.workspaces import LanguageModel

FORMAT = "errata-backup-1"
_SQLITE, _POSTGRES, _FILES = "errata.db", "errata.dump", "files"


class BackupError(Exception):
    """Why there is no backup, or no restored service, and what to do."""


def back_up(store: StoreSettings, target: Path) -> dict[str, Any]:
    """Copy the database, and a local file store, into the new folder ``target`` while the service runs.

    Returns the manifest. A remote file store is named in it and not copied. Raises BackupError and OSError; ``target``
    is then not there.
    """
    if target.exists():
        raise BackupError(f"{target} is already there; give the name of a new folder")
    files = FileStore(store.files)
    if files.local_root is not None and target.resolve().is_relative_to(files.local_root):
        raise BackupError(f"{target} lies in the file store; give a folder outside of it")
    about = {
        "format": FORMAT,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "database": "sqlite" if _is_sqlite(store) else "postgresql",
        "files_root": str(files.local_root) if files.local_root is not None else store.files,
        "files_copied": files.is_local,
    }

    def fill(folder: Path) -> None:
        (_copy_sqlite if _is_sqlite(store) else _dump_postgres)(store.database_url, folder)
        if files.local_root is not None and files.local_root.is_dir():
            shutil.copytree(files.local_root, folder / _FILES, ignore=_passing_folders, symlinks=False)

    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        return write_folder(target, fill, about)
    except (sqlite3.Error, BackupError) as error:
        shutil.rmtree(target.with_name(f"{target.name}.tmp"), ignore_errors=True)
        raise BackupError(str(error)) from None


def restore(store: StoreSettings, source: Path) -> dict[str, Any]:
    """Make the database and the files of the settings those of a backup, at this version's schema.

    Both must be new or empty. Rows that name local folders are made to name the new ones. Returns the backup's
    manifest. Raises BackupError and OSError; after either, empty the place and restore again.
    """
    try:
        manifest = verify(source)
    except Damaged as error:
        raise BackupError(f"{source} is no whole backup: {error}") from None
    if manifest.get("format") != FORMAT:
        raise BackupError(f"{source} is no backup of this version's format ({FORMAT})")
    wanted = "sqlite" if _is_sqlite(store) else "postgresql"
    if manifest["database"] != wanted:
        raise BackupError(f"the backup is of {manifest['database']}; give a DATABASE_URL of the same, not of {wanted}")
    files = FileStore(store.files)
    _check_empty(store, files, manifest)
    if _is_sqlite(store):
        path = _sqlite_path(store.database_url)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / _SQLITE, path)
    else:
        _run_postgres("pg_restore", store.database_url, ["--no-owner", "--exit-on-error", str(source / _POSTGRES)])
    if files.local_root is not None and (source / _FILES).is_dir():
        shutil.copytree(source / _FILES, files.local_root, dirs_exist_ok=True)
    try:
        migrate.upgrade(store.database_url)
    except CommandError as error:
        raise BackupError(f"the backup is of a newer version; restore it with that one ({error})") from None
    if files.local_root is not None:
        _move_paths(store, str(manifest["files_root"]), str(files.local_root))
    return manifest


def _check_empty(store: StoreSettings, files: FileStore, manifest: dict[str, Any]) -> None:
    if manifest["files_copied"] and files.local_root is None:
        raise BackupError("the backup holds files for a local store; unset ERRATA_FILES_URL")
    if files.local_root is not None and files.local_root.is_dir() and any(files.local_root.iterdir()):
        raise BackupError(f"{files.local_root} is not empty; give ERRATA_HOME a new folder")
    if _is_sqlite(store):
        if _sqlite_path(store.database_url).exists():
            raise BackupError(f"{_sqlite_path(store.database_url)} is already there; give ERRATA_HOME a new folder")
        return
    engine = create_engine(store.database_url)
    try:
        if inspect(engine).get_table_names():
            raise BackupError("the database of DATABASE_URL is not empty; create a new one and name that")
    finally:
        engine.dispose()


def _passing_folders(_folder: str, names: Sequence[str]) -> set[str]:
    """What is being built or deleted is no part of a backup."""
    return {name for name in names if name.endswith(".tmp") or name == ".tmp"}


def _is_sqlite(store: StoreSettings) -> bool:
    return store.database_url.startswith("sqlite")


def _sqlite_path(url: str) -> Path:
    return Path(str(make_url(url).database))


def _copy_sqlite(url: str, folder: Path) -> None:
    """One transaction's view of the database, without what was deleted; writers go on meanwhile."""
    with closing(sqlite3.connect(_sqlite_path(url), timeout=30)) as connection:
        connection.execute("VACUUM INTO ?", (str(folder / _SQLITE),))


def _dump_postgres(url: str, folder: Path) -> None:
    _run_postgres("pg_dump", url, ["--format=custom", "--no-owner", f"--file={folder / _POSTGRES}"])


def _run_postgres(program: str, url: str, arguments: Sequence[str]) -> None:
    parts = make_url(url)
    # The password goes by the environment: arguments can be read by every user of the machine.
    given = {"PGPASSWORD": str(parts.password)} if parts.password else {}
    named = parts.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
    try:
        done = subprocess.run(
            [program, f"--dbname={named}", *arguments], env={**os.environ, **given}, capture_output=True, text=True
        )
    except FileNotFoundError:
        raise BackupError(f"{program} is missing; install the client programs of the server's version") from None
    if done.returncode:
        raise BackupError(f"{program} failed: {(done.stderr.strip().splitlines() or ['it said nothing'])[-1]}")


def _move_paths(store: StoreSettings, before: str, now: str) -> None:
    """Let rows name the files' new place: trained models and checkpoints are named by absolute paths."""
    if before == now:
        return

    def moved(value: Any) -> Any:
        inside = isinstance(value, str) and Path(value).is_relative_to(before)
        return now + value[len(before) :] if inside else value

    db = Database(store.database_url)
    try:
        with db.begin() as session:
            for model in session.scalars(select(LanguageModel)):
                model.config = {name: moved(value) for name, value in model.config.items()}
            for checkpoint in session.scalars(select(Checkpoint)):
                checkpoint.path = moved(checkpoint.path)
    finally:
        db.dispose()
