"""Locks and waivers."""

import sqlalchemy as sa
from alembic import op
from entresol_eventing.store import UtcDateTime

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "lock",
        sa.Column("lock_id", sa.String(), primary_key=True),
        sa.Column("placed_by", sa.String(), nullable=False),
        sa.Column("project", sa.String()),
        sa.Column("placed_at", UtcDateTime(), nullable=False),
        sa.Column("ends_at", UtcDateTime()),
        sa.Column("ended_at", UtcDateTime()),
    )
    op.create_table(
        "waiver",
        sa.Column("waiver_id", sa.String(), primary_key=True),
        sa.Column("project", sa.String()),
        sa.Column("granted_at", UtcDateTime(), nullable=False),
        sa.Column("ends_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime()),
    )


def downgrade() -> None:
    for table in ("waiver", "lock"):
        op.drop_table(table)
