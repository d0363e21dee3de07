"""Licence and source of problem sets

Columns that may be null: they are added without rewriting the table.

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("problem_sets", sa.Column("license", sa.String(), nullable=True))
    op.add_column("problem_sets", sa.Column("source_url", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("problem_sets", "source_url")
    op.drop_column("problem_sets", "license")
