"""What the doors remember: answers that were given, what was let in, and who may come in."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from entresol_eventing.statements import Statement
from entresol_eventing.store import UtcDateTime, one_of
from sqlalchemy import JSON, Index, Text, bindparam, delete, insert, select
from sqlmodel import Field, Session

from entresol_intake.store.base import Base, table


class IdempotencyKey(Base, table=True):
    """Answers that were given, to be given again to whoever repeats the key."""

    __tablename__ = "idempotency_key"
    scope: str = Field(primary_key=True)
    """Actor and project."""
    key: str = Field(primary_key=True)
    digest: str
    answer: str = Field(sa_type=Text)
    answered_at: datetime = Field(sa_type=UtcDateTime)
    __table_args__ = (Index("idempotency_key_answered", "answered_at"),)


class Received(Base, table=True):
    """Outside events that were let in, by (source, id); a second copy is folded into the first."""

    __tablename__ = "received"
    source: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    door: str
    received_at: datetime = Field(sa_type=UtcDateTime)
    __table_args__ = (Index("received_at", "received_at"),)


class Token(Base, table=True):
    """Bearer tokens, by the hash of each."""

    __tablename__ = "token"
    token_id: str = Field(primary_key=True)
    hash: str = Field(unique=True)
    actor: str
    groups: list[str] = Field(sa_type=JSON)
    role: str
    projects: list[str] = Field(sa_type=JSON)
    issued_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


idempotency_keys, received, tokens = table(IdempotencyKey), table(Received), table(Token)

_ANSWER = Statement(
    select(idempotency_keys.c.digest, idempotency_keys.c.answer).where(
        idempotency_keys.c.scope == bindparam("scope"), idempotency_keys.c.key == bindparam("key")
    )
)


def answer_of(scope: str, key: str, session: Session) -> tuple[str, str] | None:
    """The body's digest and the answer that belong to a key, if it was used."""
    found = _ANSWER.first(session.connection(), scope=scope, key=key)
    return (found[0], found[1]) if found else None


def unknown(keys: Sequence[tuple[str, str]], session: Session) -> set[tuple[str, str]]:
    """Those (source, id) that were not received before."""
    found: set[tuple[str, str]] = set()
    for start in range(0, len(keys), 200):
        chunk = keys[start : start + 200]
        rows = session.connection().execute(
            select(received.c.source, received.c.id).where(one_of((received.c.source, received.c.id), chunk))
        )
        found |= {(row[0], row[1]) for row in rows}
    return set(keys) - found


def remember_received(keys: Iterable[tuple[str, str]], door: str, at: datetime, session: Session) -> None:
    rows = [{"source": source, "id": event_id, "door": door, "received_at": at} for source, event_id in keys]
    if rows:
        session.connection().execute(insert(received), rows)


def door_of(source: str, event_id: str, session: Session) -> str | None:
    found = session.connection().execute(
        select(received.c.door).where(received.c.source == source, received.c.id == event_id)
    )
    return found.scalar()


def sweep(answered_before: datetime, received_before: datetime, session: Session) -> None:
    """Forget answers and deliveries that are too old to be repeated."""
    connection = session.connection()
    connection.execute(delete(idempotency_keys).where(idempotency_keys.c.answered_at < answered_before))
    connection.execute(delete(received).where(received.c.received_at < received_before))
