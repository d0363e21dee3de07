"""Every table of the first version

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "workspaces",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workspaces")),
        sa.UniqueConstraint("name", name=op.f("uq_workspaces_name")),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("workspace_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("secret_sha256", sa.String(), nullable=False),
        sa.Column("scopes", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name=op.f("fk_api_keys_workspace_id_workspaces")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
    )
    op.create_index(op.f("ix_api_keys_workspace_id"), "api_keys", ["workspace_id"], unique=False)
    op.create_table(
        "datasets",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("config", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("folder", sa.String(), nullable=True),
        sa.Column("manifest", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True),
        sa.Column("sha256", sa.String(), nullable=True),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("workspace_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("partial", sa.Boolean(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'cancelling', 'succeeded', 'failed', 'cancelled')",
            name=op.f("ck_datasets_state"),
        ),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name=op.f("fk_datasets_workspace_id_workspaces")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_datasets")),
    )
    op.create_index(op.f("ix_datasets_workspace_id"), "datasets", ["workspace_id"], unique=False)
    op.create_table(
        "events",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("workspace_id", sa.String(), nullable=False),
        sa.Column("subject_id", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("data", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name=op.f("fk_events_workspace_id_workspaces")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
    )
    op.create_index("ix_events_subject", "events", ["subject_id", "id"], unique=False)
    op.create_table(
        "idempotency_keys",
        sa.Column("workspace_id", sa.String(), nullable=False),
        sa.Column("route", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("request_sha256", sa.String(), nullable=False),
        sa.Column("resource_id", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_idempotency_keys_workspace_id_workspaces")
        ),
        sa.PrimaryKeyConstraint("workspace_id", "route", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_table(
        "language_models",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("workspace_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("engine", sa.String(), nullable=False),
        sa.Column("config", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("base_model_id", sa.String(), nullable=True),
        sa.Column("training_run_id", sa.String(), nullable=True),
        sa.Column("fingerprint", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["base_model_id"], ["language_models.id"], name=op.f("fk_language_models_base_model_id_language_models")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_language_models_workspace_id_workspaces")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_language_models")),
        sa.UniqueConstraint("workspace_id", "name", name=op.f("uq_language_models_workspace_id_name")),
    )
    op.create_index(op.f("ix_language_models_workspace_id"), "language_models", ["workspace_id"], unique=False)
    op.create_table(
        "problem_sets",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("workspace_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("domain", sa.String(), nullable=False),
        sa.Column("problem_count", sa.Integer(), nullable=False),
        sa.Column("content_sha256", sa.String(), nullable=False),
        sa.Column("rejected", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_problem_sets_workspace_id_workspaces")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_problem_sets")),
    )
    op.create_index(op.f("ix_problem_sets_workspace_id"), "problem_sets", ["workspace_id"], unique=False)
    op.create_table(
        "evaluations",
        sa.Column("problem_set_id", sa.String(), nullable=False),
        sa.Column("language_model_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=True),
        sa.Column("config", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("result", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("workspace_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("partial", sa.Boolean(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'cancelling', 'succeeded', 'failed', 'cancelled')",
            name=op.f("ck_evaluations_state"),
        ),
        sa.ForeignKeyConstraint(
            ["language_model_id"], ["language_models.id"], name=op.f("fk_evaluations_language_model_id_language_models")
        ),
        sa.ForeignKeyConstraint(
            ["problem_set_id"], ["problem_sets.id"], name=op.f("fk_evaluations_problem_set_id_problem_sets")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_evaluations_workspace_id_workspaces")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evaluations")),
    )
    op.create_index(op.f("ix_evaluations_workspace_id"), "evaluations", ["workspace_id"], unique=False)
    op.create_table(
        "injection_jobs",
        sa.Column("problem_set_id", sa.String(), nullable=False),
        sa.Column("language_model_id", sa.String(), nullable=True),
        sa.Column("name", sa.String(), nullable=True),
        sa.Column("config", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("prompt_versions", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("funnel", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("workspace_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("partial", sa.Boolean(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'cancelling', 'succeeded', 'failed', 'cancelled')",
            name=op.f("ck_injection_jobs_state"),
        ),
        sa.ForeignKeyConstraint(
            ["language_model_id"],
            ["language_models.id"],
            name=op.f("fk_injection_jobs_language_model_id_language_models"),
        ),
        sa.ForeignKeyConstraint(
            ["problem_set_id"], ["problem_sets.id"], name=op.f("fk_injection_jobs_problem_set_id_problem_sets")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_injection_jobs_workspace_id_workspaces")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_injection_jobs")),
    )
    op.create_index(op.f("ix_injection_jobs_problem_set_id"), "injection_jobs", ["problem_set_id"], unique=False)
    op.create_index(op.f("ix_injection_jobs_workspace_id"), "injection_jobs", ["workspace_id"], unique=False)
    op.create_table(
        "problems",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("problem_set_id", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("external_id", sa.String(), nullable=True),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("gold_answer", sa.Text(), nullable=False),
        sa.Column("gold_solution", sa.Text(), nullable=True),
        sa.Column("subject", sa.String(), nullable=True),
        sa.Column("level", sa.String(), nullable=True),
        sa.Column("meta", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.ForeignKeyConstraint(
            ["problem_set_id"], ["problem_sets.id"], name=op.f("fk_problems_problem_set_id_problem_sets")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_problems")),
        sa.UniqueConstraint("problem_set_id", "position", name=op.f("uq_problems_problem_set_id_position")),
    )
    op.create_index(op.f("ix_problems_problem_set_id"), "problems", ["problem_set_id"], unique=False)
    op.create_table(
        "training_runs",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("workspace_id", sa.String(), nullable=False),
        sa.Column("dataset_id", sa.String(), nullable=False),
        sa.Column("base_model_id", sa.String(), nullable=False),
        sa.Column("output_model_id", sa.String(), nullable=True),
        sa.Column("output_name", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("config", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("total_steps", sa.Integer(), nullable=True),
        sa.Column("progressed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("keep_on_cancel", sa.Boolean(), nullable=False),
        sa.Column("summary", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("interruptions", sa.Integer(), nullable=False),
        sa.Column("alone", sa.Boolean(), nullable=False),
        sa.Column("worker", sa.String(), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_run_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("hinted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('queued', 'validating', 'running', 'paused', 'cancelling', 'succeeded', 'failed', 'cancelled')",
            name=op.f("ck_training_runs_state"),
        ),
        sa.ForeignKeyConstraint(
            ["base_model_id"], ["language_models.id"], name=op.f("fk_training_runs_base_model_id_language_models")
        ),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_training_runs_dataset_id_datasets")),
        sa.ForeignKeyConstraint(
            ["output_model_id"], ["language_models.id"], name=op.f("fk_training_runs_output_model_id_language_models")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_training_runs_workspace_id_workspaces")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_training_runs")),
    )
    op.create_index(op.f("ix_training_runs_workspace_id"), "training_runs", ["workspace_id"], unique=False)
    op.create_table(
        "brought_solutions",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("problem_set_id", sa.String(), nullable=False),
        sa.Column("problem_id", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("label", sa.Boolean(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["problem_id"], ["problems.id"], name=op.f("fk_brought_solutions_problem_id_problems")),
        sa.ForeignKeyConstraint(
            ["problem_set_id"], ["problem_sets.id"], name=op.f("fk_brought_solutions_problem_set_id_problem_sets")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_brought_solutions")),
        sa.UniqueConstraint("problem_id", "source", name=op.f("uq_brought_solutions_problem_id_source")),
    )
    op.create_index(op.f("ix_brought_solutions_problem_set_id"), "brought_solutions", ["problem_set_id"], unique=False)
    op.create_table(
        "checkpoints",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("manifest", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("state IN ('ready', 'deleted')", name=op.f("ck_checkpoints_state")),
        sa.ForeignKeyConstraint(["run_id"], ["training_runs.id"], name=op.f("fk_checkpoints_run_id_training_runs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_checkpoints")),
        sa.UniqueConstraint("run_id", "step", name=op.f("uq_checkpoints_run_id_step")),
    )
    op.create_index(op.f("ix_checkpoints_run_id"), "checkpoints", ["run_id"], unique=False)
    op.create_table(
        "dataset_sources",
        sa.Column("dataset_id", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_dataset_sources_dataset_id_datasets")),
        sa.ForeignKeyConstraint(
            ["job_id"], ["injection_jobs.id"], name=op.f("fk_dataset_sources_job_id_injection_jobs")
        ),
        sa.PrimaryKeyConstraint("dataset_id", "job_id", name=op.f("pk_dataset_sources")),
    )
    op.create_table(
        "metrics",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("phase", sa.String(), nullable=False),
        sa.Column("values", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["training_runs.id"], name=op.f("fk_metrics_run_id_training_runs")),
        sa.PrimaryKeyConstraint("run_id", "step", "phase", name=op.f("pk_metrics")),
    )
    op.create_table(
        "estimates",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("workspace_id", sa.String(), nullable=False),
        sa.Column("pilot_id", sa.String(), nullable=False),
        sa.Column("problems", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["pilot_id"], ["injection_jobs.id"], name=op.f("fk_estimates_pilot_id_injection_jobs")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_estimates_workspace_id_workspaces")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_estimates")),
        sa.UniqueConstraint("pilot_id", name=op.f("uq_estimates_pilot_id")),
    )
    op.create_index(op.f("ix_estimates_workspace_id"), "estimates", ["workspace_id"], unique=False)
    op.create_table(
        "rejudgings",
        sa.Column("injection_job_id", sa.String(), nullable=False),
        sa.Column("verifier", sa.String(), nullable=False),
        sa.Column("result", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("workspace_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("partial", sa.Boolean(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'cancelling', 'succeeded', 'failed', 'cancelled')",
            name=op.f("ck_rejudgings_state"),
        ),
        sa.ForeignKeyConstraint(
            ["injection_job_id"], ["injection_jobs.id"], name=op.f("fk_rejudgings_injection_job_id_injection_jobs")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_rejudgings_workspace_id_workspaces")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rejudgings")),
    )
    op.create_index(op.f("ix_rejudgings_injection_job_id"), "rejudgings", ["injection_job_id"], unique=False)
    op.create_index(op.f("ix_rejudgings_workspace_id"), "rejudgings", ["workspace_id"], unique=False)
    op.create_table(
        "shards",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("injection_job_id", sa.String(), nullable=True),
        sa.Column("dataset_id", sa.String(), nullable=True),
        sa.Column("evaluation_id", sa.String(), nullable=True),
        sa.Column("rejudging_id", sa.String(), nullable=True),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("stop", sa.Integer(), nullable=False),
        sa.Column("positions", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("ledger", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("interruptions", sa.Integer(), nullable=False),
        sa.Column("alone", sa.Boolean(), nullable=False),
        sa.Column("worker", sa.String(), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_run_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("hinted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "stage IN ('sample', 'grade', 'edit', 'continue', 'prove', 'pair', 'freeze', 'answer', 'judge', 'rejudge')",
            name=op.f("ck_shards_stage"),
        ),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'done', 'quarantined', 'cancelled')", name=op.f("ck_shards_state")
        ),
        sa.CheckConstraint(
            "(CASE WHEN injection_job_id IS NULL THEN 0 ELSE 1 END) + (CASE WHEN dataset_id IS NULL THEN 0 ELSE 1 END) + (CASE WHEN evaluation_id IS NULL THEN 0 ELSE 1 END) + (CASE WHEN rejudging_id IS NULL THEN 0 ELSE 1 END) = 1",
            name=op.f("ck_shards_one_owner"),
        ),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_shards_dataset_id_datasets")),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["evaluations.id"], name=op.f("fk_shards_evaluation_id_evaluations")
        ),
        sa.ForeignKeyConstraint(
            ["injection_job_id"], ["injection_jobs.id"], name=op.f("fk_shards_injection_job_id_injection_jobs")
        ),
        sa.ForeignKeyConstraint(["rejudging_id"], ["rejudgings.id"], name=op.f("fk_shards_rejudging_id_rejudgings")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shards")),
        sa.UniqueConstraint("dataset_id", "position", name=op.f("uq_shards_dataset_id_position")),
        sa.UniqueConstraint("evaluation_id", "position", name=op.f("uq_shards_evaluation_id_position")),
        sa.UniqueConstraint("injection_job_id", "position", name=op.f("uq_shards_injection_job_id_position")),
        sa.UniqueConstraint("rejudging_id", "position", name=op.f("uq_shards_rejudging_id_position")),
    )
    op.create_index(
        "ix_shards_job_stage", "shards", ["injection_job_id", "state", "stage", "position"], unique=False
    )
    op.create_index("ix_shards_state_lease", "shards", ["state", "lease_expires_at"], unique=False)
    op.create_table(
        "evaluation_samples",
        sa.Column("evaluation_id", sa.String(), nullable=False),
        sa.Column("problem_id", sa.String(), nullable=False),
        sa.Column("sample_index", sa.Integer(), nullable=False),
        sa.Column("shard_id", sa.String(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("finish_reason", sa.String(), nullable=True),
        sa.Column("prompt_tokens", sa.Integer(), nullable=False),
        sa.Column("completion_tokens", sa.Integer(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=True),
        sa.Column("extracted", sa.Text(), nullable=True),
        sa.Column("verifier", sa.String(), nullable=True),
        sa.Column("verdict_seconds", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["evaluations.id"], name=op.f("fk_evaluation_samples_evaluation_id_evaluations")
        ),
        sa.ForeignKeyConstraint(
            ["problem_id"], ["problems.id"], name=op.f("fk_evaluation_samples_problem_id_problems")
        ),
        sa.ForeignKeyConstraint(["shard_id"], ["shards.id"], name=op.f("fk_evaluation_samples_shard_id_shards")),
        sa.PrimaryKeyConstraint("evaluation_id", "problem_id", "sample_index", name=op.f("pk_evaluation_samples")),
    )
    op.create_index(op.f("ix_evaluation_samples_shard_id"), "evaluation_samples", ["shard_id"], unique=False)
    op.create_table(
        "problem_outcomes",
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("problem_id", sa.String(), nullable=False),
        sa.Column("shard_id", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["job_id"], ["injection_jobs.id"], name=op.f("fk_problem_outcomes_job_id_injection_jobs")
        ),
        sa.ForeignKeyConstraint(["problem_id"], ["problems.id"], name=op.f("fk_problem_outcomes_problem_id_problems")),
        sa.ForeignKeyConstraint(["shard_id"], ["shards.id"], name=op.f("fk_problem_outcomes_shard_id_shards")),
        sa.PrimaryKeyConstraint("job_id", "problem_id", name=op.f("pk_problem_outcomes")),
    )
    op.create_index(op.f("ix_problem_outcomes_shard_id"), "problem_outcomes", ["shard_id"], unique=False)
    op.create_table(
        "solutions",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("shard_id", sa.String(), nullable=False),
        sa.Column("problem_id", sa.String(), nullable=False),
        sa.Column("sample_index", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=True),
        sa.Column("finish_reason", sa.String(), nullable=True),
        sa.Column("prompt_tokens", sa.Integer(), nullable=False),
        sa.Column("completion_tokens", sa.Integer(), nullable=False),
        sa.Column("cached_tokens", sa.Integer(), nullable=False),
        sa.Column("label", sa.Boolean(), nullable=True),
        sa.Column("verdict", sa.String(), nullable=True),
        sa.Column("extracted", sa.Text(), nullable=True),
        sa.Column("verifier", sa.String(), nullable=True),
        sa.Column("verdict_seconds", sa.Double(), nullable=True),
        sa.Column("role", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["injection_jobs.id"], name=op.f("fk_solutions_job_id_injection_jobs")),
        sa.ForeignKeyConstraint(["problem_id"], ["problems.id"], name=op.f("fk_solutions_problem_id_problems")),
        sa.ForeignKeyConstraint(["shard_id"], ["shards.id"], name=op.f("fk_solutions_shard_id_shards")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_solutions")),
        sa.UniqueConstraint(
            "job_id", "problem_id", "sample_index", name=op.f("uq_solutions_job_id_problem_id_sample_index")
        ),
    )
    op.create_index(op.f("ix_solutions_job_id"), "solutions", ["job_id"], unique=False)
    op.create_index(op.f("ix_solutions_shard_id"), "solutions", ["shard_id"], unique=False)
    op.create_table(
        "verdict_changes",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("rejudging_id", sa.String(), nullable=False),
        sa.Column("shard_id", sa.String(), nullable=False),
        sa.Column("solution_id", sa.String(), nullable=False),
        sa.Column("problem_id", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=True),
        sa.Column("verdict_before", sa.String(), nullable=False),
        sa.Column("verdict_after", sa.String(), nullable=False),
        sa.Column("extracted_before", sa.Text(), nullable=True),
        sa.Column("extracted_after", sa.Text(), nullable=True),
        sa.Column("verifier_before", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["problem_id"], ["problems.id"], name=op.f("fk_verdict_changes_problem_id_problems")),
        sa.ForeignKeyConstraint(
            ["rejudging_id"], ["rejudgings.id"], name=op.f("fk_verdict_changes_rejudging_id_rejudgings")
        ),
        sa.ForeignKeyConstraint(["shard_id"], ["shards.id"], name=op.f("fk_verdict_changes_shard_id_shards")),
        sa.ForeignKeyConstraint(
            ["solution_id"], ["solutions.id"], name=op.f("fk_verdict_changes_solution_id_solutions")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verdict_changes")),
        sa.UniqueConstraint("rejudging_id", "solution_id", name=op.f("uq_verdict_changes_rejudging_id_solution_id")),
    )
    op.create_index(op.f("ix_verdict_changes_rejudging_id"), "verdict_changes", ["rejudging_id"], unique=False)
    op.create_table(
        "edits",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("shard_id", sa.String(), nullable=False),
        sa.Column("solution_id", sa.String(), nullable=False),
        sa.Column("problem_id", sa.String(), nullable=False),
        sa.Column("step_index", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("end", sa.Integer(), nullable=False),
        sa.Column("original", sa.Text(), nullable=False),
        sa.Column("edited", sa.Text(), nullable=True),
        sa.Column("attempts", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("prompt_tokens", sa.Integer(), nullable=False),
        sa.Column("completion_tokens", sa.Integer(), nullable=False),
        sa.Column("cached_tokens", sa.Integer(), nullable=False),
        sa.Column("distance", sa.Integer(), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("evidence_kind", sa.String(), nullable=True),
        sa.Column("evidence", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True),
        sa.Column("continuations", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["injection_jobs.id"], name=op.f("fk_edits_job_id_injection_jobs")),
        sa.ForeignKeyConstraint(["problem_id"], ["problems.id"], name=op.f("fk_edits_problem_id_problems")),
        sa.ForeignKeyConstraint(["shard_id"], ["shards.id"], name=op.f("fk_edits_shard_id_shards")),
        sa.ForeignKeyConstraint(["solution_id"], ["solutions.id"], name=op.f("fk_edits_solution_id_solutions")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_edits")),
        sa.UniqueConstraint("solution_id", "step_index", "kind", name=op.f("uq_edits_solution_id_step_index_kind")),
    )
    op.create_index(op.f("ix_edits_job_id"), "edits", ["job_id"], unique=False)
    op.create_index(op.f("ix_edits_shard_id"), "edits", ["shard_id"], unique=False)
    op.create_table(
        "pairs",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("workspace_id", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("shard_id", sa.String(), nullable=False),
        sa.Column("problem_id", sa.String(), nullable=False),
        sa.Column("solution_id", sa.String(), nullable=False),
        sa.Column("rejected_solution_id", sa.String(), nullable=True),
        sa.Column("edit_id", sa.String(), nullable=True),
        sa.Column("pair_key", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("chosen", sa.Text(), nullable=False),
        sa.Column("rejected", sa.Text(), nullable=False),
        sa.Column("step_index", sa.Integer(), nullable=True),
        sa.Column("start", sa.Integer(), nullable=True),
        sa.Column("end", sa.Integer(), nullable=True),
        sa.Column("error_kind", sa.String(), nullable=True),
        sa.Column("distance", sa.Integer(), nullable=True),
        sa.Column("evidence_kind", sa.String(), nullable=True),
        sa.Column("evidence", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("language_model", sa.String(), nullable=True),
        sa.Column("prompt_version", sa.String(), nullable=True),
        sa.Column("seed", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("type IN ('step', 'full')", name=op.f("ck_pairs_type")),
        sa.ForeignKeyConstraint(["edit_id"], ["edits.id"], name=op.f("fk_pairs_edit_id_edits")),
        sa.ForeignKeyConstraint(["job_id"], ["injection_jobs.id"], name=op.f("fk_pairs_job_id_injection_jobs")),
        sa.ForeignKeyConstraint(["problem_id"], ["problems.id"], name=op.f("fk_pairs_problem_id_problems")),
        sa.ForeignKeyConstraint(
            ["rejected_solution_id"], ["solutions.id"], name=op.f("fk_pairs_rejected_solution_id_solutions")
        ),
        sa.ForeignKeyConstraint(["shard_id"], ["shards.id"], name=op.f("fk_pairs_shard_id_shards")),
        sa.ForeignKeyConstraint(["solution_id"], ["solutions.id"], name=op.f("fk_pairs_solution_id_solutions")),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name=op.f("fk_pairs_workspace_id_workspaces")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pairs")),
        sa.UniqueConstraint("job_id", "pair_key", name=op.f("uq_pairs_job_id_pair_key")),
    )
    op.create_index("ix_pairs_job_created", "pairs", ["job_id", "created_at", "id"], unique=False)
    op.create_index("ix_pairs_job_type_kind", "pairs", ["job_id", "type", "error_kind"], unique=False)
    op.create_index(op.f("ix_pairs_shard_id"), "pairs", ["shard_id"], unique=False)
    op.create_index("ix_pairs_workspace_created", "pairs", ["workspace_id", "created_at", "id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_pairs_workspace_created", table_name="pairs")
    op.drop_index(op.f("ix_pairs_shard_id"), table_name="pairs")
    op.drop_index("ix_pairs_job_type_kind", table_name="pairs")
    op.drop_index("ix_pairs_job_created", table_name="pairs")
    op.drop_table("pairs")
    op.drop_index(op.f("ix_edits_shard_id"), table_name="edits")
    op.drop_index(op.f("ix_edits_job_id"), table_name="edits")
    op.drop_table("edits")
    op.drop_index(op.f("ix_verdict_changes_rejudging_id"), table_name="verdict_changes")
    op.drop_table("verdict_changes")
    op.drop_index(op.f("ix_solutions_shard_id"), table_name="solutions")
    op.drop_index(op.f("ix_solutions_job_id"), table_name="solutions")
    op.drop_table("solutions")
    op.drop_index(op.f("ix_problem_outcomes_shard_id"), table_name="problem_outcomes")
    op.drop_table("problem_outcomes")
    op.drop_index(op.f("ix_evaluation_samples_shard_id"), table_name="evaluation_samples")
    op.drop_table("evaluation_samples")
    op.drop_index("ix_shards_state_lease", table_name="shards")
    op.drop_index("ix_shards_job_stage", table_name="shards")
    op.drop_table("shards")
    op.drop_index(op.f("ix_estimates_workspace_id"), table_name="estimates")
    op.drop_table("estimates")
    op.drop_index(op.f("ix_rejudgings_workspace_id"), table_name="rejudgings")
    op.drop_index(op.f("ix_rejudgings_injection_job_id"), table_name="rejudgings")
    op.drop_table("rejudgings")
    op.drop_table("metrics")
    op.drop_table("dataset_sources")
    op.drop_index(op.f("ix_checkpoints_run_id"), table_name="checkpoints")
    op.drop_table("checkpoints")
    op.drop_index(op.f("ix_brought_solutions_problem_set_id"), table_name="brought_solutions")
    op.drop_table("brought_solutions")
    op.drop_index(op.f("ix_training_runs_workspace_id"), table_name="training_runs")
    op.drop_table("training_runs")
    op.drop_index(op.f("ix_problems_problem_set_id"), table_name="problems")
    op.drop_table("problems")
    op.drop_index(op.f("ix_injection_jobs_workspace_id"), table_name="injection_jobs")
    op.drop_index(op.f("ix_injection_jobs_problem_set_id"), table_name="injection_jobs")
    op.drop_table("injection_jobs")
    op.drop_index(op.f("ix_evaluations_workspace_id"), table_name="evaluations")
    op.drop_table("evaluations")
    op.drop_index(op.f("ix_problem_sets_workspace_id"), table_name="problem_sets")
    op.drop_table("problem_sets")
    op.drop_index(op.f("ix_language_models_workspace_id"), table_name="language_models")
    op.drop_table("language_models")
    op.drop_table("idempotency_keys")
    op.drop_index("ix_events_subject", table_name="events")
    op.drop_table("events")
    op.drop_index(op.f("ix_datasets_workspace_id"), table_name="datasets")
    op.drop_table("datasets")
    op.drop_index(op.f("ix_api_keys_workspace_id"), table_name="api_keys")
    op.drop_table("api_keys")
    op.drop_table("workspaces")
