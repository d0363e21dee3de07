"""What a training run does between its steps

A column that may be null: it is added without rewriting the table.

Revision ID: 0016
Revises: 0015
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    doing = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.add_column("training_runs", sa.Column("doing", doing, nullable=True))


def downgrade() -> None:
    op.drop_column("training_runs", "doing")
