"""How often the model errs at the step of a pair

A column that may be null: it is added without rewriting the table.

Revision ID: 0021
Revises: 0020
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("pairs", sa.Column("error_rate", sa.Double(), nullable=True))


def downgrade() -> None:
    op.drop_column("pairs", "error_rate")
