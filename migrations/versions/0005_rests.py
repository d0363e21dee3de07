"""What follows a pair's step on both sides to their answers

A column that may be null: it is added without rewriting the table. Rests of older pairs are found when they are frozen.

Revision ID: 0005_rests
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005_rests"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    rest = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.add_column("pairs", sa.Column("rest", rest, nullable=True))


def downgrade() -> None:
    op.drop_column("pairs", "rest")
