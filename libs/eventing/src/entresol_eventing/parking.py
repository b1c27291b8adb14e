"""The park: messages that could not be handled, kept whole until they can be or an operator gives them up.

States: `retrying` (head of its key, tried again at `retry_at`), `behind` (waits for an earlier message of its key),
`dead` (gave up after the last attempt; an operator redrives or discards it, and its followers wait).
"""

import base64
import hashlib
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from entresol_contracts.events import (
    DiscardRequested,
    MessageDiscarded,
    MessageQuarantined,
    MessageRedriven,
    RedriveRequested,
)
from sqlalchemy import Row, Select, delete, func, insert, select, update
from sqlmodel import Session

from entresol_eventing.envelope import Cause, Event, Malformed, decode, new_id, now
from entresol_eventing.reactions import Emit, Outcome
from entresol_eventing.store import parked
from entresol_eventing.units import Recorded, backoff

if TYPE_CHECKING:
    from entresol_eventing.consumer import Handling, Message

SHOWN_BYTES = 64 * 1024
LONGEST_WAIT_SECONDS = 5.0


def origin(message: "Message | Row[Any] | None") -> Cause:
    """What a message says about its chain; empty if it says nothing that can be read."""
    if message is None:
        return Cause()
    try:
        return decode(message.body).cause
    except Malformed:
        return Cause()


def park(
    message: "Message", key: str | None, error: Exception, session: Session, recorded: Recorded, handling: "Handling"
) -> None:
    """Keep a message whose first attempt failed."""
    position = _insert(message, key, "retrying", f"{type(error).__name__}: {error}", 1, session, recorded)
    row = _get(position, session)
    if handling.max_attempts <= 1:
        _give_up(row, row.reason, 1, session, recorded, handling.service)
    else:
        _schedule(row.position, 1, row.reason, session)


def park_behind(message: "Message", key: str, session: Session, recorded: Recorded) -> None:
    """Keep a message until the earlier ones of its key are dealt with."""
    _insert(message, key, "behind", "waits for an earlier message of its key", 0, session, recorded)


def quarantine(
    message: "Message", service: str, reason: str, session: Session, recorded: Recorded
) -> Iterator[Outcome]:
    """Keep a message that no retry can help."""
    if session.execute(
        select(parked.c.position).where(
            parked.c.log_subject == message.log_subject, parked.c.body == message.body, parked.c.state == "dead"
        )
    ).first():
        return
    position = _insert(message, None, "dead", reason, 1, session, recorded)
    yield from _quarantined(_get(position, session), reason, 1, service)


def head(position: int, session: Session) -> Row[Any] | None:
    """The message at that position if it is to be tried now."""
    return session.execute(select(parked).where(parked.c.position == position, parked.c.state == "retrying")).first()


def due(session: Session) -> tuple[list[int], float]:
    """Return the positions whose time for another attempt has come, and the seconds until the next one's."""
    moment = now()
    waiting = select(parked).where(parked.c.state == "retrying")
    query = waiting.with_only_columns(parked.c.position).where(parked.c.retry_at <= moment)
    positions = list(session.execute(query.order_by(parked.c.position).limit(100)).scalars())
    upcoming = session.execute(waiting.with_only_columns(func.min(parked.c.retry_at))).scalar()
    wait = LONGEST_WAIT_SECONDS if upcoming is None else (upcoming - moment).total_seconds()
    return positions, min(max(wait, 0.001), LONGEST_WAIT_SECONDS)


def released(row: Row[Any], service: str, session: Session, recorded: Recorded) -> Iterator[Outcome]:
    """A parked message was handled: forget it and let the next of its key try."""
    _remove(row, session)
    recorded.parking_changed = True
    if row.redriven_by:
        yield Emit(MessageRedriven(message_id=row.id, service=service, by=row.redriven_by), subject=row.id)


def retry_later(row: Row[Any], error: Exception, session: Session, recorded: Recorded, handling: "Handling") -> None:
    """Another attempt failed."""
    attempts, reason = row.attempts + 1, f"{type(error).__name__}: {error}"
    recorded.parking_changed = True
    if attempts >= handling.max_attempts:
        _give_up(row, reason, attempts, session, recorded, handling.service)
    else:
        _schedule(row.position, attempts, reason, session)


def redrive(order: RedriveRequested, at: datetime, service: str, session: Session, recorded: Recorded) -> None:
    """An operator asks that dead letters be tried again, as new."""
    if order.service != service:
        return
    wanted = parked.c.state == "dead"
    if order.message_id is not None:
        wanted &= parked.c.id == order.message_id
    session.execute(
        update(parked).where(wanted).values(state="retrying", attempts=0, retry_at=at, redriven_by=order.by)
    )
    recorded.parking_changed = True


def discard(order: DiscardRequested, service: str, session: Session, recorded: Recorded) -> Iterator[Outcome]:
    """An operator gives dead letters up; what waited behind them goes on."""
    if order.service != service:
        return
    query: Select[Any] = select(parked).where(parked.c.state == "dead")
    if order.message_id is not None:
        query = query.where(parked.c.id == order.message_id)
    for row in session.execute(query).all():
        _remove(row, session)
        yield Emit(
            MessageDiscarded(message_id=row.id, service=service, by=order.by, reason=order.reason),
            subject=row.id,
        )
    recorded.parking_changed = True


def _insert(
    message: "Message", key: str | None, state: str, reason: str, attempts: int, session: Session, recorded: Recorded
) -> int:
    recorded.parking_changed = True
    if key is not None:
        recorded.parked_keys.add(key)
    inserted = session.execute(
        insert(parked)
        .values(
            id=new_id(),
            state=state,
            partitionkey=key,
            attempts=attempts,
            reason=reason[:2000],
            log_subject=message.log_subject,
            headers=message.headers,
            body=message.body,
            parked_at=now(),
        )
        .returning(parked.c.position)
    )
    position: int = inserted.scalar_one()
    return position


def _get(position: int, session: Session) -> Row[Any]:
    return session.execute(select(parked).where(parked.c.position == position)).one()


def _remove(row: Row[Any], session: Session) -> None:
    session.execute(delete(parked).where(parked.c.position == row.position))
    if row.partitionkey is None:
        return
    following = (
        select(parked.c.position)
        .where(parked.c.partitionkey == row.partitionkey, parked.c.state == "behind")
        .order_by(parked.c.position)
        .limit(1)
        .scalar_subquery()
    )
    session.execute(
        update(parked).where(parked.c.position == following).values(state="retrying", attempts=0, retry_at=now())
    )


def _schedule(position: int, attempts: int, reason: str, session: Session) -> None:
    retry_at = now() + timedelta(seconds=backoff(attempts, random.random()))
    session.execute(
        update(parked)
        .where(parked.c.position == position)
        .values(state="retrying", attempts=attempts, reason=reason[:2000], retry_at=retry_at)
    )


def _give_up(row: Row[Any], reason: str, attempts: int, session: Session, recorded: Recorded, service: str) -> None:
    session.execute(
        update(parked)
        .where(parked.c.position == row.position)
        .values(state="dead", attempts=attempts, reason=reason[:2000], retry_at=None)
    )
    recorded.add(_quarantined(row, reason, attempts, service), origin(row))


def _quarantined(row: Row[Any], reason: str, attempts: int, service: str) -> Iterator[Outcome]:
    """Say that a message is dead, unless it is itself such a notice: that would never end."""
    try:
        event: Event[Any] | None = decode(row.body)
    except Malformed:
        event = None
    if ".message.quarantined." in row.log_subject:
        return
    yield Emit(
        MessageQuarantined(
            message_id=row.id,
            service=service,
            reason=reason[:2000],
            attempts=attempts,
            log_subject=row.log_subject,
            event_id=event.id if event else None,
            event_type=event.type if event else None,
            event_partitionkey=row.partitionkey,
            body=base64.b64encode(row.body[:SHOWN_BYTES]).decode(),
            size_bytes=len(row.body),
            digest="sha256:" + hashlib.sha256(row.body).hexdigest(),
        ),
        subject=row.id,
    )
