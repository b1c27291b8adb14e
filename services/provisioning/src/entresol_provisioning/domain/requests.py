"""The life of a request here: submitted → queued → running → one of the ends.

A request has exactly one run. `submitted` waits for policy, `queued` for an earlier request on the same resource.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from entresol_provisioning.domain.graph import Impossible
from entresol_provisioning.domain.offering import Offering

SUBMITTED: Final = "submitted"
QUEUED: Final = "queued"
RUNNING: Final = "running"
SUCCEEDED: Final = "succeeded"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"
REFUSED: Final = "refused"
"""Ended by policy: denied, rejected or not approved in time."""

OPEN: Final = frozenset({SUBMITTED, QUEUED, RUNNING})


@dataclass(frozen=True, slots=True)
class Request:
    """A request and its one run, as they are stored."""

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

    def but(self, **changes: Any) -> "Request":
        return replace(self, **changes)


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
