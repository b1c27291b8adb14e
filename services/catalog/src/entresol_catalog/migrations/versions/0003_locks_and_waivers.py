"""Locks and waivers."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

POSITION = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    for name in ("lock", "waiver"):
        op.create_table(
            name,
            sa.Column("id", sa.String(), primary_key=True),
            sa.Column("position", POSITION, nullable=False),
            sa.Column("project", sa.String()),
            sa.Column("state", sa.String(), nullable=False),
            sa.Column("document", sa.Text(), nullable=False),
        )
        op.create_index(f"{name}_position", name, ["position"])
        op.create_index(f"{name}_state", name, ["state", "position"])


def downgrade() -> None:
    op.drop_table("waiver")
    op.drop_table("lock")
