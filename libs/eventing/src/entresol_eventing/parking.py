"""The park: messages that could not be handled, kept whole until they can be or an operator gives them up.

States: `retrying` (head of its key, tried again at `retry_at`), `behind` (waits for an earlier message of its key),
`dead` (gave up after the last attempt; an operator redrives or discards it, and its followers wait).

What keeps failing is told on the log (see `notices`): `message.parked` from the second failed attempt on (the first
passes by itself most of the time), then `message.quarantined` or `message.released`.
"""

import hashlib
import random
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from entresol_contracts.events import (
    DiscardRequested,
    MessageDiscarded,
    MessageRedriven,
    MessageReleased,
    RedriveRequested,
)
from sqlalchemy import Row, delete, func, insert, select, update
from sqlmodel import Session

from entresol_eventing.envelope import new_id, now
from entresol_eventing.notices import origin, plain, quarantined, still_parked
from entresol_eventing.reactions import Emit, Outcome
from entresol_eventing.store import parked
from entresol_eventing.units import LONGEST_BACKOFF_SECONDS, Recorded, backoff

if TYPE_CHECKING:
    from entresol_eventing.consumer import Handling, Message

LONGEST_WAIT_SECONDS = 5.0
TOLD_FROM = 2
"""Failed attempts from which on a message is told of as parked."""


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
    """Keep a message until the earlier ones of its key are dealt with.

    If the last of them was dealt with in this very transaction, nobody is left to call it: then it is tried at once.
    """
    ahead = session.execute(select(parked.c.position).where(parked.c.partitionkey == key).limit(1)).first()
    position = _insert(message, key, "behind", "waits for an earlier message of its key", 0, session, recorded)
    if ahead is None:
        session.execute(update(parked).where(parked.c.position == position).values(state="retrying", retry_at=now()))


def quarantine(
    message: "Message", service: str, reason: str, session: Session, recorded: Recorded
) -> Iterator[Outcome]:
    """Keep a message that no retry can help, once: a copy of one that is kept says nothing new."""
    message_id = _id_of(message)
    if session.execute(select(parked.c.position).where(parked.c.id == message_id)).first():
        return
    position = _insert(message, None, "dead", reason, 1, session, recorded, message_id)
    yield from quarantined(_get(position, session), reason, 1, service, session)


def _id_of(message: "Message") -> str:
    """An id of what can't be read: a UUIDv8 (RFC 9562) of its place and its bytes, so that a copy has the same."""
    digest = hashlib.sha256(message.log_subject.encode("utf-8", "replace") + b"\0" + message.body).digest()[:16]
    return str(uuid.UUID(int=int.from_bytes(digest) & ~(0xF << 76) & ~(0b11 << 62) | 8 << 76 | 0b10 << 62))


def head(position: int, session: Session) -> Row[Any] | None:
    """The message at that position if it is to be tried now."""
    return session.execute(select(parked).where(parked.c.position == position, parked.c.state == "retrying")).first()


def due(session: Session) -> tuple[list[int], float]:
    """Return the positions whose time for another attempt has come, and the seconds until the next one's."""
    moment = now()
    waiting = select(parked).where(parked.c.state == "retrying")
    # No wait is longer than the longest backoff: what seems to be further away was set before the clock went back.
    beyond = moment + timedelta(seconds=LONGEST_BACKOFF_SECONDS)
    query = waiting.with_only_columns(parked.c.position).where(
        (parked.c.retry_at <= moment) | (parked.c.retry_at > beyond)
    )
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
    elif row.attempts >= TOLD_FROM:
        yield Emit(MessageReleased(message_id=row.id, service=service, attempts=row.attempts + 1), subject=row.id)


def retry_later(row: Row[Any], error: Exception, session: Session, recorded: Recorded, handling: "Handling") -> None:
    """Another attempt failed."""
    attempts, reason = row.attempts + 1, f"{type(error).__name__}: {error}"
    recorded.parking_changed = True
    if attempts >= handling.max_attempts:
        _give_up(row, reason, attempts, session, recorded, handling.service)
    else:
        _schedule(row.position, attempts, reason, session)
        if attempts >= TOLD_FROM:
            recorded.add(still_parked(_get(row.position, session), handling.service, session), origin(row))


def redrive(order: RedriveRequested, service: str, session: Session, recorded: Recorded) -> None:
    """An operator asks that dead letters be tried again as new, or that a parked message be tried now."""
    if order.service != service:
        return
    for row in _wanted(order, session):
        anew = {"state": "retrying", "attempts": 0} if row.state == "dead" else {}
        session.execute(
            update(parked).where(parked.c.position == row.position).values(retry_at=now(), redriven_by=order.by, **anew)
        )
    recorded.parking_changed = True


def discard(order: DiscardRequested, service: str, session: Session, recorded: Recorded) -> Iterator[Outcome]:
    """An operator gives messages up; what waited behind them goes on."""
    if order.service != service:
        return
    for row in _wanted(order, session):
        _remove(row, session)
        yield Emit(
            MessageDiscarded(message_id=row.id, service=service, by=order.by, reason=order.reason),
            subject=row.id,
        )
    recorded.parking_changed = True


def _wanted(order: RedriveRequested | DiscardRequested, session: Session) -> list[Row[Any]]:
    """What an order is about: the message that it names, dead or not; else every dead letter, or those of one type.

    The type is told from where the message lay on the log, for what can't be decoded has no other. Bodies stay where
    they are: there may be many, and large ones.
    """
    columns = (parked.c.position, parked.c.id, parked.c.partitionkey, parked.c.log_subject, parked.c.state)
    query = select(*columns).order_by(parked.c.position)
    if order.message_id is not None:
        query = query.where(parked.c.id == order.message_id, parked.c.state.in_(("dead", "retrying")))
    else:
        query = query.where(parked.c.state == "dead")
    rows = list(session.execute(query))
    if order.event_type is None:
        return rows
    return [row for row in rows if order.event_type.startswith(_fact_prefix(row.log_subject))]


def _fact_prefix(log_subject: str) -> str:
    tokens = log_subject.split(".")
    return ".".join(["dev", "entresol", *tokens[2:4], ""])


def _insert(
    message: "Message",
    key: str | None,
    state: str,
    reason: str,
    attempts: int,
    session: Session,
    recorded: Recorded,
    message_id: str | None = None,
) -> int:
    recorded.parking_changed = True
    if key is not None:
        recorded.parked_keys.add(key)
    inserted = session.execute(
        insert(parked)
        .values(
            id=message_id or new_id(),
            state=state,
            partitionkey=key,
            attempts=attempts,
            reason=plain(reason),
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
        .values(state="retrying", attempts=attempts, reason=plain(reason), retry_at=retry_at)
    )


def _give_up(row: Row[Any], reason: str, attempts: int, session: Session, recorded: Recorded, service: str) -> None:
    session.execute(
        update(parked)
        .where(parked.c.position == row.position)
        .values(state="dead", attempts=attempts, reason=plain(reason), retry_at=None)
    )
    recorded.add(quarantined(row, reason, attempts, service, session), origin(row))
