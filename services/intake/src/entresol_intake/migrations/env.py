"""Alembic's entry point."""

from entresol_eventing import migrate
from entresol_intake.store import Base

migrate.run(Base.metadata)
