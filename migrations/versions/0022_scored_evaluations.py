"""Scored evaluations

A new table, and a column that may be null: no table is rewritten.

Revision ID: 0022
Revises: 0021
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("evaluation_samples", sa.Column("nats", sa.Double(), nullable=True))
    op.create_table(
        "evaluation_scores",
        sa.Column("evaluation_id", sa.String(), nullable=False),
        sa.Column("problem_id", sa.String(), nullable=False),
        sa.Column("hits", _JSON, nullable=True),
        sa.Column("logprobs", _JSON, nullable=True),
        sa.Column("shard_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("evaluation_id", "problem_id", name="pk_evaluation_scores"),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["evaluations.id"], name="fk_evaluation_scores_evaluation_id_evaluations"
        ),
        sa.ForeignKeyConstraint(["problem_id"], ["problems.id"], name="fk_evaluation_scores_problem_id_problems"),
        sa.ForeignKeyConstraint(["shard_id"], ["shards.id"], name="fk_evaluation_scores_shard_id_shards"),
    )
    op.create_index("ix_evaluation_scores_problem_id", "evaluation_scores", ["problem_id"])
    op.create_index("ix_evaluation_scores_shard_id", "evaluation_scores", ["shard_id"])


def downgrade() -> None:
    op.drop_table("evaluation_scores")
    op.drop_column("evaluation_samples", "nats")
