"""Pauses: a resource that somebody works on by hand is left alone until they are done, or have forgotten it.

While it is paused nothing changes it: requests for that fail and say why, drift is not looked for, and it does not
expire. What it missed is caught up with at the end.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from entresol_contracts.events import ResourcePaused, ResourceUnpaused
from entresol_eventing.envelope import now
from entresol_eventing.reactions import Cancel, Deadline, Due, Outcome
from sqlalchemy import Connection
from sqlmodel import Session

from entresol_provisioning import drifts, store
from entresol_provisioning.domain.graph import Impossible
from entresol_provisioning.domain.offering import Offering
from entresol_provisioning.domain.requests import Request, Resource
from entresol_provisioning.offerings import Offerings
from entresol_provisioning.resources import emit, end_if_over, names

PAUSE: Final = "pause"
BY_ITSELF: Final = "system:pause"


def pause(
    connection: Connection, request: Request, offering: Offering, resource: Resource, at: datetime
) -> Iterator[Outcome]:
    """Leave it alone from now on, in the place of any pause before; raise Impossible without a reason or an end."""
    if request.lifetime_seconds is None or not request.reason:
        raise Impossible("a pause needs a reason, and for how long it is")
    until = at + timedelta(seconds=request.lifetime_seconds)
    by = request.actor["id"]
    paused = {"by": by, "reason": request.reason, "until": until.isoformat()}
    current = _changed(connection, resource, paused=paused, request_id=request.id)
    said: dict[str, Any] = {"request_id": request.id, "by": by, "reason": request.reason, "until": until}
    yield emit(current, ResourcePaused(**names(current), **said))
    yield Deadline(f"{PAUSE}:{resource.id}", PAUSE, until, {"resource_id": resource.id})
    yield from end_if_over(current, at)


def unpause(
    connection: Connection, request: Request, offering: Offering, resource: Resource, at: datetime
) -> Iterator[Outcome]:
    yield Cancel(f"{PAUSE}:{resource.id}")
    current = _changed(connection, resource, paused=None, request_id=request.id)
    yield emit(current, ResourceUnpaused(**names(current), request_id=request.id, by=request.actor["id"]))
    yield from end_if_over(current, at)
    drifts.look_soon(connection, current, offering)


class Pauses:
    """Answers when the end of a pause has come."""

    def __init__(self, offerings: Offerings) -> None:
        self._offerings = offerings

    def end(self, due: Due, session: Session) -> Iterator[Outcome]:
        connection, at = session.connection(), now()
        resource = store.find_resource(connection, due.args["resource_id"])
        if resource is None or resource.paused is None or datetime.fromisoformat(resource.paused["until"]) > at:
            return
        current = _changed(connection, resource, paused=None)
        yield emit(current, ResourceUnpaused(**names(current), by=BY_ITSELF), actor=BY_ITSELF)
        yield from end_if_over(current, at)
        offering = self._offerings.get(connection, resource.offering_digest)
        drifts.look_soon(connection, current, offering)


def _changed(connection: Connection, resource: Resource, **changes: Any) -> Resource:
    current = replace(resource, revision=resource.revision + 1, **changes)
    store.save_resource(connection, current, known=True)
    return current
