"""Alembic environment of notification's tables."""

from entresol_eventing.migrate import run
from entresol_notification.store import Base

run(Base.metadata)
