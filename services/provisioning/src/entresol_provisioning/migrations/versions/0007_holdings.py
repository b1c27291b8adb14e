"""Which step has put which file into a repository; of two that say so, the first."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    holding = op.create_table(
        "holding",
        sa.Column("address", sa.String(), primary_key=True),
        sa.Column("resource_id", sa.String(), nullable=False),
        sa.Column("step", sa.String(), nullable=False),
    )
    op.create_index("holding_by_step", "holding", ["resource_id", "step"])
    query = "SELECT resource_id, step, outputs FROM footprint WHERE driver = 'gitops' ORDER BY run_id"
    held: dict[str, dict[str, str]] = {}
    for resource_id, step, text in op.get_bind().execute(sa.text(query)):
        outputs = json.loads(text) if isinstance(text, str) else text
        where = f"{str(outputs.get('repository')).removesuffix('.git')}#{outputs.get('branch')}"
        for path in outputs.get("files") or ():
            address = f"{where}:{path}"
            held.setdefault(address, {"address": address, "resource_id": resource_id, "step": step})
    op.bulk_insert(holding, list(held.values()))


def downgrade() -> None:
    op.drop_table("holding")
