"""Alembic's entry: every table (``models.migrate``), the database of ``DATABASE_URL`` (models.settings).

Run by ``errata migrate`` and ``models.migrate.upgrade``, which pass their connection, or by the ``alembic`` command
(``alembic revision --autogenerate -m "..."``), which reads ``[tool.alembic]`` from pyproject.toml.
"""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import JSON, Connection

from models.base import UTCDateTime
from models.migrate import Base, connect
from models.settings import StoreSettings


def render_item(kind: str, item: Any, autogen: AutogenContext) -> str | Literal[False]:
    """Write our column types as plain ones: a migration must not change when the code's types do."""
    if kind == "type" and isinstance(item, UTCDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(item, JSON):
        autogen.imports.add("from sqlalchemy.dialects import postgresql")
        return 'sa.JSON().with_variant(postgresql.JSONB(), "postgresql")'
    return False


def migrate(connection: Connection) -> None:
    """Run the migrations asked for, inside the connection's transaction."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_item=render_item,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
    )
    context.run_migrations()


def main() -> None:
    """Online with the caller's connection or one of our own; offline (``--sql``) prints PostgreSQL statements."""
    given: Connection | None = context.config.attributes.get("connection")
    if context.is_offline_mode():
        context.configure(dialect_name="postgresql", target_metadata=Base.metadata, literal_binds=True)
        with context.begin_transaction():
            context.run_migrations()
    elif given is not None:
        migrate(given)
    else:
        with connect(StoreSettings().database_url) as connection:
            migrate(connection)


main()
