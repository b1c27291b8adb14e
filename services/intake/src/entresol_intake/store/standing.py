"""Locks and waivers, and whether they still stand."""

from datetime import datetime

from entresol_eventing.store import UtcDateTime
from sqlalchemy import Table, or_, update
from sqlmodel import Field, Session

from entresol_intake.store.base import Base, table


class Lock(Base, table=True):
    """Locks that were placed: who may lift one, and whether there is anything left to lift."""

    __tablename__ = "lock"
    lock_id: str = Field(primary_key=True)
    placed_by: str
    project: str | None
    """The project that it can't reach out of; None if it covers several."""
    placed_at: datetime = Field(sa_type=UtcDateTime)
    ends_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When it was lifted, if it was."""


class Waiver(Base, table=True):
    """Waivers that were granted."""

    __tablename__ = "waiver"
    waiver_id: str = Field(primary_key=True)
    project: str | None
    """The project that it can't reach out of; None if it covers several."""
    granted_at: datetime = Field(sa_type=UtcDateTime)
    ends_at: datetime = Field(sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When it was revoked, if it was."""


locks, waivers = table(Lock), table(Waiver)


def lock_of(lock_id: str, session: Session) -> Lock | None:
    return session.get(Lock, lock_id)


def waiver_of(waiver_id: str, session: Session) -> Waiver | None:
    return session.get(Waiver, waiver_id)


def end(standing: Table, identifier: str, at: datetime, session: Session) -> bool:
    """End a lock or waiver; return False if there is none that has not ended, by itself or by somebody."""
    (key,) = standing.primary_key.columns
    stands = or_(standing.c.ends_at.is_(None), standing.c.ends_at > at)
    ending = update(standing).where(key == identifier, standing.c.ended_at.is_(None), stands).values(ended_at=at)
    return session.connection().execute(ending).rowcount == 1
