"""Batches at a provider

Two new tables: no table is rewritten.

Revision ID: 0029
Revises: 0027
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0029"
down_revision = "0027"
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "provider_batches",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("shard_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("model", _JSON, nullable=False),
        sa.Column("server", sa.String(), nullable=False),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("input_file", sa.String(), nullable=True),
        sa.Column("remote_id", sa.String(), nullable=True),
        sa.Column("poll_seconds", sa.Double(), nullable=False),
        sa.Column("next_look_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_provider_batches"),
        sa.ForeignKeyConstraint(
            ["shard_id"], ["shards.id"], name="fk_provider_batches_shard_id_shards", ondelete="CASCADE"
        ),
        sa.CheckConstraint("state IN ('preparing', 'open', 'unwanted')", name=op.f("ck_provider_batches_state")),
    )
    op.create_index("ix_provider_batches_shard_id", "provider_batches", ["shard_id"])
    op.create_table(
        "batch_requests",
        sa.Column("shard_id", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("batch_id", sa.String(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("shard_id", "key", name="pk_batch_requests"),
        sa.ForeignKeyConstraint(
            ["shard_id"], ["shards.id"], name="fk_batch_requests_shard_id_shards", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["batch_id"],
            ["provider_batches.id"],
            name="fk_batch_requests_batch_id_provider_batches",
            ondelete="SET NULL",
        ),
    )
    op.create_index("ix_batch_requests_batch_id", "batch_requests", ["batch_id"])


def downgrade() -> None:
    op.drop_table("batch_requests")
    op.drop_table("provider_batches")
