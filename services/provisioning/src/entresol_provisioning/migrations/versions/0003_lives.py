"""The whole life of a resource: what it needs, how it is done, pauses and drift; steps that wait and that undo."""

import sqlalchemy as sa
from alembic import op
from entresol_eventing.store import UtcDateTime

revision = "0003"
down_revision = "0002"

_ADDED = {
    "request": ("class_", "requirement", "snapshot", "implementation", "orphan"),
    "step": ("memory", "act"),
    "footprint": ("fingerprint", "former", "needs_resource"),
    "resource": ("class_", "implementation", "requirement", "paused", "drift"),
}
_JSON = {"requirement", "snapshot", "memory", "former", "paused", "drift"}


def upgrade() -> None:
    op.add_column("request", sa.Column("orphan", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("step", sa.Column("act", sa.String(), nullable=False, server_default="apply"))
    for table, columns in _ADDED.items():
        for name in columns:
            if name not in ("orphan", "act"):
                op.add_column(table, sa.Column(name, sa.JSON() if name in _JSON else sa.String()))
    # What runs while the service is exchanged has to go on as what it was.
    op.execute("UPDATE step SET act = 'destroy' WHERE run_id IN (SELECT run_id FROM request WHERE destroys)")
    op.create_index("ix_footprint_needs_resource", "footprint", ["needs_resource"])
    op.create_index("resource_by_offering", "resource", ["offering"])
    op.create_table(
        "look",
        sa.Column("resource_id", sa.String(), primary_key=True),
        sa.Column("asked_at", UtcDateTime(), nullable=False),
    )
    op.create_index("ix_look_asked_at", "look", ["asked_at"])


def downgrade() -> None:
    op.drop_table("look")
    op.drop_index("resource_by_offering", "resource")
    op.drop_index("ix_footprint_needs_resource", "footprint")
    for table, columns in _ADDED.items():
        for name in columns:
            op.drop_column(table, name)
