"""Completions that are being answered, with the pieces of their texts

Revision ID: 0017
Revises: 0016
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def _time(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "completions",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("workspace_id", sa.String(), nullable=False),
        _time("created_at"),
        sa.Column("language_model_id", sa.String(), nullable=False),
        sa.Column("request", _JSON, nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("holder", sa.String(), nullable=True),
        _time("lease_until", nullable=True),
        _time("wanted_until"),
        sa.Column("error", _JSON, nullable=True),
        sa.Column("usage", _JSON, nullable=True),
        sa.CheckConstraint(
            "state IN ('waiting', 'running', 'done', 'failed')", name=op.f("ck_completions_state")
        ),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name="fk_completions_workspace_id_workspaces"),
        sa.PrimaryKeyConstraint("id", name="pk_completions"),
    )
    op.create_index("ix_completions_workspace_id", "completions", ["workspace_id"])
    op.create_index("ix_completions_waiting", "completions", ["state", "created_at", "id"])
    op.create_table(
        "completion_pieces",
        sa.Column("completion_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("pieces", _JSON, nullable=False),
        sa.ForeignKeyConstraint(
            ["completion_id"],
            ["completions.id"],
            name="fk_completion_pieces_completion_id_completions",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("completion_id", "number", name="pk_completion_pieces"),
    )


def downgrade() -> None:
    op.drop_table("completion_pieces")
    op.drop_table("completions")
