"""Where entities stand on scorecards."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "standing",
        sa.Column("scorecard", sa.String(), primary_key=True),
        sa.Column("blueprint", sa.String(), primary_key=True),
        sa.Column("identifier", sa.String(), primary_key=True),
        sa.Column("position", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("level", sa.String()),
        sa.Column("removed", sa.Boolean(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
    )
    op.create_index("standing_position", "standing", ["scorecard", "position"])
    op.create_index("standing_entity", "standing", ["blueprint", "identifier"])


def downgrade() -> None:
    op.drop_table("standing")
