"""Declarative base, column types and the database's own clock, the same on PostgreSQL and SQLite."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, ColumnElement, DateTime, Dialect, MetaData, TypeDecorator, literal
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_LETTERS = bytes(ord(_ALPHABET[byte & 31]) for byte in range(256))


class UTCDateTime(TypeDecorator[datetime]):
    """Time zone aware UTC on both databases. SQLite keeps text, so aware values are stored without their zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    @property
    def python_type(self) -> type[datetime]:
        """What a value is in Python (a decorator's default is ``object``)."""
        return datetime

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else value.replace(tzinfo=value.tzinfo or UTC)


class db_now(FunctionElement[datetime]):
    """The database's clock, plus an offset in seconds: leases must not depend on a worker's clock.

    The offset is a bound parameter, so that statements with other offsets share their compiled form.
    """

    type = UTCDateTime()
    inherit_cache = True

    def __init__(self, plus_seconds: float | ColumnElement[float] = 0.0) -> None:
        """``plus_seconds``: a number, or a parameter of a statement that is made once."""
        if isinstance(plus_seconds, ColumnElement):
            super().__init__(plus_seconds)
        else:
            super().__init__(*([literal(float(plus_seconds))] if plus_seconds else []))


@compiles(db_now, "postgresql")
def _now_postgresql(element: db_now, compiler: SQLCompiler, **kw: Any) -> str:
    offset = compiler.process(element.clauses, **kw)
    return f"(clock_timestamp() + make_interval(secs => {offset}))" if offset else "clock_timestamp()"


@compiles(db_now, "sqlite")
def _now_sqlite(element: db_now, compiler: SQLCompiler, **kw: Any) -> str:
    # Six fractional digits, as SQLAlchemy writes them: times are compared as text.
    offset = compiler.process(element.clauses, **kw)
    shifted = f", printf('%+f seconds', {offset})" if offset else ""
    return f"(strftime('%Y-%m-%d %H:%M:%f', 'now'{shifted}) || '000')"


JSONValue = JSON().with_variant(JSONB(), "postgresql")


class Base(DeclarativeBase):
    """Every table. Constraints carry names so that migrations can change them on both databases."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UTCDateTime(), dict[str, Any]: JSONValue, list[Any]: JSONValue}  # noqa: RUF012


class Identified:
    """``id``, public and made by ``new_id``."""

    id: Mapped[str] = mapped_column(primary_key=True)


class Timestamped:
    """``created_at``, by the database's clock."""

    created_at: Mapped[datetime] = mapped_column(default=db_now())


def storable(text: str) -> str:
    """The text as both databases take it: NUL and halves of surrogate pairs, which errors may quote, are escaped."""
    return text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()


def new_id(prefix: str) -> str:
    """A public id: ``prefix_`` and 20 characters (100 random bits) without look-alikes."""
    # Five bits a letter: 100 bits are 20 letters.
    bits = secrets.randbits(100)
    return prefix + "_" + "".join(_ALPHABET[bits >> at & 31] for at in range(0, 100, 5))


def new_ids(prefix: str, count: int) -> list[str]:
    """As many public ids as wanted, like those of ``new_id``: drawn together, a hundred times as fast."""
    # Of each random byte five bits count, one letter: 256 is a multiple of 32, so every letter is as likely.
    letters = secrets.token_bytes(20 * count).translate(_LETTERS).decode("ascii")
    return [f"{prefix}_{letters[at : at + 20]}" for at in range(0, 20 * count, 20)]
