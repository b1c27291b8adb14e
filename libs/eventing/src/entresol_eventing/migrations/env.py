"""Alembic environment of the runtime's own tables."""

from entresol_eventing.migrate import run
from entresol_eventing.store import metadata

run(metadata)
