"""Stages of an offering's versions, and the open requests to put right what drifted.

The version that was meant until now when none was named, the highest, becomes the default.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    stage = op.create_table(
        "stage",
        sa.Column("offering", sa.String(), primary_key=True),
        sa.Column("version", sa.String(), primary_key=True),
        sa.Column("stage", sa.String(), nullable=False),
    )
    is_default = sa.text("stage = 'default'")
    op.create_index(
        "stage_default", "stage", ["offering"], unique=True, sqlite_where=is_default, postgresql_where=is_default
    )
    op.create_table(
        "reconciliation",
        sa.Column("request_id", sa.String(), primary_key=True),
        sa.Column("resource_id", sa.String(), nullable=False),
    )
    op.create_index("ix_reconciliation_resource_id", "reconciliation", ["resource_id"])
    highest: dict[str, str] = {}
    for name, version in op.get_bind().execute(
        sa.text("SELECT name, version FROM manifest WHERE kind = 'Offering' AND NOT removed")
    ):
        highest[name] = max(highest.get(name, version), version, key=_semantic)
    op.bulk_insert(
        stage, [{"offering": name, "version": version, "stage": "default"} for name, version in highest.items()]
    )


def downgrade() -> None:
    op.drop_table("reconciliation")
    op.drop_table("stage")


def _semantic(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
