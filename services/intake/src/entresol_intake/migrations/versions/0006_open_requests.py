"""Open requests to delete a resource, beside those to put it right."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.rename_table("reconciliation", "open_request")
    op.add_column("open_request", sa.Column("action", sa.String(), nullable=False, server_default="reconcile"))


def downgrade() -> None:
    op.execute("DELETE FROM open_request WHERE action <> 'reconcile'")
    op.drop_column("open_request", "action")
    op.rename_table("open_request", "reconciliation")
