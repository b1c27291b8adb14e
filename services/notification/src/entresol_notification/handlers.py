"""What notification does when events arrive: it writes down who is to be told, and nothing else.

Only what a route names is read from the log. The table of routes is kept between batches and dropped when a manifest
changes.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from entresol_contracts.events import ManifestApplied, ManifestRemoved, NotificationFailed
from entresol_eventing.envelope import Event, encode
from entresol_eventing.reactions import Emit, Outcome, Reactions
from entresol_manifests.expressions import ExpressionError
from entresol_manifests.guard import Guard
from sqlmodel import Session

from entresol_notification import store
from entresol_notification.domain import SYSTEM
from entresol_notification.routing import Route, Table, delivery_id, scope_of, table

KINDS = frozenset({"Route", "Channel"})
SHARE: Final = 0.25
"""Of the time, that one heavy expression of a route may take."""
OWN_SOURCE = "/entresol/notification"


class Router:
    """Notification's handler, with the routes in force. Only the writer thread comes here."""

    def __init__(self) -> None:
        self._table: Table | None = None
        self._guard = Guard(share=SHARE)

    def reactions(self) -> Reactions:
        return Reactions(to_batch=self.route, forget=self.forget)

    def forget(self) -> None:
        self._table = None

    def route(self, events: Sequence[Event[Any]], session: Session) -> Iterator[Outcome]:
        """Make a delivery of each event for each route that takes it.

        A route that can't say whether it takes an event is a delivery that failed, not one that never was.
        """
        rows: list[dict[str, Any]] = []
        for event in events:
            if isinstance(event.data, ManifestApplied | ManifestRemoved) and event.data.kind in KINDS:
                _keep(event.data, session)
                self.forget()
            if self._table is None:
                self._table = table(store.manifests(session, "Route"))
            routes = self._table.get(event.type)
            if routes and event.source != OWN_SOURCE:
                yield from _deliveries(event, routes, self._guard, rows)
        store.put_deliveries(session, rows)


def _keep(data: ManifestApplied | ManifestRemoved, session: Session) -> None:
    if isinstance(data, ManifestApplied):
        store.put_manifest(session, data.kind, data.name, data.manifest)
    else:
        store.remove_manifest(session, data.kind, data.name)


def _deliveries(
    event: Event[Any], routes: Sequence[Route], guard: Guard, rows: list[dict[str, Any]]
) -> Iterator[Outcome]:
    document = event.model_dump(mode="json", exclude_none=True, by_alias=True)
    body = encode(event).decode()
    scope = scope_of(document)
    for route in routes:
        row = {
            "id": delivery_id(event.source, event.id, route.name),
            "channel": route.channel,
            "route": route.name,
            "event_id": event.id,
            "event_type": event.type,
            "event": body,
            "message": "",
            "cause": event.cause.model_dump(mode="json", exclude_none=True),
            "state": "ready",
            "attempts": 0,
            "next_at": event.time,
            "ended_at": None,
        }
        try:
            if not route.takes(scope, guard):
                continue
        except ExpressionError as error:
            rows.append(row | {"state": "failed", "ended_at": event.time})
            yield _failed(row, f"the `when` of route {route.name} fails: {error.message}", event)
        else:
            rows.append(row | {"message": route.words(scope, document, guard)})


def _failed(row: dict[str, Any], reason: str, event: Event[Any]) -> Emit:
    failed = NotificationFailed(
        delivery_id=row["id"],
        channel=row["channel"],
        route=row["route"],
        event_id=event.id,
        event_type=event.type,
        attempts=1,
        reason=reason,
    )
    return Emit(failed, subject=row["id"], actor=SYSTEM, cause=event.cause)
