"""The key of an imported dataset, a summary of each injection job, and an index for each filter of pairs

The key may be null: datasets of earlier versions were frozen from jobs. Jobs of earlier versions have no summary, and
are counted from their shards.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
FILTERS = ("type", "error_kind", "form", "editor", "evidence_kind")


def upgrade() -> None:
    op.add_column("datasets", sa.Column("import_key", sa.String(), nullable=True))
    op.create_table(
        "job_summaries",
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("counts", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("groups", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["injection_jobs.id"],
            name=op.f("fk_job_summaries_job_id_injection_jobs"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_job_summaries")),
    )
    for owner in ("workspace", "job"):
        for name in FILTERS:
            op.create_index(f"ix_pairs_{owner}_{name}", "pairs", [f"{owner}_id", name, "created_at", "id"])
    op.drop_index("ix_pairs_job_type_kind", "pairs")
    op.create_index("ix_datasets_import", "datasets", ["workspace_id", "import_key"], unique=True)


def downgrade() -> None:
    op.create_index("ix_pairs_job_type_kind", "pairs", ["job_id", "type", "error_kind"])
    for owner in ("workspace", "job"):
        for name in FILTERS:
            op.drop_index(f"ix_pairs_{owner}_{name}", "pairs")
    op.drop_table("job_summaries")
    op.drop_index("ix_datasets_import", "datasets")
    op.drop_column("datasets", "import_key")
