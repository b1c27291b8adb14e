"""Which inputs policy has judged; of what it allowed before this, nobody knows."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("request", sa.Column("judged", sa.String()))


def downgrade() -> None:
    op.drop_column("request", "judged")
