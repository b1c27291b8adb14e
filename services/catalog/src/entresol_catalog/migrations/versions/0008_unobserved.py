"""Resources that nobody can look at any more; of what was told before this, nothing says so."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("resource", sa.Column("unobserved", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.execute("""UPDATE resource SET document = substr(document, 1, length(document) - 1) || ',"unobserved": null}'""")


def downgrade() -> None:
    op.drop_column("resource", "unobserved")
