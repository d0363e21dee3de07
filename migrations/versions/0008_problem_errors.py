"""Problems whose work raised an error, each with the error; and of which job a job is a retry, and whether it is paused

A new table, and columns that may be null: nothing is rewritten.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "problem_errors",
        sa.Column("shard_id", sa.String(), nullable=False),
        sa.Column("problem_id", sa.String(), nullable=False),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("trace", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["problem_id"], ["problems.id"], name=op.f("fk_problem_errors_problem_id_problems")),
        sa.ForeignKeyConstraint(["shard_id"], ["shards.id"], name=op.f("fk_problem_errors_shard_id_shards")),
        sa.PrimaryKeyConstraint("shard_id", "problem_id", name=op.f("pk_problem_errors")),
    )
    # No foreign key: SQLite would write the whole table anew for it.
    op.add_column("injection_jobs", sa.Column("retry_of", sa.String(), nullable=True))
    op.add_column("injection_jobs", sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_injection_jobs_retry_of", "injection_jobs", ["retry_of"])


def downgrade() -> None:
    op.drop_index("ix_injection_jobs_retry_of", "injection_jobs")
    op.drop_column("injection_jobs", "paused_at")
    op.drop_column("injection_jobs", "retry_of")
    op.drop_table("problem_errors")
