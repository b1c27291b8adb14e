"""The catalog's entities, which people declare and resources contribute to."""

from collections.abc import Callable, Mapping
from datetime import datetime

from entresol_contracts import Payload
from entresol_contracts import events as facts
from entresol_eventing.reactions import Emit

from entresol_catalog.domain.entities import Difference, Document, Entity, targets
from entresol_catalog.domain.resources import EntityRef
from entresol_catalog.handlers.board import Board, Fact

Change = Callable[[Entity, datetime], Difference | None]


def contribute(
    board: Board, fact: Fact, resource_id: str, had: EntityRef | None, has: facts.EntityDocument | None
) -> None:
    """Take back what the resource contributed to the entity it had, and contribute to the one it has."""
    if had is not None and (has is None or (had.blueprint, had.identifier) != (has.blueprint, has.identifier)):
        _change(board, fact, had.blueprint, had.identifier, lambda entity, at: entity.retract(resource_id, at))
    if has is not None:
        document: Document = {"properties": has.properties, "relations": has.relations}
        if has.title is not None:
            document["title"] = has.title
        _change(
            board, fact, has.blueprint, has.identifier, lambda entity, at: entity.contribute(resource_id, document, at)
        )


def declare(board: Board, fact: Fact) -> None:
    data: facts.EntityDeclared = fact.event.data
    document = data.model_dump(exclude={"blueprint", "identifier"})
    document = {key: value for key, value in document.items() if value is not None}
    _change(board, fact, data.blueprint, data.identifier, lambda entity, at: entity.declare(document, at))


def withdraw(board: Board, fact: Fact) -> None:
    data: facts.EntityWithdrawn = fact.event.data
    _change(board, fact, data.blueprint, data.identifier, Entity.withdraw)


FOLDS: Mapping[type[Payload], Callable[[Board, Fact], None]] = {
    facts.EntityDeclared: declare,
    facts.EntityWithdrawn: withdraw,
}


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
