"""What an upload was, and all that was told about its rows

Columns that may be null: they are added without rewriting the table, and rows from before stay readable.

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    notes = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.add_column("problem_sets", sa.Column("upload_sha256", sa.String(), nullable=True))
    op.add_column("problem_sets", sa.Column("rejected_count", sa.Integer(), nullable=True))
    op.add_column("problem_sets", sa.Column("notes", notes, nullable=True))


def downgrade() -> None:
    for name in ("notes", "rejected_count", "upload_sha256"):
        op.drop_column("problem_sets", name)
