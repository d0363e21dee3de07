"""Reviews, tags and retractions; indexes by which rows are deleted quickly

Columns that may be null and new tables: no table is rewritten.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_REVIEWED = sa.text("review IS NOT NULL")
_INDEXES = (
    ("ix_pairs_problem_id", "pairs", ["problem_id", "created_at", "id"]),
    ("ix_pairs_solution_id", "pairs", ["solution_id"]),
    ("ix_pairs_rejected_solution_id", "pairs", ["rejected_solution_id"]),
    ("ix_pairs_edit_id", "pairs", ["edit_id"]),
    ("ix_solutions_problem_id", "solutions", ["problem_id"]),
    ("ix_edits_problem_id", "edits", ["problem_id"]),
    ("ix_problem_outcomes_problem_id", "problem_outcomes", ["problem_id"]),
    ("ix_evaluation_samples_problem_id", "evaluation_samples", ["problem_id"]),
    ("ix_verdict_changes_shard_id", "verdict_changes", ["shard_id"]),
    ("ix_verdict_changes_solution_id", "verdict_changes", ["solution_id"]),
    ("ix_verdict_changes_problem_id", "verdict_changes", ["problem_id"]),
    ("ix_problems_external_id", "problems", ["external_id", "problem_set_id"]),
)


def _owned(table: str, *columns: sa.Column) -> list[sa.schema.SchemaItem]:
    """Columns and keys that rows of a workspace have."""
    return [
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("workspace_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        *columns,
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name=f"fk_{table}_workspace_id_workspaces"),
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
    ]


def upgrade() -> None:
    op.add_column("pairs", sa.Column("review", sa.String(), nullable=True))
    op.create_index(
        "ix_pairs_workspace_review",
        "pairs",
        ["workspace_id", "review", "created_at", "id"],
        postgresql_where=_REVIEWED,
        sqlite_where=_REVIEWED,
    )
    op.create_table(
        "reviews",
        *_owned(
            "reviews",
            sa.Column("pair_id", sa.String(), nullable=False),
            sa.Column("position", sa.Integer(), nullable=False),
            sa.Column("verdict", sa.String(), nullable=False),
            sa.Column("reason", sa.Text(), nullable=True),
            sa.Column("reviewer", sa.String(), nullable=True),
            sa.Column("key_id", sa.String(), nullable=True),
            sa.Column("source", sa.String(), nullable=False),
        ),
        sa.CheckConstraint("verdict IN ('accepted', 'rejected', 'withdrawn')", name=op.f("ck_reviews_verdict")),
        sa.ForeignKeyConstraint(["pair_id"], ["pairs.id"], name="fk_reviews_pair_id_pairs"),
    )
    op.create_index("ix_reviews_workspace_id", "reviews", ["workspace_id"])
    op.create_index("ix_reviews_pair_id_position", "reviews", ["pair_id", "position"], unique=True)
    op.create_table(
        "tags",
        sa.Column("workspace_id", sa.String(), nullable=False),
        sa.Column("subject_id", sa.String(), nullable=False),
        sa.Column("tag", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name="fk_tags_workspace_id_workspaces"),
        sa.PrimaryKeyConstraint("workspace_id", "subject_id", "tag", name="pk_tags"),
    )
    op.create_index("ix_tags_workspace_id_tag", "tags", ["workspace_id", "tag", "subject_id"])
    op.create_table(
        "retractions",
        *_owned(
            "retractions",
            sa.Column("problem_id", sa.String(), nullable=True),
            sa.Column("job_id", sa.String(), nullable=True),
            sa.Column("reason", sa.Text(), nullable=False),
            sa.Column("reviewer", sa.String(), nullable=True),
            sa.Column("key_id", sa.String(), nullable=True),
        ),
        sa.CheckConstraint("(problem_id IS NULL) <> (job_id IS NULL)", name=op.f("ck_retractions_one_subject")),
        sa.ForeignKeyConstraint(["problem_id"], ["problems.id"], name="fk_retractions_problem_id_problems"),
        sa.ForeignKeyConstraint(["job_id"], ["injection_jobs.id"], name="fk_retractions_job_id_injection_jobs"),
    )
    op.create_index("ix_retractions_workspace_id", "retractions", ["workspace_id"])
    for column in ("problem_id", "job_id"):
        op.create_index(f"ix_retractions_{column}", "retractions", [column], unique=True)
    for name, table, columns in _INDEXES:
        op.create_index(name, table, columns)


def downgrade() -> None:
    for name, table, _ in _INDEXES:
        op.drop_index(name, table)
    for table in ("retractions", "tags", "reviews"):
        op.drop_table(table)
    op.drop_index("ix_pairs_workspace_review", "pairs")
    op.drop_column("pairs", "review")
