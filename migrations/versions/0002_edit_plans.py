"""Plans of edits beside the solutions they are for

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    plan = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.add_column("solutions", sa.Column("plan", plan, nullable=True))


def downgrade() -> None:
    op.drop_column("solutions", "plan")
