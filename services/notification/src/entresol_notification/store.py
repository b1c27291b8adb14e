"""Notification's own state: routes and channels in force, deliveries, and every attempt at one.

A delivery is `ready` until it is `delivered` or `failed`. It is its channel's queue: nothing of it is kept in memory,
so a restart goes on where it stopped.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from entresol_eventing.envelope import Cause
from entresol_eventing.statements import Statement
from entresol_eventing.store import UtcDateTime, table_base
from sqlalchemy import JSON, BigInteger, Column, Index, Integer, Text, bindparam, delete, func, insert, select, update
from sqlmodel import Field, Session, SQLModel, col

State: TypeAlias = Literal["ready", "delivered", "failed"]

if TYPE_CHECKING:  # a base class that is made by a call has no type of its own

    class Base(SQLModel): ...

else:
    Base = table_base()


class ManifestInForce(Base, table=True):
    """Routes and channels as applied."""

    __tablename__ = "manifest"

    kind: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    document: dict[str, Any] = Field(sa_type=JSON)


class Delivery(Base, table=True):
    """One event for one route."""

    __tablename__ = "delivery"
    __table_args__ = (Index("delivery_queue", "state", "channel", "next_at"), Index("delivery_ended", "ended_at"))

    position: int = Field(
        sa_column=Column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True)
    )
    id: str = Field(unique=True)
    channel: str
    route: str
    event_id: str
    event_type: str
    event: str = Field(sa_type=Text)
    message: str = Field(sa_type=Text)
    cause: dict[str, Any] = Field(sa_type=JSON)
    state: str
    attempts: int
    next_at: datetime = Field(sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Attempt(Base, table=True):
    """One try at a delivery."""

    __tablename__ = "attempt"

    delivery_id: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    began_at: datetime = Field(sa_type=UtcDateTime)
    duration_ms: int
    succeeded: bool
    answer: str = Field(sa_type=Text)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A delivery that is to be tried."""

    id: str
    channel: str
    route: str
    event_id: str
    event_type: str
    event: str
    message: str
    cause: Cause
    attempts: int


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one attempt."""

    state: State
    began_at: datetime
    milliseconds: int
    answer: str
    next_at: datetime
    """When to try again; the end if there is nothing more to try."""


_MANIFESTS, _DELIVERIES, _ATTEMPTS = (Base.metadata.tables[name] for name in ("manifest", "delivery", "attempt"))
_READY = _DELIVERIES.c.state == "ready"
_THIS_CHANNEL = _DELIVERIES.c.channel == bindparam("channel")
_QUEUE = Statement(
    insert(_DELIVERIES).values({one.name: bindparam(one.name) for one in _DELIVERIES.c if one.name != "position"})
)
_ATTEMPT = Statement(insert(_ATTEMPTS))
_TRIED = Statement(
    update(_DELIVERIES)
    .where(_DELIVERIES.c.id == bindparam("delivery"), _READY, _DELIVERIES.c.attempts == bindparam("before"))
    .values({name: bindparam(name) for name in ("state", "attempts", "next_at", "ended_at")})
)
_NEXT_CHANNEL = Statement(
    select(func.min(_DELIVERIES.c.channel)).where(_READY, _DELIVERIES.c.channel > bindparam("channel"))
)
_FIRST_DUE = Statement(select(func.min(_DELIVERIES.c.next_at)).where(_READY, _THIS_CHANNEL))
_CHANNEL = Statement(
    select(_MANIFESTS.c.document).where(_MANIFESTS.c.kind == "Channel", _MANIFESTS.c.name == bindparam("channel"))
)
_DUE = Statement(
    select(*(_DELIVERIES.c[name] for name in ("id", "channel", "route", "event_id", "event_type", "event", "message")))
    .add_columns(_DELIVERIES.c.cause, _DELIVERIES.c.attempts)
    .where(_READY, _THIS_CHANNEL)
    .where((_DELIVERIES.c.next_at <= bindparam("at")) | (_DELIVERIES.c.next_at > bindparam("latest")))
    .order_by(_DELIVERIES.c.next_at, _DELIVERIES.c.position)
    .limit(bindparam("most"))
)


def put_manifest(session: Session, kind: str, name: str, document: dict[str, Any]) -> None:
    remove_manifest(session, kind, name)
    session.execute(insert(ManifestInForce), [{"kind": kind, "name": name, "document": document}])


def remove_manifest(session: Session, kind: str, name: str) -> None:
    session.execute(delete(ManifestInForce).where(col(ManifestInForce.kind) == kind, col(ManifestInForce.name) == name))


def manifests(session: Session, kind: str) -> list[tuple[str, dict[str, Any]]]:
    """Name and document of every manifest of the kind, by name."""
    columns = (col(ManifestInForce.name), col(ManifestInForce.document))
    found = session.execute(select(*columns).where(col(ManifestInForce.kind) == kind).order_by(columns[0]))
    return [(name, document) for name, document in found]


def put_deliveries(session: Session, rows: list[dict[str, Any]]) -> None:
    if rows:
        _QUEUE.many(session.connection(), rows)


def queues(session: Session) -> dict[str, datetime]:
    """Channels with something to deliver, and when the first of it is due.

    Walks from channel to channel in the index, so that a long queue does not make the look slower.
    """
    connection = session.connection()
    found: dict[str, datetime] = {}
    name = ""
    while (following := _NEXT_CHANNEL.first(connection, channel=name)) is not None and following[0] is not None:
        name = following[0]
        first = _FIRST_DUE.first(connection, channel=name)
        if first is not None and first[0] is not None:
            found[name] = first[0]
    return found


def backlog(session: Session) -> tuple[int, datetime | None]:
    """How many deliveries are to be made, and when the first of them should have been tried."""
    count, first = session.execute(
        select(func.count(), func.min(col(Delivery.next_at))).where(col(Delivery.state) == "ready")
    ).one()
    return count, first


def page(
    session: Session, channel: str, at: datetime, limit: int, longest_wait: timedelta | None = None
) -> tuple[Mapping[str, Any] | None, list[Waiting]]:
    """The channel's manifest, None if there is none, and its deliveries that are due, oldest first.

    A delivery is due as well if it seems to be due later than the longest wait: then a clock was set back.
    """
    connection = session.connection()
    manifest = _CHANNEL.first(connection, channel=channel)
    latest = datetime.max.replace(tzinfo=UTC) if longest_wait is None else at + longest_wait
    due = _DUE.rows(connection, channel=channel, at=at, latest=latest, most=limit)
    found = [
        Waiting(name, of, route, event_id, event_type, event, message, Cause.model_validate(cause), attempts)
        for name, of, route, event_id, event_type, event, message, cause, attempts in due
    ]
    return manifest[0] if manifest else None, found


def record(session: Session, waiting: Waiting, result: Result) -> bool:
    """Write down an attempt and what became of the delivery; False if it was not ready any more."""
    number = waiting.attempts + 1
    connection = session.connection()
    tried = _TRIED.change(
        connection,
        delivery=waiting.id,
        before=waiting.attempts,
        state=result.state,
        attempts=number,
        next_at=result.next_at,
        ended_at=None if result.state == "ready" else result.next_at,
    )
    if not tried:
        return False
    _ATTEMPT.change(
        connection,
        delivery_id=waiting.id,
        number=number,
        began_at=result.began_at,
        duration_ms=result.milliseconds,
        succeeded=result.state == "delivered",
        answer=result.answer,
    )
    return True


def prune(session: Session, before: datetime, limit: int) -> int:
    """Forget deliveries that ended before; return how many, at most `limit`."""
    ended = select(col(Delivery.id)).where(col(Delivery.ended_at) < before).limit(limit)
    ids = list(session.execute(ended).scalars())
    if ids:
        session.execute(delete(Attempt).where(col(Attempt.delivery_id).in_(ids)))
        session.execute(delete(Delivery).where(col(Delivery.id).in_(ids)))
    return len(ids)
