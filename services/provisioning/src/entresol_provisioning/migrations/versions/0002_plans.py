"""Requests that are planned before they are decided, and steps that are held to what was approved."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("request", sa.Column("phase", sa.String(), nullable=False, server_default="apply"))
    op.add_column("request", sa.Column("approved", sa.String()))
    op.add_column("request", sa.Column("outdated", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("request", sa.Column("applied", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("step", sa.Column("approved", sa.String()))


def downgrade() -> None:
    op.drop_column("step", "approved")
    for name in ("applied", "outdated", "approved", "phase"):
        op.drop_column("request", name)
