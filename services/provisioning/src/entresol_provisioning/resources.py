"""What a finished run makes of its resource, and how a resource's life ends.

Every `resource.*` event carries the resource's revision, which only ever rises, also across a deletion.
"""

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from entresol_contracts import Payload
from entresol_contracts.events import (
    EntityDocument,
    Orphan,
    ResourceChanged,
    ResourceDeleted,
    ResourceExpired,
    ResourceExpiring,
    ResourceExtended,
    ResourceProvisioned,
)
from entresol_eventing.envelope import Cause, now
from entresol_eventing.reactions import Cancel, Deadline, Due, Emit, Outcome
from sqlalchemy import Connection
from sqlmodel import Session

from entresol_provisioning import store
from entresol_provisioning.domain.graph import Impossible
from entresol_provisioning.domain.lifetime import REMINDER_SECONDS, Lifetime, extended_end, first_end, warnings
from entresol_provisioning.domain.offering import REQUIRES, Offering
from entresol_provisioning.domain.requests import Request, Resource
from entresol_provisioning.offerings import Offerings
from entresol_provisioning.scopes import filled

LARGEST_BYTES = 200 * 1024
"""Of a resource's inputs, outputs and entity together: they have to fit into one event."""
LIFETIME = "lifetime"
DRIFT = "drift"
"""Kinds of deadlines that a resource has."""


def settle(
    connection: Connection,
    request: Request,
    offering: Offering,
    resource: Resource | None,
    scope: Mapping[str, Any],
    at: datetime,
) -> Generator[Outcome, None, Resource]:
    """Record what a successful run has made of the resource, and return that.

    Raises ExpressionError or Impossible, before anything is written, if the offering's outputs can't be told.
    """
    outputs = filled(dict(offering.outputs), scope)
    entity = _entity(offering, request, {**scope, "resource": {**scope["resource"], "outputs": outputs}})
    there = resource if resource is not None and resource.exists else None
    inputs = request.effective or {}
    if there is not None and request.action not in ("update", "rollback"):
        inputs = there.inputs
    if len(json.dumps([inputs, outputs, entity])) > LARGEST_BYTES:
        raise Impossible(f"inputs, outputs and entity of {request.resource_id} exceed {LARGEST_BYTES // 1024} KiB")
    made = {
        "offering_version": request.offering_version,
        "offering_digest": offering.digest,
        "implementation": request.implementation,
        "inputs": inputs,
        "outputs": outputs,
        "entity": entity,
        "revision": 1 if resource is None else resource.revision + 1,
        "request_id": request.id,
    }
    current = _new(request, offering.lifetime, made, at) if there is None else replace(there, **made)
    store.save_resource(connection, current, known=resource is not None)
    left = store.footprints_of(connection, request.resource_id) if offering.requires else ()
    needed = {one.step.removeprefix(REQUIRES): one.needs_resource for one in left if one.needs_resource is not None}
    whole = {
        **names(current),
        "request_id": request.id,
        "owner": current.owner,
        "inputs": inputs,
        "outputs": outputs,
        "entity": None if entity is None else EntityDocument(**entity),
        "expires_at": current.expires_at,
        "implementation": current.implementation,
        "class_": current.class_,
        "requires": needed or None,
        "revision": current.revision,
    }
    if there is not None:
        yield emit(current, ResourceChanged(**whole, action=request.action))
        return current
    yield emit(current, ResourceProvisioned(**whole, adopted=request.action == "adopt"))
    if current.expires_at is not None:
        yield _next_look(current, offering.lifetime, current.created_at, at)
    return current


def _new(request: Request, lifetime: Lifetime, made: Mapping[str, Any], at: datetime) -> Resource:
    """What another resource needs lives as long as it is needed."""
    return Resource(
        id=request.resource_id,
        project=request.project,
        environment=request.environment,
        offering=request.offering,
        name=request.name,
        owner=request.actor["id"],
        state="provisioned",
        created_at=at,
        expires_at=None if request.requirement is not None else first_end(lifetime, request.lifetime_seconds, at),
        class_=request.class_,
        requirement=request.requirement,
        **made,
    )


def remove(
    connection: Connection, request: Request, resource: Resource, orphans: Sequence[Orphan]
) -> Iterator[Outcome]:
    """Record that the resource is gone, but for what it has left in the world; its revision stays."""
    gone = replace(
        resource,
        state="deleted",
        inputs={},
        outputs={},
        entity=None,
        expires_at=None,
        paused=None,
        drift=None,
        seen_at=None,
        missed=None,
        unobserved=False,
        requirement=None,
        revision=resource.revision + 1,
        request_id=request.id,
    )
    store.save_resource(connection, gone, known=True)
    store.forget_look(connection, resource.id)
    for kind in (LIFETIME, DRIFT):
        yield Cancel(f"{kind}:{resource.id}")
    entity = None if resource.entity is None else EntityDocument(**resource.entity)
    yield emit(
        gone, ResourceDeleted(**names(resource), request_id=request.id, entity=entity, orphaned=list(orphans) or None)
    )


def extend(
    connection: Connection, request: Request, offering: Offering, resource: Resource, at: datetime
) -> Iterator[Outcome]:
    """Let the resource live longer; raise Impossible, before anything is written, if it can't."""
    end = extended_end(offering.lifetime, request.lifetime_seconds, resource.created_at, resource.expires_at, at)
    if request.dry_run:
        return
    current = replace(
        resource, state="provisioned", expires_at=end, revision=resource.revision + 1, request_id=request.id
    )
    store.save_resource(connection, current, known=True)
    yield emit(
        current,
        ResourceExtended(
            **names(current), request_id=request.id, expires_at=end, previous_expires_at=resource.expires_at
        ),
    )
    yield _next_look(current, offering.lifetime, at, at)


def end_if_over(resource: Resource, at: datetime) -> Iterator[Deadline]:
    """After its pause has changed: an end that waited for that comes now, or when the other pause ends."""
    if resource.expires_at is not None and resource.expires_at <= at:
        yield _look_at(resource, at, resource.created_at)


class Lifetimes:
    """Answers when a resource's next moment has come: a warning, its end, or a reminder of its end.

    A pause holds up the end, not the warnings: whoever paused it can still extend it.
    """

    def __init__(self, offerings: Offerings) -> None:
        self._offerings = offerings

    def look(self, due: Due, session: Session) -> Iterator[Outcome]:
        connection = session.connection()
        resource = store.find_resource(connection, due.args["resource_id"])
        if resource is None or not resource.exists or resource.expires_at is None:
            return
        at = now()
        begins_at = datetime.fromisoformat(due.args["begins_at"])
        if resource.expires_at <= at and resource.paused is not None:
            yield _look_at(resource, max(datetime.fromisoformat(resource.paused["until"]), at), begins_at)
            return
        if resource.expires_at <= at:
            yield from self._expire(connection, resource, at)
            return
        offering = self._offerings.get(connection, resource.offering_digest)
        lifetime = Lifetime() if offering is None else offering.lifetime
        if any(one <= at for one in warnings(lifetime, begins_at, resource.expires_at)):
            yield Emit(
                ResourceExpiring(
                    **names(resource),
                    owner=resource.owner,
                    expires_at=resource.expires_at,
                    remaining_seconds=max(0, round((resource.expires_at - at).total_seconds())),
                ),
                subject=resource.id,
                actor="system:expiry",
            )
        yield _next_look(resource, lifetime, begins_at, at)

    def _expire(self, connection: Connection, resource: Resource, at: datetime) -> Iterator[Outcome]:
        assert resource.expires_at is not None
        current = replace(resource, state="expired")
        if resource.state != "expired":
            current = replace(current, revision=resource.revision + 1)
            store.save_resource(connection, current, known=True)
        yield emit(
            current,
            ResourceExpired(**names(resource), owner=resource.owner, expired_at=resource.expires_at),
            actor="system:expiry",
        )
        yield _look_at(resource, at + timedelta(seconds=REMINDER_SECONDS), resource.created_at)


def _next_look(resource: Resource, lifetime: Lifetime, begins_at: datetime, at: datetime) -> Deadline:
    assert resource.expires_at is not None
    coming = [one for one in warnings(lifetime, begins_at, resource.expires_at) if one > at]
    return _look_at(resource, min([*coming, resource.expires_at]), begins_at)


def _look_at(resource: Resource, due_at: datetime, begins_at: datetime) -> Deadline:
    args = {"resource_id": resource.id, "begins_at": begins_at.isoformat()}
    return Deadline(key=f"{LIFETIME}:{resource.id}", kind=LIFETIME, due_at=due_at, args=args)


def _entity(offering: Offering, request: Request, scope: Mapping[str, Any]) -> dict[str, Any] | None:
    template = offering.entity
    if template is None:
        return None
    filled_in: dict[str, Any] = filled(
        {
            "blueprint": template.blueprint,
            "identifier": template.identifier or request.name,
            "title": template.title or request.name,
            "properties": dict(template.properties),
            "relations": dict(template.relations),
        },
        scope,
    )
    for key in ("blueprint", "identifier", "title"):
        filled_in[key] = filled_in[key] if isinstance(filled_in[key], str) else json.dumps(filled_in[key])
    return filled_in


def names(resource: Resource) -> dict[str, Any]:
    return {
        "resource_id": resource.id,
        "project": resource.project,
        "environment": resource.environment,
        "offering": resource.offering,
        "offering_version": resource.offering_version,
        "name": resource.name,
    }


def emit(resource: Resource, data: Payload, *, actor: str | None = None, cause: Cause | None = None) -> Emit:
    return Emit(data, subject=resource.id, sequence=resource.revision, actor=actor, cause=cause)
