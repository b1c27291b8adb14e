"""The event in which an answer was given by link."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("link_answer", sa.Column("event", sa.String()))


def downgrade() -> None:
    op.drop_column("link_answer", "event")
