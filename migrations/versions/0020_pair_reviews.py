"""Pairs by review within a job, and the review in the indexes that pairs are listed by

Revision ID: 0020
Revises: 0019
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_REVIEWED = sa.text("review IS NOT NULL")


def upgrade() -> None:
    for owner in ("workspace", "job"):
        op.drop_index(f"ix_pairs_{owner}_created", "pairs")
        op.create_index(f"ix_pairs_{owner}_created", "pairs", [f"{owner}_id", "created_at", "id", "review"])
    columns = ["job_id", "review", "created_at", "id"]
    op.create_index("ix_pairs_job_review", "pairs", columns, postgresql_where=_REVIEWED, sqlite_where=_REVIEWED)


def downgrade() -> None:
    op.drop_index("ix_pairs_job_review", "pairs")
    for owner in ("workspace", "job"):
        op.drop_index(f"ix_pairs_{owner}_created", "pairs")
        op.create_index(f"ix_pairs_{owner}_created", "pairs", [f"{owner}_id", "created_at", "id"])
