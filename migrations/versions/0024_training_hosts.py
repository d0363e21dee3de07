"""Training over several hosts

A column with a constant default, which rewrites no table, and a new table.

Revision ID: 0024
Revises: 0023
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_STATES = ("open", "taken", "started", "done", "failed", "left")


def upgrade() -> None:
    op.add_column("training_runs", sa.Column("hosts", sa.Integer(), server_default="1", nullable=False))
    op.create_table(
        "training_places",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("gpus", sa.Integer(), nullable=False),
        sa.Column("meets", _JSON, nullable=False),
        sa.Column("worker", sa.String(), nullable=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("fatal", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "rank", name="pk_training_places"),
        sa.ForeignKeyConstraint(["run_id"], ["training_runs.id"], name="fk_training_places_run_id_training_runs"),
        sa.CheckConstraint(
            f"state IN ({', '.join(repr(state) for state in _STATES)})", name=op.f("ck_training_places_state")
        ),
    )


def downgrade() -> None:
    op.drop_table("training_places")
    op.drop_column("training_runs", "hosts")
