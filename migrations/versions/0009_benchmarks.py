"""Problem sets that are benchmarks: their questions are to stand in no dataset

A column with a default: it is added without rewriting the table.

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("problem_sets", sa.Column("benchmark", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    op.drop_column("problem_sets", "benchmark")
