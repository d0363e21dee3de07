"""When a job's samples were deleted because they are old

A column that may be null: it is added without rewriting the table.

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("injection_jobs", sa.Column("samples_deleted_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("injection_jobs", "samples_deleted_at")
