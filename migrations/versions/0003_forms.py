"""The form of an edit and who made it, on edits and pairs

Columns that may be null: they are added without rewriting a table, and rows of earlier versions keep null.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("edits", "pairs"):
        op.add_column(table, sa.Column("form", sa.String(), nullable=True))
        op.add_column(table, sa.Column("editor", sa.String(), nullable=True))


def downgrade() -> None:
    for table in ("pairs", "edits"):
        op.drop_column(table, "editor")
        op.drop_column(table, "form")
