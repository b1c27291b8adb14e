"""Facts about resources: what requests have made of them, how long they live, their drift and their pauses."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from entresol_contracts import Payload
from entresol_contracts import events as facts

from entresol_catalog.domain.resources import (
    Difference,
    Drift,
    EntityRef,
    Made,
    Orphan,
    Pause,
    Resource,
    Unobserved,
)
from entresol_catalog.handlers.board import Board, Fact
from entresol_catalog.handlers.entities import contribute

Fold: TypeAlias = Callable[[Board, Resource, Fact], bool]


def provision(board: Board, fact: Fact) -> None:
    """It has come into being, perhaps not for the first time; its revision goes on from its former life."""
    data: facts.ResourceProvisioned = fact.event.data
    before = board.resources.get(data.resource_id)
    if before is not None and (before.created_by == data.request_id or before.outdates(_sequence(fact))):
        return
    resource = Resource(
        id=data.resource_id,
        project=data.project,
        environment=data.environment,
        offering=data.offering,
        offering_version=data.offering_version,
        name=data.name,
        owner=data.owner,
        request="",
        created_at=fact.at,
        updated_at=fact.at,
        created_by=data.request_id,
        adopted=data.adopted,
        revision=1 if before is None else before.revision + 1,
        snapshot=0 if before is None else before.snapshot,
        sequence=_sequence(fact),
    )
    revision = resource.make(_made(fact, data, "adopt" if data.adopted else "create"), fact.at)
    board.lean(resource.id, {} if before is None else before.requires)
    board.resources.add((resource.id,), resource, fact.position)
    board.revisions.add((resource.id, revision.request_id), revision, fact.position)
    contribute(board, fact, resource.id, None if before is None else before.entity, data.entity)


def change(board: Board, resource: Resource, fact: Fact) -> bool:
    data: facts.ResourceChanged = fact.event.data
    had, needed = resource.entity, resource.requires
    revision = resource.change(_made(fact, data, data.action or "update"), fact.at)
    if revision is None:
        return False
    board.lean(resource.id, needed)
    board.revisions.add((resource.id, revision.request_id), revision, fact.position)
    contribute(board, fact, resource.id, had, data.entity)
    return True


def delete(board: Board, resource: Resource, fact: Fact) -> bool:
    data: facts.ResourceDeleted = fact.event.data
    had, needed = resource.entity, resource.requires
    orphaned = [Orphan(one.step, one.driver, one.reason) for one in data.orphaned or ()]
    if not resource.delete(data.request_id, orphaned, fact.at):
        return False
    board.lean(resource.id, needed)
    contribute(board, fact, resource.id, had, None)
    return True


def extend(_: Board, resource: Resource, fact: Fact) -> bool:
    data: facts.ResourceExtended = fact.event.data
    return resource.extend(data.request_id, data.expires_at, fact.at)


def warn(_: Board, resource: Resource, fact: Fact) -> bool:
    data: facts.ResourceExpiring = fact.event.data
    return resource.warn(data.expires_at, fact.at)


def expire(_: Board, resource: Resource, fact: Fact) -> bool:
    data: facts.ResourceExpired = fact.event.data
    return resource.expire(data.expired_at, fact.at)


def drift(_: Board, resource: Resource, fact: Fact) -> bool:
    data: facts.ResourceDrifted = fact.event.data
    differences = [Difference(one.step, one.path, one.change) for one in data.differences]
    seen = Drift(data.checked_at, data.checked_at, data.mode, differences, data.more, data.gone or [], data.again_at)
    return resource.drifted(seen, fact.at)


def converge(_: Board, resource: Resource, fact: Fact) -> bool:
    return resource.converge(fact.at)


def lose_sight(_: Board, resource: Resource, fact: Fact) -> bool:
    data: facts.ResourceUnobserved = fact.event.data
    return resource.lose_sight(Unobserved(data.since, data.reason, data.seen_at), fact.at)


def observe(_: Board, resource: Resource, fact: Fact) -> bool:
    return resource.observe(fact.at)


def pause(_: Board, resource: Resource, fact: Fact) -> bool:
    data: facts.ResourcePaused = fact.event.data
    return resource.pause(Pause(data.by, data.reason, fact.at, data.until, data.request_id), fact.at)


def unpause(_: Board, resource: Resource, fact: Fact) -> bool:
    return resource.unpause(fact.at)


def _following(fold: Fold) -> Callable[[Board, Fact], None]:
    """Apply a fact to the resource that it is about, if that is known and the fact is not older than what is known."""

    def follow(board: Board, fact: Fact) -> None:
        resource, sequence = board.resources.get(fact.event.data.resource_id), _sequence(fact)
        if resource is None or resource.outdates(sequence) or not fold(board, resource, fact):
            return
        resource.sequence = resource.sequence if sequence is None else sequence
        board.resources.keep(resource.id)

    return follow


FOLDS: Mapping[type[Payload], Callable[[Board, Fact], None]] = {
    facts.ResourceProvisioned: provision,
    facts.ResourceChanged: _following(change),
    facts.ResourceDeleted: _following(delete),
    facts.ResourceExtended: _following(extend),
    facts.ResourceExpiring: _following(warn),
    facts.ResourceExpired: _following(expire),
    facts.ResourceDrifted: _following(drift),
    facts.ResourceConverged: _following(converge),
    facts.ResourceUnobserved: _following(lose_sight),
    facts.ResourceObserved: _following(observe),
    facts.ResourcePaused: _following(pause),
    facts.ResourceUnpaused: _following(unpause),
}


def _sequence(fact: Fact) -> int | None:
    """Of the resource; None in what bears none."""
    revision: int | None = getattr(fact.event.data, "revision", None)
    return revision if fact.event.sequence is None else fact.event.sequence


def _made(fact: Fact, data: facts.ResourceProvisioned | facts.ResourceChanged, action: str) -> Made:
    return Made(
        request=data.request_id,
        action=action,
        offering_version=data.offering_version,
        owner=data.owner,
        inputs=data.inputs,
        outputs=data.outputs,
        expires_at=data.expires_at,
        entity=None if data.entity is None else EntityRef(data.entity.blueprint, data.entity.identifier),
        implementation=data.implementation,
        class_=data.class_,
        requires=data.requires or {},
        revision=data.revision or fact.event.sequence,
    )
