"""The order in which events have arrived, which SQLite has in its row ids."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE eventing_inbox ADD COLUMN arrival BIGINT GENERATED ALWAYS AS IDENTITY")
        op.create_index("eventing_inbox_arrival", "eventing_inbox", ["arrival"])


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.drop_column("eventing_inbox", "arrival")
