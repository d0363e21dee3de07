"""Extended and stopped injection jobs; training runs that go on from another one's checkpoint

Columns that may be null: they are added without rewriting a table.

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    extension = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.add_column("injection_jobs", sa.Column("extends", sa.String(), nullable=True))
    op.add_column("injection_jobs", sa.Column("extension", extension, nullable=True))
    op.add_column("injection_jobs", sa.Column("stopped", sa.String(), nullable=True))
    op.create_index("ix_injection_jobs_extends", "injection_jobs", ["extends"])
    op.add_column("shards", sa.Column("skipped", sa.String(), nullable=True))
    op.add_column("training_runs", sa.Column("from_run_id", sa.String(), nullable=True))
    op.add_column("training_runs", sa.Column("from_step", sa.Integer(), nullable=True))
    op.add_column("training_runs", sa.Column("last_step", sa.Integer(), nullable=True))
    op.create_index("ix_training_runs_from_run_id", "training_runs", ["from_run_id"])


def downgrade() -> None:
    op.drop_index("ix_training_runs_from_run_id", "training_runs")
    for name in ("last_step", "from_step", "from_run_id"):
        op.drop_column("training_runs", name)
    op.drop_column("shards", "skipped")
    op.drop_index("ix_injection_jobs_extends", "injection_jobs")
    for name in ("stopped", "extension", "extends"):
        op.drop_column("injection_jobs", name)
