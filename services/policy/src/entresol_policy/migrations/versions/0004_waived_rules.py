"""Which rule a waiver is for, by its content; one that was granted before this is for whatever has its number."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("waiver", sa.Column("rule_digest", sa.String()))


def downgrade() -> None:
    op.drop_column("waiver", "rule_digest")
