"""What a job's tokens cost, how urgent it is, and jobs by state

A column that may be null, and one with a constant default: no table is rewritten. The indexes are on tables with a row
per job: those in work are looked for at each claim of a shard.

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


_JOBS = ("injection_jobs", "datasets", "evaluations", "rejudgings")


def upgrade() -> None:
    op.add_column("injection_jobs", sa.Column("prices", _JSON, nullable=True))
    op.add_column("injection_jobs", sa.Column("priority", sa.Integer(), nullable=False, server_default="0"))
    for table in _JOBS:
        op.create_index(f"ix_{table}_state", table, ["state"])


def downgrade() -> None:
    for table in _JOBS:
        op.drop_index(f"ix_{table}_state", table)
    op.drop_column("injection_jobs", "priority")
    op.drop_column("injection_jobs", "prices")
