"""When the review of a broken glass is due. Rows from before hold no reviews."""

import sqlalchemy as sa
from alembic import op
from entresol_eventing.store import UtcDateTime

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("approval", sa.Column("review_by", UtcDateTime()))


def downgrade() -> None:
    op.drop_column("approval", "review_by")
