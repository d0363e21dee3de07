"""Shards that wait, in the order of their hints

A partial index: a shard is in it only while it waits. The table of shards is small beside those of what they made, and
is read once; meanwhile stages cannot end, which they wait out.

Revision ID: 0027
Revises: 0026
"""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

_WAITING = sa.text("state = 'queued'")


def upgrade() -> None:
    op.create_index(
        "ix_shards_waiting",
        "shards",
        ["hinted_at", "created_at", "position"],
        postgresql_where=_WAITING,
        sqlite_where=_WAITING,
    )


def downgrade() -> None:
    op.drop_index("ix_shards_waiting", "shards")
