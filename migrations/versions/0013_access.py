"""Rotated keys, audit log, quotas, tokens by day, browser sessions

Columns that may be null and new tables: no table is rewritten.

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_AUDIT_INDEXES = (
    ("ix_audit_entries_workspace", ["workspace_id", "created_at", "id"]),
    ("ix_audit_entries_actor", ["workspace_id", "actor", "created_at", "id"]),
    ("ix_audit_entries_object", ["workspace_id", "object_id", "created_at", "id"]),
    ("ix_audit_entries_created_at", ["created_at"]),
)


def _workspace(table: str) -> list[sa.schema.SchemaItem]:
    return [
        sa.Column("workspace_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name=f"fk_{table}_workspace_id_workspaces"),
    ]


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("created_by", sa.String(), nullable=True))
    op.add_column("api_keys", sa.Column("replaced_by", sa.String(), nullable=True))
    op.create_table(
        "audit_entries",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        *_workspace("audit_entries"),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("actor_name", sa.String(), nullable=True),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("route", sa.String(), nullable=False),
        sa.Column("object_id", sa.String(), nullable=True),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("address", sa.String(), nullable=True),
        sa.Column("request_id", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_audit_entries"),
    )
    for name, columns in _AUDIT_INDEXES:
        op.create_index(name, "audit_entries", columns)
    op.create_table(
        "quotas",
        *_workspace("quotas"),
        sa.Column("jobs", sa.Integer(), nullable=True),
        sa.Column("problems", sa.BigInteger(), nullable=True),
        sa.Column("pairs", sa.BigInteger(), nullable=True),
        sa.Column("tokens_per_day", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("workspace_id", name="pk_quotas"),
    )
    op.create_table(
        "token_use",
        *_workspace("token_use"),
        sa.Column("day", sa.String(), nullable=False),
        sa.Column("subject_id", sa.String(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "day", "subject_id", name="pk_token_use"),
    )
    op.create_table(
        "browser_sessions",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        *_workspace("browser_sessions"),
        sa.Column("token_sha256", sa.String(), nullable=False),
        sa.Column("state_sha256", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("scopes", _JSON, nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_browser_sessions"),
        sa.UniqueConstraint("token_sha256", name="uq_browser_sessions_token_sha256"),
        sa.UniqueConstraint("state_sha256", name="uq_browser_sessions_state_sha256"),
    )
    op.create_index("ix_browser_sessions_workspace_id", "browser_sessions", ["workspace_id"])
    op.create_index("ix_browser_sessions_expires_at", "browser_sessions", ["expires_at"])


def downgrade() -> None:
    for table in ("browser_sessions", "token_use", "quotas", "audit_entries"):
        op.drop_table(table)
    op.drop_column("api_keys", "replaced_by")
    op.drop_column("api_keys", "created_by")
