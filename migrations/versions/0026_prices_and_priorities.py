"""What a job's tokens cost, and how urgent it is

A column that may be null, and one with a constant default: no table is rewritten.

Revision ID: 0026
Revises: 0025
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("injection_jobs", sa.Column("prices", _JSON, nullable=True))
    op.add_column("injection_jobs", sa.Column("priority", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("injection_jobs", "priority")
    op.drop_column("injection_jobs", "prices")
