"""Facts about resources, and about the catalog's entities, which people declare and resources contribute to."""

from collections.abc import Callable, Mapping
from datetime import datetime

from entresol_contracts import Payload
from entresol_contracts import events as facts
from entresol_eventing.reactions import Emit

from entresol_catalog.domain.entities import Difference, Document, Entity, targets
from entresol_catalog.domain.resources import EntityRef, Resource
from entresol_catalog.handlers.board import Board, Fact

Change = Callable[[Entity, datetime], Difference | None]


def provision(board: Board, fact: Fact) -> None:
    data: facts.ResourceProvisioned = fact.event.data
    before = board.resources.get(data.resource_id)
    if before is not None and before.created_by == data.request_id:
        return
    resource = Resource(
        id=data.resource_id,
        project=data.project,
        environment=data.environment,
        offering=data.offering,
        offering_version=data.offering_version,
        name=data.name,
        owner=data.owner,
        request=data.request_id,
        created_at=fact.at,
        updated_at=fact.at,
        created_by=data.request_id,
        inputs=data.inputs,
        outputs=data.outputs,
        expires_at=data.expires_at,
        entity=_ref(data.entity),
        revision=1 if before is None else before.revision + 1,
    )
    board.resources.add((resource.id,), resource, fact.position)
    _contribute(board, fact, resource.id, None if before is None else before.entity, data.entity)


def change(board: Board, fact: Fact) -> None:
    data: facts.ResourceChanged = fact.event.data
    resource = board.resources.get(data.resource_id)
    if resource is None:
        return
    had = resource.entity
    if resource.change(
        request=data.request_id,
        offering_version=data.offering_version,
        owner=data.owner,
        inputs=data.inputs,
        outputs=data.outputs,
        expires_at=data.expires_at,
        entity=_ref(data.entity),
        at=fact.at,
    ):
        board.resources.keep(resource.id)
        _contribute(board, fact, resource.id, had, data.entity)


def delete(board: Board, fact: Fact) -> None:
    data: facts.ResourceDeleted = fact.event.data
    resource = board.resources.get(data.resource_id)
    if resource is None:
        return
    had = resource.entity
    if resource.delete(data.request_id, fact.at):
        board.resources.keep(resource.id)
        _contribute(board, fact, resource.id, had, None)


def extend(board: Board, fact: Fact) -> None:
    data: facts.ResourceExtended = fact.event.data
    resource = board.resources.get(data.resource_id)
    if resource is not None and resource.extend(data.request_id, data.expires_at, fact.at):
        board.resources.keep(resource.id)


def warn(board: Board, fact: Fact) -> None:
    data: facts.ResourceExpiring = fact.event.data
    resource = board.resources.get(data.resource_id)
    if resource is not None and resource.warn(data.expires_at, fact.at):
        board.resources.keep(resource.id)


def expire(board: Board, fact: Fact) -> None:
    data: facts.ResourceExpired = fact.event.data
    resource = board.resources.get(data.resource_id)
    if resource is not None and resource.expire(data.expired_at, fact.at):
        board.resources.keep(resource.id)


def declare(board: Board, fact: Fact) -> None:
    data: facts.EntityDeclared = fact.event.data
    document = data.model_dump(exclude={"blueprint", "identifier"})
    document = {key: value for key, value in document.items() if value is not None}
    _change(board, fact, data.blueprint, data.identifier, lambda entity, at: entity.declare(document, at))


def withdraw(board: Board, fact: Fact) -> None:
    data: facts.EntityWithdrawn = fact.event.data
    _change(board, fact, data.blueprint, data.identifier, Entity.withdraw)


FOLDS: Mapping[type[Payload], Callable[[Board, Fact], None]] = {
    facts.ResourceProvisioned: provision,
    facts.ResourceChanged: change,
    facts.ResourceDeleted: delete,
    facts.ResourceExtended: extend,
    facts.ResourceExpiring: warn,
    facts.ResourceExpired: expire,
    facts.EntityDeclared: declare,
    facts.EntityWithdrawn: withdraw,
}


def _ref(entity: facts.EntityDocument | None) -> EntityRef | None:
    return None if entity is None else EntityRef(entity.blueprint, entity.identifier)


def _contribute(
    board: Board, fact: Fact, resource_id: str, had: EntityRef | None, has: facts.EntityDocument | None
) -> None:
    """Take back what the resource contributed to the entity it had, and contribute to the one it has."""
    if had is not None and (has is None or had != _ref(has)):
        _change(board, fact, had.blueprint, had.identifier, lambda entity, at: entity.retract(resource_id, at))
    if has is not None:
        document: Document = {"properties": has.properties, "relations": has.relations}
        if has.title is not None:
            document["title"] = has.title
        _change(
            board, fact, has.blueprint, has.identifier, lambda entity, at: entity.contribute(resource_id, document, at)
        )


def _change(board: Board, fact: Fact, blueprint: str, identifier: str, change: Change) -> None:
    key = (blueprint, identifier)
    entity = board.entities.get(*key) or Entity(blueprint, identifier, updated_at=fact.at)
    pointed = targets(entity.document)
    difference = change(entity, fact.at)
    board.entities.add(key, entity, fact.position)
    if difference is None:
        return
    board.pointing.setdefault(key, pointed)
    board.changed[key] = fact
    said: Payload
    if difference.removed:
        said = facts.EntityRemoved(blueprint=blueprint, identifier=identifier, revision=entity.revision)
    else:
        said = facts.EntityChanged(
            blueprint=blueprint,
            identifier=identifier,
            revision=entity.revision,
            entity={"blueprint": blueprint, "identifier": identifier, **(entity.document or {})},
            changed=difference.pointers,
        )
    board.said.append(Emit(said, subject=f"{blueprint}/{identifier}", sequence=entity.revision, cause=fact.event.cause))
