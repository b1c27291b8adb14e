"""Whether somebody has asked for a look again since it was asked for."""

import sqlalchemy as sa
from alembic import op
from entresol_eventing.store import UtcDateTime

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("look", sa.Column("again_at", UtcDateTime()))


def downgrade() -> None:
    op.drop_column("look", "again_at")
