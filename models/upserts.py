"""``INSERT ... ON CONFLICT DO NOTHING`` on both databases: a row whose unique key exists is left as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from models.base import Base


def insert_ignore(session: Session, table: type[Base], rows: Sequence[dict[str, Any]]) -> int:
    """Insert the rows whose unique keys are new, and say how many those were. Column defaults apply.

    All rows have the same keys. One prepared statement for all of them: a statement that lists the rows would be put
    together anew for every call, which costs more than the insertion.
    """
    if not rows:
        return 0
    make: Any = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}.get(session.get_bind().dialect.name, insert)
    statement = make(table.__table__).on_conflict_do_nothing()
    session.flush()
    # Without the option the count of an INSERT is -1 on PostgreSQL.
    options = {"preserve_rowcount": True}
    return session.connection().execute(statement, list(rows), execution_options=options).rowcount
