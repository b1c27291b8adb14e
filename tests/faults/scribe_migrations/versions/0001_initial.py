import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    for table in ("heard", "noted", "rung"):
        op.create_table(
            table,
            sa.Column("position", sa.Integer(), primary_key=True),
            sa.Column("key", sa.String(), nullable=False),
            sa.Column("state", sa.String(), nullable=False, server_default="ready"),
        )
