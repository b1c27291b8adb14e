"""Alembic's entry: the runtime gives the connection."""

from entresol_eventing.migrate import run
from entresol_provisioning.tables import Base

run(Base.metadata)
