"""Which things an event speaks of: what has to be loaded before it can be folded."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from entresol_contracts import Payload
from entresol_contracts import events as facts
from entresol_eventing.envelope import Event

from entresol_catalog.store.shelf import Key

Keys: TypeAlias = list[tuple[str, Key]]
"""(shelf, key)."""


def keys_of(event: Event[Any]) -> Keys:
    data: Payload = event.data
    if (of_its_own := _KEYS.get(type(data))) is not None:
        return of_its_own(event)
    found: Keys = []
    if isinstance(getattr(data, "request_id", None), str):
        found.append(("requests", (data.request_id,)))  # type: ignore[attr-defined]
    if event.source == "/entresol/catalog":
        return found
    if ".resource." in event.type:
        found.append(("resources", (data.resource_id,)))  # type: ignore[attr-defined]
        if isinstance(data, facts.ResourceProvisioned | facts.ResourceChanged):
            found.append(("revisions", (data.resource_id, data.request_id)))
        if (entity := getattr(data, "entity", None)) is not None:
            found.append(("entities", (entity.blueprint, entity.identifier)))
    return found


def _named(shelf: str, *fields: str) -> Callable[[Event[Any]], Keys]:
    return lambda event: [(shelf, tuple(getattr(event.data, field) for field in fields))]


def _manifest(event: Event[Any]) -> Keys:
    data: facts.ManifestApplied | facts.ManifestRemoved = event.data
    return [("manifests", (data.kind, data.name, data.version or ""))]


def _approval(event: Event[Any]) -> Keys:
    data: facts.ApprovalRequested = event.data
    return [("requests", (data.request_id,)), ("approvals", (data.approval_id,))]


def _request(event: Event[Any]) -> Keys:
    data: facts.RequestSubmitted = event.data
    waiting: Keys = [] if data.requirement is None else [("requests", (data.requirement.request_id,))]
    return [("requests", (data.request_id,)), *waiting]


def _notification(event: Event[Any]) -> Keys:
    return [("notifications", (event.data.delivery_id,)), ("requests", (event.correlationid,))]


def _scoped(shelf: str, field: str) -> Callable[[Event[Any]], Keys]:
    """What is about one request belongs to the project of that."""

    def found(event: Event[Any]) -> Keys:
        request_id = event.data.scope.request
        about: Keys = [] if request_id is None else [("requests", (request_id,))]
        return [(shelf, (getattr(event.data, field),)), *about]

    return found


_LETTER = _named("dead_letters", "service", "message_id")
_ENTITY = _named("entities", "blueprint", "identifier")
_TOKEN = _named("tokens", "token_id")
_LOCK, _WAIVER = _named("locks", "lock_id"), _named("waivers", "waiver_id")

_KEYS: Mapping[type[Payload], Callable[[Event[Any]], Keys]] = {
    facts.EntityDeclared: _ENTITY,
    facts.EntityWithdrawn: _ENTITY,
    facts.ManifestApplied: _manifest,
    facts.ManifestRemoved: _manifest,
    facts.DriverAnnounced: _named("drivers", "driver"),
    facts.DriverWithdrawn: _named("drivers", "driver"),
    facts.TokenIssued: _TOKEN,
    facts.TokenRevoked: _TOKEN,
    facts.MessageQuarantined: _LETTER,
    facts.MessageParked: _LETTER,
    facts.MessageReleased: _LETTER,
    facts.MessageRedriven: _LETTER,
    facts.MessageDiscarded: _LETTER,
    facts.NotificationDelivered: _notification,
    facts.NotificationFailed: _notification,
    facts.RequestSubmitted: _request,
    facts.ApprovalRequested: _approval,
    facts.OfferingStaged: _named("offerings", "name"),
    facts.ScorecardChanged: _named("standings", "scorecard", "blueprint", "identifier"),
    facts.LockPlaced: _scoped("locks", "lock_id"),
    facts.LockLifted: _LOCK,
    facts.LockExpired: _LOCK,
    facts.WaiverGranted: _scoped("waivers", "waiver_id"),
    facts.WaiverRevoked: _WAIVER,
    facts.WaiverExpired: _WAIVER,
}
