"""Inbox, outbox, deadlines, the park, cursors."""

import sqlalchemy as sa
from alembic import op
from entresol_eventing.store import UtcDateTime

revision = "0001"
down_revision = None

POSITION = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "eventing_inbox",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("source", sa.String(), primary_key=True),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
    )
    op.create_table(
        "eventing_outbox",
        sa.Column("position", POSITION, primary_key=True, autoincrement=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("log_subject", sa.String(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
    )
    op.create_table(
        "eventing_deadline",
        sa.Column("key", sa.String(), primary_key=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("args", sa.JSON(), nullable=False),
        sa.Column("cause", sa.JSON(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
    )
    op.create_index("eventing_deadline_due", "eventing_deadline", ["due_at"])
    op.create_table(
        "eventing_parked",
        sa.Column("position", POSITION, primary_key=True),
        sa.Column("id", sa.String(), nullable=False, unique=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("partitionkey", sa.String()),
        sa.Column("retry_at", UtcDateTime()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("log_subject", sa.String(), nullable=False),
        sa.Column("headers", sa.JSON(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("redriven_by", sa.String()),
        sa.Column("parked_at", UtcDateTime(), nullable=False),
    )
    op.create_index("eventing_parked_key", "eventing_parked", ["partitionkey"])
    op.create_index("eventing_parked_due", "eventing_parked", ["state", "retry_at"])
    op.create_table(
        "eventing_cursor",
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("position", sa.BigInteger(), nullable=False),
    )


def downgrade() -> None:
    for table in ("cursor", "parked", "deadline", "outbox", "inbox"):
        op.drop_table(f"eventing_{table}")
