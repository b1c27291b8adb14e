"""The watch: says of a request that nobody moves on who was expected to.

It only says so; the picture changes when the fact comes back by the log, so a projection that is rebuilt is the same.
"""

import asyncio
from collections.abc import Generator
from datetime import datetime

from entresol_contracts.events import RequestStalled
from entresol_eventing.envelope import decode, now
from entresol_eventing.reactions import Emit
from entresol_eventing.service import Service
from entresol_eventing.writer import Unavailable
from sqlalchemy import select, update
from sqlmodel import Session

from entresol_catalog.domain.requests import Request
from entresol_catalog.store.shelf import adapter
from entresol_catalog.store.tables import history, request

MOST = 200
"""Requests told of in one transaction."""


async def watch(service: Service, every_seconds: float) -> None:
    """Look every so often; go on at once while there is more than one transaction takes."""
    while True:
        try:
            stalled = await service.read(lambda session: bool(_due(session, now(), 1)))
            count = await service.transact(lambda session: tell(session, now())) if stalled else 0
        except Unavailable:
            count = 0
        if count < MOST:
            await asyncio.sleep(every_seconds)


def tell(session: Session, at: datetime) -> Generator[Emit, None, int]:
    """Say `request.stalled` of each request whose time is over, once; return how many there were.

    Each is said in the chain of the last fact about it.
    """
    documents = _due(session, at, MOST)
    for document in documents:
        stalled = adapter(Request).validate_json(document)
        session.execute(update(request).where(request.c.id == stalled.id).values(check_at=None))
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


def _due(session: Session, at: datetime, limit: int) -> list[str]:
    query = select(request.c.document).where(request.c.check_at <= at).order_by(request.c.check_at).limit(limit)
    return list(session.execute(query).scalars())
