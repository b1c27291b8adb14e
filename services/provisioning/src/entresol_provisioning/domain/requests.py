"""The life of a request here: submitted → queued → running → one of the ends.

`submitted` waits for policy, `queued` for an earlier request on the same resource. If policy wants to see a plan first:

    submitted → (queued) → running to plan → planned → (queued) → running to verify → running to apply → an end

`planned` waits for policy and blocks nobody. To verify is to plan again what was approved: it is applied if that is
still the same, else the request is `planned` again. Each pass has a run id of its own, and its own steps.
"""

from collections.abc import Mapping
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
"""Phases: what the steps of the request's pass are there for, or of its next one."""

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

    @property
    def plans(self) -> bool:
        """Whether its steps are planned and touch nothing."""
        return self.dry_run or self.phase == PLAN

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

    @property
    def exists(self) -> bool:
        return self.state != "deleted"


def admit(action: str, resource_id: str, offering: Offering | None, named: str, *, exists: bool) -> None:
    """Raise Impossible if the action can't be begun on a resource in this state.

    `named` is the offering as the request names it, for the message if it is unknown. A delete is always possible:
    what is not there is deleted already, and what is there carries with it how to undo it.
    """
    if action == "delete":
        return
    if offering is None:
        raise Impossible(f"the offering {named} is not known here; apply its manifest and ask again")
    if action == "create" and exists:
        raise Impossible(f"{resource_id} already exists; use update")
    if action != "create" and not exists:
        raise Impossible(f"there is no {resource_id}; create it first")
    if action not in ("create", "update", "extend") and action not in offering.actions:
        raise Impossible(f"{named} has no action {action}")


def effective_inputs(action: str, asked: Mapping[str, Any], existing: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the steps see: the request's inputs over the resource's, key by key; a create starts from nothing."""
    return dict(asked) if action == "create" or existing is None else {**existing, **asked}


def ends_cancelled(action: str, *, everything_done: bool) -> bool:
    """Whether a run that was asked to stop ends as cancelled once nothing runs any more.

    A cancelled create never becomes a resource, however far it came. A change to what exists whose every step was
    done by then has happened: to call it cancelled would leave a wrong picture of the resource.
    """
    return action == "create" or not everything_done


def next_delay_seconds(attempt: int, jitter: float, *, first: float, longest: float) -> float:
    """Seconds to wait after the given attempt, counted from 1: doubled each time, then spread over its second half."""
    whole: float = min(longest, first * 2.0 ** min(attempt - 1, 30))
    return whole * (0.5 + jitter / 2)
