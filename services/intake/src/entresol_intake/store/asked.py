"""What was asked for, and the resources that came of it."""

from datetime import datetime

from entresol_eventing.statements import Statement
from entresol_eventing.store import UtcDateTime
from sqlalchemy import Index, bindparam, delete, select, update
from sqlmodel import Field, Session

from entresol_intake.store.base import Base, add, table


class Request(Base, table=True):
    """What was accepted: lets a cancellation be checked without asking anybody."""

    __tablename__ = "request"
    request_id: str = Field(primary_key=True)
    resource_id: str
    project: str
    correlationid: str
    submitted_at: datetime = Field(sa_type=UtcDateTime)


class Resource(Base, table=True):
    """Resources that exist, by what provisioning said: decides what `apply` means, and which version an ask does."""

    __tablename__ = "resource"
    resource_id: str = Field(primary_key=True)
    offering_version: str


class OpenRequest(Base, table=True):
    """Requests to put a resource right, or to delete it, that have not ended: the platform asks for no other."""

    __tablename__ = "open_request"
    request_id: str = Field(primary_key=True)
    resource_id: str
    action: str
    __table_args__ = (Index("ix_reconciliation_resource_id", "resource_id"),)


requests, resources, open_requests = table(Request), table(Resource), table(OpenRequest)

_CLOSE = Statement(delete(open_requests).where(open_requests.c.request_id == bindparam("request_id")))
_CHANGE_VERSION = Statement(
    update(resources).where(resources.c.resource_id == bindparam("key")).values(offering_version=bindparam("version"))
)


def request_of(request_id: str, session: Session) -> Request | None:
    return session.get(Request, request_id)


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
    """It is gone, with what was still to be done with it."""
    session.connection().execute(delete(resources).where(resources.c.resource_id == resource_id))
    session.connection().execute(delete(open_requests).where(open_requests.c.resource_id == resource_id))


def is_open(resource_id: str, action: str, session: Session) -> bool:
    """Whether a request for that is open."""
    query = select(open_requests.c.request_id).where(
        open_requests.c.resource_id == resource_id, open_requests.c.action == action
    )
    return session.connection().execute(query.limit(1)).first() is not None


def keep_open(request_id: str, resource_id: str, action: str, session: Session) -> None:
    """Remember that it is open, if there is such a resource: its end is not heard of otherwise."""
    if version_of(resource_id, session) is not None:
        add(session, open_requests, {"request_id": request_id, "resource_id": resource_id, "action": action})


def close_request(request_id: str, session: Session) -> None:
    """The request has ended, however; nothing happens if it was for something else."""
    _CLOSE.change(session.connection(), request_id=request_id)
