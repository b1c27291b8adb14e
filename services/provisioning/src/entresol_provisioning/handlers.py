"""What provisioning does with the events that it reads."""

from collections.abc import Iterator
from typing import Any, Final

from entresol_contracts import EVENT_TYPES
from entresol_contracts.events import (
    ApprovalExpired,
    ApprovalRejected,
    ManifestApplied,
    ManifestRemoved,
    PlanRequested,
    RequestAllowed,
    RequestCancelled,
    RequestDenied,
    RequestSubmitted,
    RequirementRefused,
    ResumeRequested,
)
from entresol_eventing.envelope import Event
from entresol_eventing.reactions import Outcome, Reactions
from sqlalchemy import Connection
from sqlmodel import Session

from entresol_provisioning import store, waits
from entresol_provisioning.domain.offering import REQUIRES
from entresol_provisioning.domain.requests import OPEN, REFUSED, SUBMITTED, Request
from entresol_provisioning.drifts import look
from entresol_provisioning.hints import HINT, Hints
from entresol_provisioning.offerings import Offerings
from entresol_provisioning.pauses import PAUSE, Pauses
from entresol_provisioning.resources import DRIFT, LIFETIME, Lifetimes
from entresol_provisioning.runs import Runs
from entresol_provisioning.waits import GIVE_UP, RETRY

OUTSIDE: Final = ("change.", "artifact.", "pipeline.", "deployment.", "alert.", "external.")
HINTING: Final = tuple(one.model for one in EVENT_TYPES if one.fact.startswith(OUTSIDE))
"""What an offering may take for a hint that somebody has changed things."""
REFUSALS: Final = {
    RequestDenied: "it was denied",
    ApprovalRejected: "it was not approved",
    ApprovalExpired: "nobody approved it in time",
}


class Handlers:
    """Each method answers one event inside the caller's transaction. A fact that comes too late changes nothing."""

    def __init__(self, offerings: Offerings, runs: Runs) -> None:
        self._offerings = offerings
        self._runs = runs
        self.hints = Hints(offerings)

    def reactions(self) -> Reactions:
        return Reactions(
            to={
                ManifestApplied: self.keep,
                ManifestRemoved: self.drop,
                RequestSubmitted: self.remember,
                PlanRequested: self.plan,
                RequestAllowed: self.begin,
                RequestDenied: self.close,
                RequestCancelled: self.stop,
                ApprovalRejected: self.close,
                ApprovalExpired: self.close,
                ResumeRequested: self.resume,
                RequirementRefused: self.give_up,
                **dict.fromkeys(HINTING, self.hints.hear),
            },
            when_due={
                RETRY: waits.wake,
                GIVE_UP: waits.wake,
                LIFETIME: Lifetimes(self._offerings).look,
                PAUSE: Pauses(self._offerings).end,
                DRIFT: look,
                HINT: self.hints.give_up,
            },
            forget=self._offerings.forget,
        )

    def keep(self, event: Event[ManifestApplied], session: Session) -> Iterator[Outcome]:
        fact = event.data
        connection = session.connection()
        if fact.kind == "Offering":
            self._offerings.keep(connection, fact.digest, fact.name, fact.version or "", fact.manifest)
        elif fact.kind == "Destination":
            store.keep_destination(connection, fact.name, fact.manifest.get("spec", {}))
        yield from ()

    def drop(self, event: Event[ManifestRemoved], session: Session) -> Iterator[Outcome]:
        fact = event.data
        connection = session.connection()
        if fact.kind == "Offering":
            self._offerings.retire(connection, fact.name, fact.version)
        elif fact.kind == "Destination":
            store.keep_destination(connection, fact.name, None)
        yield from ()

    def remember(self, event: Event[RequestSubmitted], session: Session) -> Iterator[Outcome]:
        """Keep the request with the offering as it is now; policy says whether it may begin."""
        ask = event.data
        connection = session.connection()
        row = {
            "id": ask.request_id,
            "resource_id": ask.resource_id,
            "project": ask.project,
            "environment": ask.environment,
            "offering": ask.offering,
            "offering_version": ask.offering_version,
            "offering_digest": self._offerings.digest(connection, ask.offering, ask.offering_version),
            "name": ask.name,
            "action": ask.action,
            "inputs": ask.inputs,
            "actor": {"id": ask.actor.id, "groups": ask.actor.groups},
            "dry_run": ask.dry_run,
            "lifetime_seconds": ask.lifetime_seconds,
            "reason": ask.reason,
            "submitted_at": event.time,
            "state": SUBMITTED,
            "cause": event.cause.model_dump(mode="json", exclude_none=True),
            "destroys": False,
            "steps": 0,
            "class_": ask.class_,
            "requirement": None if ask.requirement is None else ask.requirement.model_dump(),
            "snapshot": None if ask.snapshot is None else ask.snapshot.model_dump(exclude_none=True),
            "orphan": ask.orphan,
        }
        store.add_request(connection, row)
        yield from ()

    def plan(self, event: Event[PlanRequested], session: Session) -> Iterator[Outcome]:
        connection = session.connection()
        yield from self._runs.plan(connection, _moved_on(connection, event), event.time)

    def begin(self, event: Event[RequestAllowed], session: Session) -> Iterator[Outcome]:
        connection = session.connection()
        request = _moved_on(connection, event).but(judged=event.data.inputs_digest)
        yield from self._runs.allow(connection, request, event.data.plan_digest, event.time)

    def close(
        self, event: Event[RequestDenied] | Event[ApprovalRejected] | Event[ApprovalExpired], session: Session
    ) -> Iterator[Outcome]:
        """Policy has ended the request and said so. A review that objects to what is done ends nothing."""
        if isinstance(event.data, ApprovalRejected) and event.data.review:
            return
        connection = session.connection()
        reason = REFUSALS[type(event.data)]
        if isinstance(event.data, RequestDenied):
            reason = f"{reason}: {'; '.join(event.data.because)}"
        yield from self._runs.refuse(connection, _moved_on(connection, event), reason, event.time)

    def resume(self, event: Event[ResumeRequested], session: Session) -> Iterator[Outcome]:
        connection = session.connection()
        request = _moved_on(connection, event)
        store.change_request(connection, request.id, cause=request.cause)
        yield from waits.resume(connection, request, event.data.step, event.data.answer or {})

    def give_up(self, event: Event[RequirementRefused], session: Session) -> Iterator[Outcome]:
        """What a run requires is not offered: remember that as a request that was refused, and wake the run."""
        fact = event.data
        connection = session.connection()
        request = _moved_on(connection, event)
        refused = request.but(
            id=fact.for_request_id, state=REFUSED, run_id=None, stop={"outcome": REFUSED, "reason": fact.reason}
        )
        if store.find_request(connection, fact.for_request_id) is None:
            store.add_refused(connection, refused)
        store.wake(connection, fact.request_id, REQUIRES + fact.name)
        yield from ()

    def stop(self, event: Event[RequestCancelled], session: Session) -> Iterator[Outcome]:
        connection = session.connection()
        request = _moved_on(connection, event)
        if request.state in OPEN:
            reason = f"cancelled by {event.data.by}" + (f": {event.data.reason}" if event.data.reason else "")
            yield from self._runs.cancel(connection, request, reason, event.time)


def _moved_on(connection: Connection, event: Event[Any]) -> Request:
    """The request that the event is about, with the event as the cause of what follows."""
    request = store.find_request(connection, event.data.request_id)
    if request is None:
        raise LookupError(f"the request {event.data.request_id} was never submitted as far as this log goes")
    return request.but(cause=event.cause.model_dump(mode="json", exclude_none=True))
