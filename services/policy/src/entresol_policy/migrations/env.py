"""Alembic environment of policy's tables."""

from entresol_eventing.migrate import run
from entresol_policy.store import Base

run(Base.metadata)
