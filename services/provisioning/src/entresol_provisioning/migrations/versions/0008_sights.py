"""When a resource was last looked at, and since when that fails."""

import sqlalchemy as sa
from alembic import op
from entresol_eventing.store import UtcDateTime

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("resource", sa.Column("seen_at", UtcDateTime()))
    op.add_column("resource", sa.Column("missed", sa.JSON()))
    op.add_column("resource", sa.Column("unobserved", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    for column in ("unobserved", "missed", "seen_at"):
        op.drop_column("resource", column)
