"""The watch: says of a request that nobody moves on who was expected to.

It only says so; the picture changes when the fact comes back by the log, so a projection that is rebuilt is the same.
It says nothing while the picture is behind the log: what looks like a standstill may have moved on long ago.
"""

import asyncio
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from entresol_contracts.events import RequestStalled
from entresol_eventing.envelope import decode, now
from entresol_eventing.reactions import Emit
from entresol_eventing.service import Service
from entresol_eventing.telemetry import Metrics
from entresol_eventing.writer import Unavailable
from sqlalchemy import ColumnElement, func, select, update
from sqlmodel import Session

from entresol_catalog.domain.listings import Manifest
from entresol_catalog.domain.patience import stalls_at
from entresol_catalog.domain.requests import TERMINAL, Request
from entresol_catalog.store.shelf import adapter
from entresol_catalog.store.tables import approval, history, manifest, request, resource

MOST = 200
"""Requests told of in one transaction."""
CALM_LOOKS = 2
"""Looks in a row that must find the picture complete before anything is said."""
RECENT = timedelta(seconds=10)
"""Under load there is always something that is not read yet; a picture this young is complete enough."""

_RUNS = tuple(
    f"dev.entresol.run.{fact}.v1"
    for fact in ("planned", "started", "progressed", "suspended", "succeeded", "failed", "cancelled")
)


async def watch(service: Service, every_seconds: float, patience_seconds: Mapping[str, float]) -> None:
    """Look every so often; go on at once while there is more than one transaction takes."""
    calm = 0
    while True:
        count = 0
        try:
            calm = calm + 1 if await _complete(service) else 0
            if calm >= CALM_LOOKS and await service.read(lambda session: bool(_due(session, now(), 1))):
                count = await service.transact(lambda session: tell(session, now(), patience_seconds))
            _show(service, await service.read(partial(standing, at=now())))
        except Unavailable:
            pass
        if count < MOST:
            await asyncio.sleep(every_seconds)


async def _complete(service: Service) -> bool:
    health = service.health()
    if not health["ready"]:
        return False
    return health["lag_messages"] == 0 or await service.read(_newest) > now() - RECENT


def tell(session: Session, at: datetime, patience_seconds: Mapping[str, float]) -> Generator[Emit, None, int]:
    """Say `request.stalled` of each request whose time is over, once; return how many were looked at.

    Each is said in the chain of the last fact about it. What waits legitimately is looked at again later.
    """
    documents = _due(session, at, MOST)
    for document in documents:
        stalled = adapter(Request).validate_json(document)
        until = stalls_at(
            stalled,
            patience_seconds,
            busy=_is_busy(stalled, session),
            freed_at=_freed_at(stalled, session),
            offering=_offering(stalled, session),
            at=at,
        )
        look = until if until > at else None
        session.execute(update(request).where(request.c.id == stalled.id).values(check_at=look))
        if look is not None:
            continue
        last = select(history.c.body).where(history.c.request_id == stalled.id).order_by(history.c.position.desc())
        body = session.execute(last.limit(1)).scalar_one()
        yield Emit(
            RequestStalled(
                request_id=stalled.id,
                resource_id=stalled.resource,
                project=stalled.project,
                state=stalled.state,
                expected=stalled.expected,
                since=stalled.updated_at,
            ),
            subject=stalled.id,
            partitionkey=stalled.resource,
            actor="system:catalog",
            cause=decode(body.encode()).cause,
        )
    return len(documents)


def _others(one: Request) -> ColumnElement[bool]:
    return (request.c.resource == one.resource) & (request.c.id != one.id)


def _is_busy(one: Request, session: Session) -> bool:
    running = select(request.c.id).where(_others(one), request.c.state.in_(("running", "planned")))
    return session.execute(running.limit(1)).first() is not None


def _freed_at(one: Request, session: Session) -> datetime | None:
    """When a run of another request on the resource was heard of last."""
    query = select(func.max(history.c.time)).join_from(history, request, history.c.request_id == request.c.id)
    return session.execute(query.where(_others(one), history.c.type.in_(_RUNS))).scalar()


def _offering(one: Request, session: Session) -> Mapping[str, object] | None:
    named = (manifest.c.kind == "Offering", manifest.c.name == one.offering, manifest.c.version == one.offering_version)
    document = session.execute(select(manifest.c.document).where(*named)).scalar()
    return None if document is None else adapter(Manifest).validate_json(document).manifest


def _newest(session: Session) -> datetime:
    query = select(history.c.time).order_by(history.c.position.desc()).limit(1)
    return session.execute(query).scalar() or now()


@dataclass(frozen=True, slots=True)
class Standing:
    """What waits now, counted."""

    stalled: int
    """Requests that were told of and have not moved since: open, and with nothing to be looked at again."""
    held: int
    reviews: int
    """Broken glasses that nobody has signed off."""
    overdue: int
    """Those of them that should have been by now."""


def standing(session: Session, at: datetime) -> Standing:
    open_reviews = (approval.c.state == "pending") & approval.c.review_by.is_not(None)
    return Standing(
        stalled=_count(session, request.c.state.not_in(sorted(TERMINAL)) & request.c.check_at.is_(None)),
        held=_count(session, request.c.state == "held"),
        reviews=_count(session, open_reviews),
        overdue=_count(session, open_reviews & (approval.c.review_by <= at)),
    )


def show(metrics: Metrics, service: str, session: Session) -> None:
    """Set the gauge of what only the catalog remembers: resources that are gone, but for something of them."""
    left = (resource.c.state == "deleted") & resource.c.document.contains('"orphaned":[{', autoescape=True)
    metrics.orphaned.labels(service).set(_count(session, left))


def _count(session: Session, condition: ColumnElement[bool]) -> int:
    count: int = session.execute(select(func.count()).where(condition)).scalar_one()
    return count


def _show(service: Service, waiting: Standing) -> None:
    metrics = service.telemetry.metrics
    metrics.stalled.labels(service.name).set(waiting.stalled)
    metrics.held.labels(service.name).set(waiting.held)
    metrics.reviews.labels(service.name).set(waiting.reviews)
    metrics.reviews_overdue.labels(service.name).set(waiting.overdue)


def _due(session: Session, at: datetime, limit: int) -> list[str]:
    query = select(request.c.document).where(request.c.check_at <= at).order_by(request.c.check_at).limit(limit)
    return list(session.execute(query).scalars())
