"""``INSERT ... ON CONFLICT DO NOTHING`` on both databases: a row whose unique key exists is left as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from models.base import Base

_CHUNK = 200  # rows per statement: SQLite's variable limit divided by our widest table


def insert_ignore(session: Session, table: type[Base], rows: Sequence[dict[str, Any]]) -> int:
    """Insert the rows whose unique keys are new, and say how many those were. Column defaults apply."""
    if not rows:
        return 0
    make: Any = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}.get(session.get_bind().dialect.name, insert)
    written = 0
    for at in range(0, len(rows), _CHUNK):
        chunk = list(rows[at : at + _CHUNK])
        statement = make(table).values(chunk).on_conflict_do_nothing()
        # Without the option the count of an INSERT is -1 on PostgreSQL.
        result: Any = session.execute(statement, execution_options={"preserve_rowcount": True})
        written += result.rowcount
    return written
