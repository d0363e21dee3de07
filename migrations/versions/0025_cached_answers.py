"""Generated answers that are kept for requests that come again

A new table: nothing that stands is touched.

Revision ID: 0025
Revises: 0024
"""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "cached_answers",
        sa.Column("workspace_id", sa.String(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("finish_reason", sa.String(), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "key", name="pk_cached_answers"),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name="fk_cached_answers_workspace_id_workspaces"),
    )
    op.create_index("ix_cached_answers_used_at", "cached_answers", ["used_at"])


def downgrade() -> None:
    op.drop_table("cached_answers")
