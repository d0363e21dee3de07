"""Uploaded files, and fine-tuning jobs

New tables: no table is rewritten.

Revision ID: 0018
Revises: 0017
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "uploaded_files",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("workspace_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("report", _JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_uploaded_files"),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name="fk_uploaded_files_workspace_id_workspaces"
        ),
    )
    op.create_index("ix_uploaded_files_workspace_id", "uploaded_files", ["workspace_id"])
    op.create_index("ix_uploaded_files_listed", "uploaded_files", ["workspace_id", "created_at", "id"])
    op.create_table(
        "fine_tuning_jobs",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("training_file", sa.String(), nullable=False),
        sa.Column("validation_file", sa.String(), nullable=True),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("hyperparameters", _JSON, nullable=False),
        sa.Column("job_metadata", _JSON, nullable=True),
        sa.PrimaryKeyConstraint("run_id", name="pk_fine_tuning_jobs"),
        sa.ForeignKeyConstraint(["run_id"], ["training_runs.id"], name="fk_fine_tuning_jobs_run_id_training_runs"),
    )


def downgrade() -> None:
    op.drop_table("fine_tuning_jobs")
    op.drop_table("uploaded_files")
