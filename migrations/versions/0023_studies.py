"""Studies and campaigns

New tables: none that stands is rewritten.

Revision ID: 0023
Revises: 0022
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    _add_studies()
    _add_campaigns()


def _add_studies() -> None:
    op.create_table(
        "studies",
        sa.Column("problem_set_id", sa.String(), nullable=False),
        sa.Column("validation_set_id", sa.String(), nullable=True),
        sa.Column("test_set_id", sa.String(), nullable=False),
        sa.Column("language_model_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=True),
        sa.Column("config", _JSON, nullable=False),
        sa.Column("result", _JSON, nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("partial", sa.Boolean(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("workspace_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'cancelling', 'succeeded', 'failed', 'cancelled')", name=op.f("ck_studies_state")
        ),
        sa.PrimaryKeyConstraint("id", name="pk_studies"),
        sa.ForeignKeyConstraint(
            ["problem_set_id"], ["problem_sets.id"], name="fk_studies_problem_set_id_problem_sets"
        ),
        sa.ForeignKeyConstraint(
            ["validation_set_id"], ["problem_sets.id"], name="fk_studies_validation_set_id_problem_sets"
        ),
        sa.ForeignKeyConstraint(
            ["test_set_id"], ["problem_sets.id"], name="fk_studies_test_set_id_problem_sets"
        ),
        sa.ForeignKeyConstraint(
            ["language_model_id"], ["language_models.id"], name="fk_studies_language_model_id_language_models"
        ),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name="fk_studies_workspace_id_workspaces"),
    )
    op.create_index("ix_studies_problem_set_id", "studies", ["problem_set_id"])
    op.create_index("ix_studies_state", "studies", ["state"])
    op.create_index("ix_studies_workspace_id", "studies", ["workspace_id"])
    op.create_table(
        "study_parts",
        sa.Column("study_id", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("row_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("study_id", "key", name="pk_study_parts"),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_study_parts_study_id_studies"),
    )


def _add_campaigns() -> None:
    op.create_table(
        "campaigns",
        sa.Column("problem_set_id", sa.String(), nullable=False),
        sa.Column("evaluation_set_id", sa.String(), nullable=False),
        sa.Column("language_model_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=True),
        sa.Column("config", _JSON, nullable=False),
        sa.Column("result", _JSON, nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("partial", sa.Boolean(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("workspace_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'cancelling', 'succeeded', 'failed', 'cancelled')", name=op.f("ck_campaigns_state")
        ),
        sa.PrimaryKeyConstraint("id", name="pk_campaigns"),
        sa.ForeignKeyConstraint(
            ["problem_set_id"], ["problem_sets.id"], name="fk_campaigns_problem_set_id_problem_sets"
        ),
        sa.ForeignKeyConstraint(
            ["evaluation_set_id"], ["problem_sets.id"], name="fk_campaigns_evaluation_set_id_problem_sets"
        ),
        sa.ForeignKeyConstraint(
            ["language_model_id"], ["language_models.id"], name="fk_campaigns_language_model_id_language_models"
        ),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name="fk_campaigns_workspace_id_workspaces"),
    )
    op.create_index("ix_campaigns_problem_set_id", "campaigns", ["problem_set_id"])
    op.create_index("ix_campaigns_state", "campaigns", ["state"])
    op.create_index("ix_campaigns_workspace_id", "campaigns", ["workspace_id"])
    op.create_table(
        "campaign_parts",
        sa.Column("campaign_id", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("row_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("campaign_id", "key", name="pk_campaign_parts"),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaigns.id"], name="fk_campaign_parts_campaign_id_campaigns"),
    )


def downgrade() -> None:
    for name in ("campaign_parts", "campaigns", "study_parts", "studies"):
        op.drop_table(name)
