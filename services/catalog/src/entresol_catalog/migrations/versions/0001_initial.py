"""History and the projections of the read door."""

import sqlalchemy as sa
from alembic import op
from entresol_eventing.store import UtcDateTime

revision = "0001"
down_revision = None

POSITION = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "history",
        sa.Column("position", POSITION, primary_key=True, autoincrement=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("correlationid", sa.String(), nullable=False),
        sa.Column("request_id", sa.String()),
        sa.Column("project", sa.String()),
        sa.Column("time", UtcDateTime(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
    )
    op.create_index("history_correlationid", "history", ["correlationid"])
    op.create_index("history_request_id", "history", ["request_id"])
    op.create_index("history_type", "history", ["type", "position"])
    op.create_index("history_project", "history", ["project", "position"])
    op.create_table(
        "request",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("position", POSITION, nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("resource", sa.String(), nullable=False),
        sa.Column("offering", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("check_at", UtcDateTime()),
        sa.Column("document", sa.Text(), nullable=False),
    )
    op.create_index("request_position", "request", ["position"])
    op.create_index("request_project", "request", ["project", "position"])
    op.create_index("request_resource", "request", ["resource", "position"])
    op.create_index("request_state", "request", ["state", "position"])
    op.create_index("request_check_at", "request", ["check_at"])
    op.create_table(
        "approval",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("position", POSITION, nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
    )
    op.create_index("approval_position", "approval", ["position"])
    op.create_index("approval_state", "approval", ["state", "position"])
    op.create_table(
        "resource",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("position", POSITION, nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("offering", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
    )
    op.create_index("resource_position", "resource", ["position"])
    op.create_index("resource_project", "resource", ["project", "position"])
    op.create_table(
        "entity",
        sa.Column("blueprint", sa.String(), primary_key=True),
        sa.Column("identifier", sa.String(), primary_key=True),
        sa.Column("position", POSITION, nullable=False),
        sa.Column("removed", sa.Boolean(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
    )
    op.create_index("entity_position", "entity", ["position"])
    op.create_table(
        "relation",
        sa.Column("blueprint", sa.String(), primary_key=True),
        sa.Column("identifier", sa.String(), primary_key=True),
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("target", sa.String(), primary_key=True),
    )
    op.create_index("relation_target", "relation", ["target"])
    op.create_table(
        "manifest",
        sa.Column("kind", sa.String(), primary_key=True),
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("version", sa.String(), primary_key=True),
        sa.Column("position", POSITION, nullable=False),
        sa.Column("removed", sa.Boolean(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
    )
    op.create_index("manifest_position", "manifest", ["position"])
    op.create_table(
        "token",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("position", POSITION, nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
    )
    op.create_index("token_position", "token", ["position"])
    op.create_index("token_hash", "token", ["hash"])
    op.create_table(
        "dead_letter",
        sa.Column("service", sa.String(), primary_key=True),
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("position", POSITION, nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
    )
    op.create_index("dead_letter_position", "dead_letter", ["position"])
    op.create_table(
        "notification",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("position", POSITION, nullable=False),
        sa.Column("project", sa.String()),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
    )
    op.create_index("notification_position", "notification", ["position"])


def downgrade() -> None:
    for table in (
        "history",
        "request",
        "approval",
        "resource",
        "entity",
        "relation",
        "manifest",
        "token",
        "dead_letter",
        "notification",
    ):
        op.drop_table(table)
