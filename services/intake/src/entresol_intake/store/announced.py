"""What drivers have announced: by this the steps of offerings are judged."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import JSON, delete, select
from sqlmodel import Field, Session

from entresol_intake.store.base import Base, add, table


class Driver(Base, table=True):
    """A driver that is there."""

    __tablename__ = "driver"
    name: str = Field(primary_key=True)
    settings: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    """JSON Schema of a step's `with`; None if it does not say."""
    outputs: dict[str, Any] | None = Field(default=None, sa_type=JSON)


drivers = table(Driver)


def keep_driver(
    name: str, settings: Mapping[str, Any] | None, outputs: Mapping[str, Any] | None, session: Session
) -> None:
    forget_driver(name, session)
    add(session, drivers, {"name": name, "settings": settings, "outputs": outputs})


def forget_driver(name: str, session: Session) -> None:
    session.connection().execute(delete(drivers).where(drivers.c.name == name))


def drivers_of(session: Session) -> list[tuple[str, Mapping[str, Any] | None, Mapping[str, Any] | None]]:
    """Name, settings and outputs of each."""
    query = select(drivers.c.name, drivers.c.settings, drivers.c.outputs)
    return [(row.name, row.settings, row.outputs) for row in session.connection().execute(query)]
