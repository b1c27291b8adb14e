"""The life of a request here: submitted → queued → running → one of the ends.

`submitted` waits for policy, `queued` for an earlier request on the same resource. If policy wants to see a plan first:

    submitted → (queued) → running to plan → planned → (queued) → running to verify → running to apply → an end

`planned` waits for policy and blocks nobody. To verify is to plan again what was approved: it is applied if that is
still the same, else the request is `planned` again; so it is if it was allowed without a plan, and the resource has
other inputs now than were judged. Each pass has a run id of its own, and its own steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from entresol_provisioning.domain.graph import Impossible
from entresol_provisioning.domain.offering import Offering

SUBMITTED: Final = "submitted"
PLANNED: Final = "planned"
QUEUED: Final = "queued"
RUNNING: Final = "running"
SUCCEEDED: Final = "succeeded"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"
REFUSED: Final = "refused"
"""Ended by policy: denied, rejected or not approved in time."""

OPEN: Final = frozenset({SUBMITTED, PLANNED, QUEUED, RUNNING})

PLAN: Final = "plan"
APPLY: Final = "apply"
UNDO: Final = "undo"
"""Phases: what the steps of the request's pass are there for, or of its next one; what was applied may be undone."""

AGAIN: Final = "again"
"""Not an end, but a reason for a pass to stop: another one follows, of the phase that is named there."""

MOST_OUTDATED = 10
"""So often an approved plan may be found not to hold. A plan that changes by itself would go on for ever."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request and the newest of its passes, as they are stored."""

    id: str
    resource_id: str
    project: str
    environment: str
    offering: str
    offering_version: str
    offering_digest: str | None
    name: str
    action: str
    inputs: dict[str, Any]
    actor: dict[str, Any]
    dry_run: bool
    lifetime_seconds: int | None
    reason: str | None
    submitted_at: datetime
    state: str
    cause: dict[str, Any]
    run_id: str | None
    destroys: bool
    steps: int
    effective: dict[str, Any] | None
    stop: dict[str, Any] | None
    started_at: datetime | None
    ended_at: datetime | None
    phase: str
    approved: str | None
    outdated: int
    applied: list[str]
    class_: str | None = None
    requirement: dict[str, Any] | None = None
    snapshot: dict[str, Any] | None = None
    orphan: bool = False
    implementation: str | None = None
    judged: str | None = None

    @property
    def plans(self) -> bool:
        """Whether its steps are planned and touch nothing."""
        return self.dry_run or self.phase == PLAN

    @property
    def stopping(self) -> bool:
        """Whether no further step may begin. Those that undo others begin because of it, until that is stopped, too."""
        return self.stop is not None and (self.phase != UNDO or "halted" in self.stop)

    def but(self, **changes: Any) -> "Request":
        return replace(self, **changes)

    def found_outdated(self) -> "Request":
        """After what was approved was found not to hold; raise Impossible if that happens all the time."""
        if self.outdated >= MOST_OUTDATED:
            raise Impossible(
                f"what was approved did not hold any more when it was to be applied, {MOST_OUTDATED + 1} times; "
                "does something in the plan change by itself, such as a time?"
            )
        return replace(self, outdated=self.outdated + 1)


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource as it is stored, after its deletion without content."""

    id: str
    project: str
    environment: str
    offering: str
    offering_version: str
    offering_digest: str
    name: str
    owner: str
    state: str
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    entity: dict[str, Any] | None
    created_at: datetime
    expires_at: datetime | None
    revision: int
    request_id: str
    class_: str | None = None
    implementation: str | None = None
    requirement: dict[str, Any] | None = None
    paused: dict[str, Any] | None = None
    drift: dict[str, Any] | None = None
    seen_at: datetime | None = None
    missed: dict[str, Any] | None = None
    unobserved: bool = False

    @property
    def exists(self) -> bool:
        return self.state != "deleted"


EXPIRY: Final = "system:expiry"
WHILE_PAUSED: Final = frozenset({"pause", "unpause", "extend"})
WITHOUT_STEPS: Final = frozenset({"extend", "pause", "unpause"})
ON_WHAT_IS_THERE: Final = frozenset({"update", "extend", "reconcile", "rollback", "pause", "unpause"})
MOST_NAMED = 5


def admit(
    request: Request,
    offering: Offering | None,
    resource: Resource | None,
    dependents: Sequence[str],
    at: datetime,
) -> None:
    """Raise Impossible if the request can't be begun on the resource as it is, which is None where there is none.

    A delete is always possible otherwise: what is not there is deleted already, and what is there carries with it how
    to undo it.
    """
    action, named = request.action, f"{request.offering} {request.offering_version}"
    if resource is not None and (paused := resource.paused) is not None and action not in WHILE_PAUSED:
        until = datetime.fromisoformat(paused["until"])
        raise Impossible(
            f"{resource.id} is paused by {paused['by']} until {until:%Y-%m-%d %H:%M} UTC: {paused['reason']}; "
            "unpause it first"
        )
    if action == "delete":
        _admit_delete(request, resource, dependents, at)
        return
    if offering is None:
        raise Impossible(f"the offering {named} is not known here; apply its manifest and ask again")
    if action in ("create", "adopt") and resource is not None and request.requirement is None:
        raise Impossible(f"{request.resource_id} already exists; use update")
    if action not in ("create", "adopt") and resource is None:
        raise Impossible(f"there is no {request.resource_id}; create it first")
    if action not in ("create", "adopt") and action not in ON_WHAT_IS_THERE and action not in offering.actions:
        raise Impossible(f"{named} has no action {action}")
    if action == "unpause" and resource is not None and resource.paused is None:
        raise Impossible(f"{resource.id} is not paused")


def _admit_delete(request: Request, resource: Resource | None, dependents: Sequence[str], at: datetime) -> None:
    if (
        resource is not None
        and request.actor["id"] == EXPIRY
        and (resource.expires_at is None or resource.expires_at > at)
    ):
        raise Impossible("it was extended after its lifetime had ended; it lives on")
    giving_up = None if request.requirement is None else request.requirement["resource_id"]
    others = [one for one in dependents if one not in (giving_up, request.resource_id)]
    if others:
        more = f" and {len(others) - MOST_NAMED} more" if len(others) > MOST_NAMED else ""
        raise Impossible(f"it is needed by {', '.join(others[:MOST_NAMED])}{more}; delete what needs it first")


def ends_cancelled(action: str, *, everything_done: bool) -> bool:
    """Whether a run that was asked to stop ends as cancelled once nothing runs any more.

    A cancelled create never becomes a resource, however far it came. A change to what exists whose every step was
    done by then has happened: to call it cancelled would leave a wrong picture of the resource.
    """
    return action in ("create", "adopt") or not everything_done


def next_delay_seconds(attempt: int, jitter: float, *, first: float, longest: float) -> float:
    """Seconds to wait after the given attempt, counted from 1: doubled each time, then spread over its second half."""
    whole: float = min(longest, first * 2.0 ** min(attempt - 1, 30))
    return whole * (0.5 + jitter / 2)
