"""Requests, resources, approvals, manifests, keys, deliveries, tokens."""

import sqlalchemy as sa
from alembic import op
from entresol_eventing.store import UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "request",
        sa.Column("request_id", sa.String(), primary_key=True),
        sa.Column("resource_id", sa.String(), nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("correlationid", sa.String(), nullable=False),
        sa.Column("submitted_at", UtcDateTime(), nullable=False),
    )
    op.create_table(
        "resource",
        sa.Column("resource_id", sa.String(), primary_key=True),
        sa.Column("offering_version", sa.String(), nullable=False),
    )
    op.create_table(
        "approval",
        sa.Column("approval_id", sa.String(), primary_key=True),
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("resource_id", sa.String(), nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("cause", sa.JSON(), nullable=False),
    )
    op.create_table(
        "manifest",
        sa.Column("kind", sa.String(), primary_key=True),
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("version", sa.String(), primary_key=True),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("removed", sa.Boolean(), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
    )
    op.create_table(
        "idempotency_key",
        sa.Column("scope", sa.String(), primary_key=True),
        sa.Column("key", sa.String(), primary_key=True),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("answered_at", UtcDateTime(), nullable=False),
    )
    op.create_index("idempotency_key_answered", "idempotency_key", ["answered_at"])
    op.create_table(
        "received",
        sa.Column("source", sa.String(), primary_key=True),
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("door", sa.String(), nullable=False),
        sa.Column("received_at", UtcDateTime(), nullable=False),
    )
    op.create_index("received_at", "received", ["received_at"])
    op.create_table(
        "token",
        sa.Column("token_id", sa.String(), primary_key=True),
        sa.Column("hash", sa.String(), nullable=False, unique=True),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("groups", sa.JSON(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("projects", sa.JSON(), nullable=False),
        sa.Column("issued_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime()),
        sa.Column("revoked_at", UtcDateTime()),
    )


def downgrade() -> None:
    for table in ("token", "received", "idempotency_key", "manifest", "approval", "resource", "request"):
        op.drop_table(table)
