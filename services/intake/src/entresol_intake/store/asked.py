"""What was asked for, and the resources that came of it."""

from datetime import datetime

from entresol_eventing.statements import Statement
from entresol_eventing.store import UtcDateTime
from sqlalchemy import bindparam, delete, select, update
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


class Reconciliation(Base, table=True):
    """Requests to put right what drifted that have not ended: no further one is made for their resource meanwhile."""

    __tablename__ = "reconciliation"
    request_id: str = Field(primary_key=True)
    resource_id: str = Field(index=True)


requests, resources, reconciliations = table(Request), table(Resource), table(Reconciliation)

_END_RECONCILIATION = Statement(delete(reconciliations).where(reconciliations.c.request_id == bindparam("request_id")))
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
    """It is gone, and nothing of it will be put right any more."""
    session.connection().execute(delete(resources).where(resources.c.resource_id == resource_id))
    session.connection().execute(delete(reconciliations).where(reconciliations.c.resource_id == resource_id))


def is_reconciled(resource_id: str, session: Session) -> bool:
    """Whether a request to put it right is open."""
    query = select(reconciliations.c.request_id).where(reconciliations.c.resource_id == resource_id).limit(1)
    return session.connection().execute(query).first() is not None


def begin_reconciliation(request_id: str, resource_id: str, session: Session) -> None:
    add(session, reconciliations, {"request_id": request_id, "resource_id": resource_id})


def end_reconciliation(request_id: str, session: Session) -> None:
    """The request has ended, however; nothing happens if it was for something else."""
    _END_RECONCILIATION.change(session.connection(), request_id=request_id)
