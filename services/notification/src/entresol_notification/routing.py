"""Turn route manifests into a table by event type: an event that no route names costs one look-up.

No route is ever told about `notification.*`, nor about this service's own messages: a notification about a
notification would go round for ever.
"""

import json
import logging
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from entresol_contracts import EVENT_TYPES
from entresol_contracts.manifests import Route as RouteManifest
from entresol_eventing.permissions import SERVICES
from entresol_manifests.expressions import Expression, ExpressionError, Scope, compile_expression
from entresol_manifests.guard import Guard
from entresol_manifests.placeholders import interpolate
from pydantic import ValidationError

from entresol_notification.domain.sentences import one_line, sentence

log = logging.getLogger(__name__)

MANIFESTS = "entresol.intake.manifest.>"
UNHEARD = frozenset({"notification.delivered", "notification.failed", "token.issued", "token.revoked"})
"""Facts that no route may name: notices about notices never end, and tokens are nobody's business."""

_DELIVERIES = uuid.UUID("6f6a2f5e-94a1-5d3c-9a57-3f1f1c1b7f0e")


@dataclass(frozen=True, slots=True)
class Route:
    """Which events are told to one channel, and in what words."""

    name: str
    channel: str
    when: Expression | ExpressionError | None
    message: str | None

    def takes(self, scope: Scope | ExpressionError, guard: Guard) -> bool:
        """Whether the event is to be told; raise ExpressionError if the route can't say."""
        if self.when is None:
            return True
        if isinstance(self.when, ExpressionError):
            raise self.when
        return guard.holds(self.when.source, _usable(scope))

    def words(self, scope: Scope | ExpressionError, event: Mapping[str, Any], guard: Guard) -> str:
        """The line to be told. A message of the route's own that can't be written says so behind the usual one."""
        if self.message is None:
            return sentence(event)
        try:
            written = interpolate(self.message, _usable(scope), evaluate=guard.evaluate)
        except ExpressionError as error:
            return one_line(f"{sentence(event)} [the message of route {self.name} fails: {error.message}]")
        return one_line(written if isinstance(written, str) else json.dumps(written, ensure_ascii=False))


def scope_of(event: Mapping[str, Any]) -> Scope | ExpressionError:
    """What routes may name; the error if the event holds what CEL can't, which matters only to routes that look."""
    try:
        return Scope(event=event)
    except ExpressionError as error:
        return error


def _usable(scope: Scope | ExpressionError) -> Scope:
    if isinstance(scope, ExpressionError):
        raise scope
    return scope


Table: TypeAlias = Mapping[str, tuple[Route, ...]]


def table(manifests: Iterable[tuple[str, Mapping[str, Any]]]) -> Table:
    """The routes by event type. A manifest that is no route is left out, which the log says."""
    routes: dict[str, tuple[Route, ...]] = {}
    heard = heard_types()
    for name, manifest in manifests:
        try:
            spec = RouteManifest.model_validate(manifest).spec
        except ValidationError as error:
            log.warning("a route can't be read and tells nobody", extra={"route": name, "errors": error.error_count()})
            continue
        when: Expression | ExpressionError | None = None
        if spec.when is not None:
            try:
                when = compile_expression(spec.when)
            except ExpressionError as error:
                when = error
        route = Route(name, spec.channel, when, spec.message)
        for event_type in spec.on:
            if event_type in heard:
                routes[event_type] = (*routes.get(event_type, ()), route)
            else:
                log.warning("a route names an event that is not told", extra={"route": name, "event_type": event_type})
    return routes


def delivery_id(event_source: str, event_id: str, route: str) -> str:
    """The same for every attempt, and again if the deliveries are rebuilt from the log."""
    return str(uuid.uuid5(_DELIVERIES, f"{event_source} {event_id} {route}"))


def heard_types() -> frozenset[str]:
    """Every event type that a route may name."""
    return frozenset(known.type for known in EVENT_TYPES if known.fact not in UNHEARD)


def subjects(routed: Iterable[str]) -> list[str]:
    """Where on the log events of these types lie, and the manifests; this service's own are left out."""
    wanted = {MANIFESTS}
    for known in EVENT_TYPES:
        if known.type in routed and not known.fact.startswith("manifest."):
            publishers = SERVICES if known.publisher == "any" else (known.publisher,)
            wanted |= {f"entresol.{one}.{known.fact}.>" for one in publishers if one != "notification"}
    return sorted(wanted)
