"""What drivers have announced."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "driver",
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("settings", sa.JSON()),
        sa.Column("outputs", sa.JSON()),
    )


def downgrade() -> None:
    op.drop_table("driver")
