"""Deleting a workspace with everything in it: rows of every table, files, keys, and what others noted about them.

The tables are found in the metadata, so that a new one is never forgotten: rows that name the workspace, and rows that
belong to such rows by a foreign key. Killed at any moment, the same call goes on.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Table, delete, func, or_, select, tuple_, update
from sqlalchemy.orm import Session

from models.base import Base, db_now
from models.deletion import hide, purge, still_running, with_pilots
from models.jobs import Estimate, InjectionJob
from models.outputs import Dataset, Evaluation, Rejudging, TrainingRun
from models.session import Database
from models.settings import StoreSettings
from models.studies import Campaign, Study
from models.uploads import UploadedFile
from models.workspaces import DEFAULT_WORKSPACE, RESERVED_NAMES, ApiKey, LanguageModel, ProblemSet, Workspace

_ROWS = 2_000  # per transaction
_OWNED: tuple[Any, ...] = (
    ProblemSet,
    InjectionJob,
    Dataset,
    TrainingRun,
    LanguageModel,
    Estimate,
    Evaluation,
    Rejudging,
    UploadedFile,
    Study,
    Campaign,
)


class WorkspaceInUse(Exception):
    """A workspace that cannot be deleted, and what to do."""


def find_workspace(session: Session, name: str) -> Workspace:
    """The workspace of this name. Raises LookupError, also for those that Errata itself needs."""
    row = session.scalars(select(Workspace).where(Workspace.name == name)).one_or_none()
    if row is None or name in RESERVED_NAMES:
        raise LookupError(f"there is no workspace '{name}'; see `errata workspaces list`")
    return row


def count_workspace(db: Database, name: str) -> dict[str, int]:
    """Rows of the workspace by table, those of 0 left out. Changes nothing. Raises LookupError."""
    with db.read() as session:
        workspace = find_workspace(session, name)
        counts = {
            table.name: session.scalar(select(func.count()).select_from(table).where(condition)) or 0
            for table in Base.metadata.sorted_tables
            if (condition := _of_workspace(table, workspace.id)) is not None
        }
    return {table: count for table, count in counts.items() if count}


def delete_workspace(db: Database, store: StoreSettings, name: str) -> None:
    """Delete a workspace: its keys end and its rows are hidden at once, then rows and files go in small transactions.

    Raises LookupError for an unknown name, WorkspaceInUse while something of it runs, for the default workspace, for
    the last one with API keys, and where files could not be deleted. Copies in backups are not touched.
    """
    with db.begin() as session:
        workspace = find_workspace(session, name)
        if workspace.id == DEFAULT_WORKSPACE:
            raise WorkspaceInUse("the default workspace holds the operator's models; delete its rows one by one")
        workspace_id = workspace.id
        # Without any key the API would take requests of this machine that have none.
        others = select(ApiKey.id).where(ApiKey.workspace_id != workspace_id)
        if session.scalar(select(ApiKey.id).limit(1)) and session.scalar(others.limit(1)) is None:
            raise WorkspaceInUse("it has the only API keys; make one for another workspace, then try again")
        # First, and under the lock of the keys' rows: a request that comes later is refused.
        session.execute(update(ApiKey).where(ApiKey.workspace_id == workspace_id).values(revoked_at=db_now()))
        rows = [row for table in _OWNED for row in session.scalars(select(table).filter_by(workspace_id=workspace_id))]
        rows = with_pilots(session, rows)
        if running := still_running(session, rows):
            raise WorkspaceInUse(f"{running[0].id} is still {running[0].state}; cancel what runs, then try again")
        hide(session, rows)
    if not purge(db, store, float("inf")):
        raise WorkspaceInUse("files could not be deleted; the log says which: mend that, then try again")
    for table in reversed(Base.metadata.sorted_tables):
        condition = _of_workspace(table, workspace_id)
        while condition is not None and _delete_some(db, table, condition):
            pass


def _delete_some(db: Database, table: Table, condition: ColumnElement[bool]) -> int:
    keys = list(table.primary_key)
    key: Any = keys[0] if len(keys) == 1 else tuple_(*keys)
    with db.begin() as session:
        some = delete(table).where(key.in_(select(*keys).where(condition).limit(_ROWS)))
        result: Any = session.execute(some.execution_options(synchronize_session=False))
        return int(result.rowcount)


def _of_workspace(table: Table, workspace_id: str) -> ColumnElement[bool] | None:
    """Which rows of a table are the workspace's: they name it, or refer to a row that is. None: no table of such rows.

    A table that names its workspace itself is taken at its word: its references need not be followed.
    """
    if table is Workspace.__table__:
        return table.c.id == workspace_id
    if "workspace_id" in table.c:
        return table.c.workspace_id == workspace_id
    conditions = []
    for key in table.foreign_keys:
        parent = key.column.table
        if parent is not table and (of_parent := _of_workspace(parent, workspace_id)) is not None:
            conditions.append(key.parent.in_(select(key.column).where(of_parent)))
    return or_(*conditions) if conditions else None
