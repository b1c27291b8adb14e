"""What policy keeps of what others have said, folded from the log alone: what is in force, the catalog, resources.

Decisions, locks and waivers are no part of it: they have times of their own, and end by what policy itself does.
What counts in quotas follows from this and from what policy has allowed; it is counted anew after a rebuild.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from entresol_contracts import Payload
from entresol_contracts.events import (
    EntityChanged,
    EntityRemoved,
    ManifestApplied,
    ManifestRemoved,
    ResourceChanged,
    ResourceDeleted,
    ResourceProvisioned,
    ScorecardChanged,
)
from entresol_eventing.envelope import Event, now
from entresol_eventing.reactions import Outcome
from entresol_eventing.store import deadline
from sqlalchemy import Connection, MetaData, delete, insert
from sqlmodel import Session

from entresol_policy.books import KINDS
from entresol_policy.store import books, entities, shares

REBUILT: Final = "rebuilt"
"""The deadline by which policy hears that this was put in the place of what it knew."""

metadata = MetaData()
for _table in (books.manifest, entities.entity, entities.score, shares.resource):
    _table.to_metadata(metadata)


def project(events: Sequence[Event[Any]], session: Session) -> Iterator[Outcome]:
    """Fold the events; say nothing."""
    for event in events:
        fold = _FOLDS.get(type(event.data))
        if fold is not None:
            fold(event.data, session)
    yield from ()


def announce(connection: Connection) -> None:
    """Let the service count anew and look again at what waits: at once where it does not run, else within 30 s."""
    connection.execute(delete(deadline).where(deadline.c.key == REBUILT))
    row = {"key": REBUILT, "kind": REBUILT, "due_at": now(), "args": {}, "cause": {}, "attempts": 0}
    connection.execute(insert(deadline), row)


def keep_manifest(fact: ManifestApplied, session: Session) -> None:
    if fact.kind in KINDS:
        books.put_manifest(session, fact.kind, fact.name, fact.digest, fact.manifest)
    elif fact.kind == books.OFFERING:
        books.put_offering(session, fact.name, fact.version or "", fact.manifest)


def drop_manifest(fact: ManifestRemoved, session: Session) -> None:
    if fact.kind in KINDS:
        books.remove_manifest(session, fact.kind, fact.name)


def keep_entity(fact: EntityChanged, session: Session) -> None:
    entities.keep(session, fact.blueprint, fact.identifier, fact.revision, fact.entity)


def forget_entity(fact: EntityRemoved, session: Session) -> None:
    entities.forget(session, fact.blueprint, fact.identifier, fact.revision)


def rate_entity(fact: ScorecardChanged, session: Session) -> None:
    level = {"level": fact.level, "rank": fact.rank, "rules": [one.model_dump(exclude_none=True) for one in fact.rules]}
    known = level if fact.rules else None
    entities.rate(session, fact.blueprint, fact.identifier, fact.scorecard, known)


def keep_resource(fact: ResourceProvisioned | ResourceChanged, session: Session) -> None:
    shares.keep_resource(session, fact.resource_id, document_of(fact))


def forget_resource(fact: ResourceDeleted, session: Session) -> None:
    shares.remove_resource(session, fact.resource_id)


def document_of(fact: ResourceProvisioned | ResourceChanged) -> dict[str, Any]:
    """The resource as quotas see it."""
    return {
        "id": fact.resource_id,
        "project": fact.project,
        "environment": fact.environment,
        "offering": fact.offering,
        "version": fact.offering_version,
        "name": fact.name,
        "inputs": fact.inputs,
        "owner": fact.owner,
    }


_FOLDS: Final[Mapping[type[Payload], Callable[[Any, Session], None]]] = {
    ManifestApplied: keep_manifest,
    ManifestRemoved: drop_manifest,
    EntityChanged: keep_entity,
    EntityRemoved: forget_entity,
    ScorecardChanged: rate_entity,
    ResourceProvisioned: keep_resource,
    ResourceChanged: keep_resource,
    ResourceDeleted: forget_resource,
}
