"""What approvals are about and whether they are over; what was answered by link."""

import sqlalchemy as sa
from alembic import op
from entresol_eventing.store import UtcDateTime

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("approval", sa.Column("document", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("approval", sa.Column("ended", sa.String()))
    op.create_table(
        "link_answer",
        sa.Column("approval_id", sa.String(), primary_key=True),
        sa.Column("actor", sa.String(), primary_key=True),
        sa.Column("answer", sa.String(), nullable=False),
        sa.Column("answered_at", UtcDateTime(), nullable=False),
        sa.Column("refused", sa.String()),
    )


def downgrade() -> None:
    op.drop_table("link_answer")
    for column in ("ended", "document"):
        op.drop_column("approval", column)
