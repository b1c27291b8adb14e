"""Intake's tables and the questions it asks of them.

Everything here runs inside somebody else's transaction: the writer thread's for what changes, a reader's for the rest.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from entresol_eventing.statements import Statement
from entresol_eventing.store import UtcDateTime, one_of, table_base
from sqlalchemy import JSON, ColumnElement, Index, Table, Text, bindparam, delete, insert, or_, select, update
from sqlmodel import Field, Session, SQLModel

if TYPE_CHECKING:

    class Base(SQLModel):
        """Type checkers can't follow a base class that a function returns."""
else:
    Base = table_base()


class Request(Base, table=True):
    """What was accepted: lets a cancellation be checked without asking anybody."""

    __tablename__ = "request"
    request_id: str = Field(primary_key=True)
    resource_id: str
    project: str
    correlationid: str
    submitted_at: datetime = Field(sa_type=UtcDateTime)


class Resource(Base, table=True):
    """Resources that exist, by what provisioning said: decides whether `apply` creates or updates."""

    __tablename__ = "resource"
    resource_id: str = Field(primary_key=True)
    offering_version: str


class Approval(Base, table=True):
    """Approvals that policy asked for, so that an answer finds its request and its project."""

    __tablename__ = "approval"
    approval_id: str = Field(primary_key=True)
    request_id: str
    resource_id: str
    project: str
    cause: dict[str, Any] = Field(sa_type=JSON)
    document: dict[str, Any] = Field(sa_type=JSON)
    """What it is about, as whoever answers by link is shown it; empty if it was asked for before there were links."""
    ended: str | None
    """granted, rejected, expired or closed; None while it is open."""


class LinkAnswer(Base, table=True):
    """Answers that were given by link. A link answers once, however often its form is sent."""

    __tablename__ = "link_answer"
    approval_id: str = Field(primary_key=True)
    actor: str = Field(primary_key=True)
    answer: str
    answered_at: datetime = Field(sa_type=UtcDateTime)
    refused: str | None
    """Why policy did not count it, if it said so; then it may be answered again."""


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


class Manifest(Base, table=True):
    """What was applied. A removed version of an offering stays, so that its number can't be given to other content."""

    __tablename__ = "manifest"
    kind: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    version: str = Field(primary_key=True)
    """An offering's version; an entity's blueprint; else empty."""
    digest: str
    document: dict[str, Any] = Field(sa_type=JSON)
    removed: bool
    changed_at: datetime = Field(sa_type=UtcDateTime)


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


def table(model: type[SQLModel]) -> Table:
    """The plain table of a model, for statements that skip the ORM."""
    return Base.metadata.tables[str(model.__tablename__)]


requests, resources, approvals = table(Request), table(Resource), table(Approval)
locks, waivers, link_answers = table(Lock), table(Waiver), table(LinkAnswer)
manifests, idempotency_keys, received, tokens = table(Manifest), table(IdempotencyKey), table(Received), table(Token)


@cache
def _adding(into: Table) -> Statement:
    return Statement(insert(into))


_CHANGE_VERSION = Statement(
    update(resources).where(resources.c.resource_id == bindparam("key")).values(offering_version=bindparam("version"))
)
_ANSWER = Statement(
    select(idempotency_keys.c.digest, idempotency_keys.c.answer).where(
        idempotency_keys.c.scope == bindparam("scope"), idempotency_keys.c.key == bindparam("key")
    )
)


def add(session: Session, into: Table, row: Mapping[str, Any]) -> None:
    """Insert the row, which names every column."""
    _adding(into).change(session.connection(), **row)


def request_of(request_id: str, session: Session) -> Request | None:
    return session.get(Request, request_id)


def approval_of(approval_id: str, session: Session) -> Approval | None:
    return session.get(Approval, approval_id)


def end_approval(approval_id: str, how: str, session: Session) -> None:
    """Remember that nothing waits for an answer any more; the first end is the one that counts."""
    open_one = (approvals.c.approval_id == approval_id) & approvals.c.ended.is_(None)
    session.connection().execute(update(approvals).where(open_one).values(ended=how))


def link_answer_of(approval_id: str, actor: str, session: Session) -> LinkAnswer | None:
    return session.get(LinkAnswer, (approval_id, actor))


def remember_link_answer(given: LinkAnswer, session: Session) -> None:
    """Remember it, in place of one that was refused."""
    forget_link_answer(given.approval_id, given.actor, session)
    add(session, link_answers, given.model_dump())


def refuse_link_answer(approval_id: str, actor: str, reason: str, session: Session) -> None:
    session.connection().execute(update(link_answers).where(_of(approval_id, actor)).values(refused=reason))


def forget_link_answer(approval_id: str, actor: str, session: Session) -> None:
    session.connection().execute(delete(link_answers).where(_of(approval_id, actor)))


def _of(approval_id: str, actor: str) -> ColumnElement[bool]:
    return (link_answers.c.approval_id == approval_id) & (link_answers.c.actor == actor)


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


def version_of(resource_id: str, session: Session) -> str | None:
    """The version a resource was last provisioned with; None if there is no such resource."""
    found = session.connection().execute(
        select(resources.c.offering_version).where(resources.c.resource_id == resource_id)
    )
    return found.scalar()


def remember_resource(resource_id: str, version: str, session: Session) -> None:
    connection = session.connection()
    if not _CHANGE_VERSION.change(connection, key=resource_id, version=version):
        add(session, resources, {"resource_id": resource_id, "offering_version": version})


def forget_resource(resource_id: str, session: Session) -> None:
    session.connection().execute(delete(resources).where(resources.c.resource_id == resource_id))


def answer_of(scope: str, key: str, session: Session) -> tuple[str, str] | None:
    """The body's digest and the answer that belong to a key, if it was used."""
    found = _ANSWER.first(session.connection(), scope=scope, key=key)
    return (found[0], found[1]) if found else None


def documents_of(
    kind: str, session: Session, *names: str, removed: bool = False
) -> Sequence[tuple[dict[str, Any], bool]]:
    """Manifests of a kind, with whether each is removed; all names if none is given."""
    query = select(manifests.c.document, manifests.c.removed).where(manifests.c.kind == kind)
    if names:
        query = query.where(manifests.c.name.in_(names))
    if not removed:
        query = query.where(manifests.c.removed.is_(False))
    ordered = query.order_by(manifests.c.name, manifests.c.version)
    return [(row[0], row[1]) for row in session.connection().execute(ordered)]


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
