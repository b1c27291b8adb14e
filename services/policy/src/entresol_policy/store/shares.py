"""What counts in quotas: resources as they are, and what requests that were allowed will make of them."""

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from entresol_eventing.statements import Statement
from sqlalchemy import bindparam, delete, func, insert, or_, select, update
from sqlmodel import Session

from entresol_policy.domain.quotas import Share
from entresol_policy.store.tables import ReservationRow, ResourceRow, ShareRow, table

resource, share, reservation = table(ResourceRow), table(ShareRow), table(ReservationRow)

AS_IT_IS = ""
"""In place of a request: the resource as it is."""

_FIND = Statement(select(resource.c.document).where(resource.c.id == bindparam("key")))
_ADD = Statement(insert(resource))
_CHANGE = Statement(update(resource).where(resource.c.id == bindparam("key")).values(document=bindparam("document")))
_REMOVE = Statement(delete(resource).where(resource.c.id == bindparam("key")))
_RELEASE = Statement(delete(share).where(share.c.request_id == bindparam("key")))
_FREE = Statement(delete(reservation).where(reservation.c.request_id == bindparam("key")))
_ADD_SHARE = Statement(insert(share))
_RESERVE = Statement(insert(reservation))
_CONCERNED = (
    share.c.quota == bindparam("key_quota"),
    or_(share.c.per == bindparam("key_per"), share.c.uncounted.is_not(None)),
)
_LARGEST = (
    select(func.max(share.c.amount).label("amount"))
    .where(*_CONCERNED, share.c.resource_id != bindparam("key_resource"))
    .group_by(share.c.resource_id)
    .subquery()
)
_USED = Statement(select(func.coalesce(func.sum(_LARGEST.c.amount), 0.0)))
_UNCOUNTED = Statement(select(share.c.uncounted).where(*_CONCERNED, share.c.uncounted.is_not(None)).limit(3))
_COUNTED = Statement(
    select(func.coalesce(func.max(share.c.amount), 0.0)).where(
        share.c.quota == bindparam("key_quota"), share.c.resource_id == bindparam("key_resource")
    )
)


def find_resource(session: Session, resource_id: str) -> dict[str, Any] | None:
    found = _FIND.first(session.connection(), key=resource_id)
    return None if found is None else found[0]


def keep_resource(session: Session, resource_id: str, document: dict[str, Any]) -> None:
    connection = session.connection()
    if not _CHANGE.change(connection, key=resource_id, document=document):
        _ADD.change(connection, id=resource_id, document=document)


def remove_resource(session: Session, resource_id: str) -> None:
    _REMOVE.change(session.connection(), key=resource_id)


def discount(session: Session, resource_id: str) -> None:
    """The resource as it was counts no more."""
    condition = (share.c.resource_id == resource_id, share.c.request_id == AS_IT_IS)
    session.connection().execute(delete(share).where(*condition))


def resources(session: Session) -> Iterator[dict[str, Any]]:
    for (document,) in session.connection().execute(select(resource.c.document)):
        yield document


def reserve(session: Session, request_id: str, document: dict[str, Any]) -> None:
    """Remember the resource as the request that is allowed will make it."""
    _RESERVE.change(session.connection(), request_id=request_id, document=document)


def reservations(session: Session) -> list[tuple[str, dict[str, Any]]]:
    """Requests that were allowed and have not come about, each with the resource as it will be."""
    found = session.connection().execute(select(reservation.c.request_id, reservation.c.document))
    return [(row[0], row[1]) for row in found]


def forget_reservations(session: Session) -> None:
    """Nobody counts any more."""
    session.connection().execute(delete(reservation))


def release(session: Session, request_id: str) -> None:
    """What the request was allowed does not count any more: it has come about, or never will."""
    _RELEASE.change(session.connection(), key=request_id)
    _FREE.change(session.connection(), key=request_id)


def forget_quota(session: Session, quota: str) -> None:
    session.connection().execute(delete(share).where(share.c.quota == quota))


def forget_quotas(session: Session, *, but: Collection[str]) -> None:
    session.connection().execute(delete(share).where(share.c.quota.not_in(but)))


def unrecorded(session: Session, quota: str, resource_id: str, request_id: str) -> None:
    """The resource, or the request, counts nothing in the quota."""
    condition = (share.c.quota == quota, share.c.resource_id == resource_id, share.c.request_id == request_id)
    session.connection().execute(delete(share).where(*condition))


def record(session: Session, rows: Iterable[tuple[str, str, str, Share | str]]) -> None:
    """Write down shares by quota, resource and request; a text in place of a share says why it can't be counted."""
    connection = session.connection()
    for quota, resource_id, request_id, counted in rows:
        known = isinstance(counted, Share)
        row = {
            "quota": quota,
            "resource_id": resource_id,
            "request_id": request_id,
            "per": counted.per if isinstance(counted, Share) else "",
            "amount": counted.amount if isinstance(counted, Share) else 0.0,
            "uncounted": None if known else counted,
        }
        _ADD_SHARE.change(connection, **row)


def used(session: Session, quota: str, per: str, *, without: str) -> tuple[float, list[str]]:
    """How much of the share is used by other resources than `without`, and why some could not be counted."""
    connection = session.connection()
    values = {"key_quota": quota, "key_per": per}
    (amount,) = _USED.rows(connection, **values, key_resource=without)[0]
    return float(amount), [str(row[0]) for row in _UNCOUNTED.rows(connection, **values)]


def counted(session: Session, quota: str, resource_id: str) -> float:
    """The most that the resource counts already, as it is or as a request was allowed."""
    (amount,) = _COUNTED.rows(session.connection(), key_quota=quota, key_resource=resource_id)[0]
    return float(amount)
