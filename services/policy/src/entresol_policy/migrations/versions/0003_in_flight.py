"""What requests were allowed and has not come about yet, for quotas that change; since when requests are as they are.

What was allowed before this runs is only known by its shares. They stay until it has come about, or until their quota
changes.
"""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op
from entresol_eventing.store import UtcDateTime

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "reservation",
        sa.Column("request_id", sa.String(), primary_key=True),
        sa.Column("document", sa.JSON(), nullable=False),
    )
    op.add_column("request", sa.Column("changed_at", UtcDateTime()))
    changed_at = sa.bindparam("at", datetime.now(UTC), type_=UtcDateTime())
    op.execute(sa.text("UPDATE request SET changed_at = :at").bindparams(changed_at))
    op.create_index("request_changed_at", "request", ["changed_at"])


def downgrade() -> None:
    op.drop_index("request_changed_at", "request")
    op.drop_column("request", "changed_at")
    op.drop_table("reservation")
