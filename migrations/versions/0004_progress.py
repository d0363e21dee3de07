"""How far a running shard is inside its stage

A column that may be null: it is added without rewriting the table.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    progress = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.add_column("shards", sa.Column("progress", progress, nullable=True))


def downgrade() -> None:
    op.drop_column("shards", "progress")
