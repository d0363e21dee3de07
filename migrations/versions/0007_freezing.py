"""Licence and source of problem sets

Columns that may be null: they are added without rewriting the table.

Revision ID: 0007
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("problem_sets", sa.Column("license", sa.String(), nullable=True))
    op.add_column("problem_sets", sa.Column("source_url", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("problem_sets", "source_url")
    op.drop_column("problem_sets", "license")
