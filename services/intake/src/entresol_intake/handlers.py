"""What intake does with what arrives by the log: remember approvals and resources, fire triggers, ask for what
runs require, put right what drifted, end what expired.

Nothing that arrives is dropped without a word: an event that can't be let in, and a trigger that can't say what it
wants, is told as `delivery.refused`.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from entresol_contracts import Payload
from entresol_contracts.events import (
    AnswerCounted,
    AnswerRefused,
    ApprovalClosed,
    ApprovalExpired,
    ApprovalGranted,
    ApprovalRejected,
    ApprovalRequested,
    DriverAnnounced,
    DriverWithdrawn,
    RequestDenied,
    RequirementRequested,
    ResourceChanged,
    ResourceDeleted,
    ResourceDrifted,
    ResourceExpired,
    ResourceProvisioned,
    RunCancelled,
    RunFailed,
)
from entresol_eventing.envelope import Event, new_id, now
from entresol_eventing.http import Problem
from entresol_eventing.reactions import Emit
from entresol_manifests.expressions import ExpressionError, Scope
from entresol_manifests.guard import Guard
from sqlmodel import Session

from entresol_intake.binding import STRUCTURED, Unsupported, read_events
from entresol_intake.domain.asks import BEGINNINGS, DELETE, Ask
from entresol_intake.domain.faults import Fault, Invalid
from entresol_intake.domain.outside import fits
from entresol_intake.drift import correct
from entresol_intake.facts import receive, refused, state
from entresol_intake.offerings import Fitting
from entresol_intake.requirements import require
from entresol_intake.shelf import Shelf
from entresol_intake.store import (
    add,
    approval_of,
    approvals,
    close_request,
    door_of,
    drivers_of,
    end_approval,
    forget_driver,
    forget_link_answer,
    forget_resource,
    is_open,
    keep_driver,
    refuse_link_answer,
    remember_resource,
    version_of,
)
from entresol_intake.submission import submit
from entresol_intake.triggers import Trigger
from entresol_intake.versions import choose

EXPIRY = "system:expiry"
SHARE: Final = 0.25
"""Of the time, that one heavy expression of a trigger may take."""

Ending = ApprovalGranted | ApprovalRejected | ApprovalExpired | ApprovalClosed
ENDINGS: Final[Mapping[type[Payload], str]] = {
    ApprovalGranted: "granted",
    ApprovalRejected: "rejected",
    ApprovalExpired: "expired",
    ApprovalClosed: "closed",
}
Failure = RequestDenied | RunFailed | RunCancelled
SHOWN: Final = frozenset(
    {
        "offering",
        "action",
        "requested_by",
        "reason",
        "policy",
        "because",
        "approvers",
        "count",
        "all",
        "expires_at",
        "review",
        "plan",
    }
)
"""What of an approval the page behind a link shows."""


class Handlers:
    """Handlers that share what is kept of the manifests."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._guard = Guard(share=SHARE)

    def remember_approval(self, event: Event[ApprovalRequested], session: Session) -> Iterator[Emit]:
        if approval_of(event.data.approval_id, session) is None:
            row = {
                "approval_id": event.data.approval_id,
                "request_id": event.data.request_id,
                "resource_id": event.data.resource_id,
                "project": event.data.project,
                "cause": event.cause.model_dump(mode="json"),
                "document": event.data.model_dump(mode="json", include=set(SHOWN), exclude_none=True),
                "ended": None,
            }
            add(session, approvals, row)
        yield from ()

    def close_approval(self, event: Event[Ending], session: Session) -> Iterator[Emit]:
        end_approval(event.data.approval_id, ENDINGS[type(event.data)], session)
        if isinstance(event.data, ApprovalRejected | ApprovalExpired):
            close_request(event.data.request_id, session)
        yield from ()

    def reopen_link(self, event: Event[AnswerRefused | AnswerCounted], session: Session) -> Iterator[Emit]:
        """What did not count, or was taken back, may be answered again by the same link."""
        said = event.data
        if isinstance(said, AnswerRefused):
            refuse_link_answer(said.approval_id, said.by, event.causationid, said.reason, session)
        elif said.said == "withdrawn":
            forget_link_answer(said.approval_id, said.by, session)
        yield from ()

    def remember(self, event: Event[ResourceProvisioned | ResourceChanged], session: Session) -> Iterator[Emit]:
        remember_resource(event.data.resource_id, event.data.offering_version, session)
        close_request(event.data.request_id, session)
        yield from self.fire(event, session)

    def forget(self, event: Event[ResourceDeleted], session: Session) -> Iterator[Emit]:
        forget_resource(event.data.resource_id, session)
        yield from self.fire(event, session)

    def end(self, event: Event[ResourceExpired], session: Session) -> Iterator[Emit]:
        """Ask for the deletion of a resource whose lifetime is over, in the chain of its expiry; once at a time."""
        gone = event.data
        yield from self.fire(event, session)
        if is_open(gone.resource_id, DELETE, session):
            return
        ask = Ask(
            offering=gone.offering,
            version=gone.offering_version,
            action=DELETE,
            project=gone.project,
            environment=gone.environment,
            name=gone.name,
            inputs={},
            lifetime=None,
            reason=f"its lifetime ended at {gone.expired_at.isoformat()}",
            dry_run=False,
        )
        fitting = Fitting(ask, gone.offering_version, DELETE, {}, None)
        yield from submit(fitting, new_id(), EXPIRY, (), event.time, session, correlationid=event.correlationid)

    def require(self, event: Event[RequirementRequested], session: Session) -> Iterator[Emit]:
        """Ask for what a run requires, as the actor of that run and in its chain."""
        yield from require(event.data, event.correlationid, event.time, self._shelf, session)

    def correct(self, event: Event[ResourceDrifted], session: Session) -> Iterator[Emit]:
        """Ask that what has drifted be put right, where its offering wants that."""
        yield from correct(event, self._shelf, session)
        yield from self.fire(event, session)

    def close(self, event: Event[Failure], session: Session) -> Iterator[Emit]:
        """What was denied, failed or stopped is not going to put anything right; it may be asked for again."""
        close_request(event.data.request_id, session)
        yield from ()

    def fire(self, event: Event[Any], session: Session) -> Iterator[Emit]:
        """Ask for what the triggers that wait for this event want."""
        waiting = self._shelf.triggers(session).get(event.type)
        if not waiting:
            return
        scope = Scope(event=event.model_dump(mode="json", by_alias=True, exclude_none=True))
        for trigger in waiting:
            try:
                fitting = self._fitting(trigger, scope, event.actor, session)
            except ExpressionError as error:
                yield self._refused(trigger, event, f"{error.pointer} {error.message}".strip(), session)
            except Invalid as invalid:
                yield self._refused(trigger, event, str(invalid), session)
            else:
                if fitting is not None:
                    yield from submit(
                        fitting,
                        new_id(),
                        f"trigger:{trigger.name}",
                        (),
                        event.time,
                        session,
                        correlationid=event.correlationid,
                        trigger=trigger.name,
                    )

    def _fitting(self, trigger: Trigger, scope: Scope, actor: str, session: Session) -> Fitting | None:
        ask = trigger.ask(scope, actor, self._guard)
        if ask is None:
            return None
        provisioned = None if ask.action in BEGINNINGS else version_of(ask.resource_id, session)
        offering = choose(self._shelf.offering(ask.offering, session), ask, provisioned)
        return offering.fit(ask, exists=provisioned is not None)

    def _refused(self, trigger: Trigger, event: Event[Any], reason: str, session: Session) -> Emit:
        door = door_of(event.source, event.id, session) or "nats"
        return refused(door, event.source, f"trigger {trigger.name}: {reason}")

    def hear_driver(self, event: Event[DriverAnnounced], session: Session) -> Iterator[Emit]:
        """Remember what the driver takes and gives; offerings that are in force already are not judged again.

        Drivers that are named beside it are there, too, though what they say is still to be heard.
        """
        keep_driver(event.data.driver, event.data.settings, event.data.outputs, session)
        known = {name for name, *_ in drivers_of(session)}
        for name in event.data.installed or ():
            if name not in known:
                keep_driver(name, None, None, session)
        yield from ()

    def lose_driver(self, event: Event[DriverWithdrawn], session: Session) -> Iterator[Emit]:
        forget_driver(event.data.driver, session)
        yield from ()

    def ingest(self, subject: str, headers: Mapping[str, str], body: bytes, session: Session) -> Iterator[Emit]:
        """Let in what a publisher sent by NATS, under the grant of the source that its subject names."""
        name = subject.split(".")[2]
        spec = self._shelf.source(name, session)
        try:
            if spec.get("kind") != "nats":
                raise Invalid([Fault("", "no Source of kind nats has this name")])
            events = read_events(headers, body, otherwise=STRUCTURED)
            if any(not fits(each.source, spec["allow"]) for each in events):
                raise Invalid([Fault("/source", "is not among what the Source allows")])
            statements = [state(each) for each in events]
        except Invalid as invalid:
            yield refused("nats", name, str(invalid), body)
        except Unsupported as unsupported:
            yield refused("nats", name, str(unsupported), body)
        except Problem as problem:
            yield refused("nats", name, problem_text(problem), body)
        else:
            yield from receive(statements, "nats", spec.get("actor", f"ci:{name}"), now(), session)


def problem_text(problem: Problem) -> str:
    return str(getattr(problem, "detail", None) or getattr(problem, "title", None) or problem)
