"""What a training run does between its steps

A column that may be null: it is added without rewriting the table.

Revision ID: 0019
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("training_runs", sa.Column("doing", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("training_runs", "doing")
