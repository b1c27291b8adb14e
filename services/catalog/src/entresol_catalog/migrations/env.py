"""Alembic environment of the catalog's tables."""

from entresol_catalog.store.tables import metadata
from entresol_eventing.migrate import run

run(metadata)
