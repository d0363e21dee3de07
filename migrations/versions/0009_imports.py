"""What an imported dataset was made of, as a key that finds it again

A column that may be null: datasets of earlier versions were frozen from jobs and have none.

Revision ID: 0009
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("datasets", sa.Column("import_key", sa.String(), nullable=True))
    op.create_index("ix_datasets_import", "datasets", ["workspace_id", "import_key"], unique=True)


def downgrade() -> None:
    op.drop_index("ix_datasets_import", "datasets")
    op.drop_column("datasets", "import_key")
