"""Everything that one batch of events touches, and what the catalog says about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from entresol_eventing.envelope import Event
from entresol_eventing.reactions import Emit
from sqlalchemy import and_, bindparam, delete, insert
from sqlmodel import Session

from entresol_catalog.domain.approvals import Approval
from entresol_catalog.domain.drivers import Driver
from entresol_catalog.domain.entities import Entity, targets
from entresol_catalog.domain.listings import DeadLetter, Manifest, Notification, Token
from entresol_catalog.domain.locks import Lock, Waiver
from entresol_catalog.domain.offerings import Stages
from entresol_catalog.domain.patience import look_again_at
from entresol_catalog.domain.requests import Request
from entresol_catalog.domain.resources import Resource, Revision
from entresol_catalog.domain.scorecards import Standing
from entresol_catalog.handlers.keys import keys_of
from entresol_catalog.store import tables
from entresol_catalog.store.shelf import Key, Shelf


@dataclass(slots=True)
class Fact:
    """An event at its place in history."""

    event: Event[Any]
    position: int

    @property
    def at(self) -> datetime:
        return self.event.time


class Board:
    """Loaded with a handful of queries, written back with a handful of bulk statements."""

    def __init__(self, patience_seconds: Mapping[str, float]) -> None:
        self.said: list[Emit] = []
        self.requests = Shelf(tables.request, Request, lambda one: _request_columns(one, patience_seconds))
        self.approvals = Shelf(tables.approval, Approval, _approval_columns)
        self.resources = Shelf(tables.resource, Resource, _resource_columns)
        self.revisions = Shelf(tables.revision, Revision, lambda one: {})
        self.offerings = Shelf(tables.offering, Stages, lambda one: {})
        self.entities = Shelf(tables.entity, Entity, lambda one: {"removed": not one.exists})
        self.manifests = Shelf(tables.manifest, Manifest, lambda one: {"removed": one.removed})
        self.drivers = Shelf(tables.driver, Driver, lambda one: {"withdrawn": one.withdrawn})
        self.tokens = Shelf(tables.token, Token, lambda one: {"hash": one.hash})
        self.dead_letters = Shelf(tables.dead_letter, DeadLetter, lambda one: {"state": one.state})
        self.notifications = Shelf(
            tables.notification, Notification, lambda one: {"project": one.project, "state": one.state}
        )
        self.locks = Shelf(tables.lock, Lock, _scoped_columns)
        self.waivers = Shelf(tables.waiver, Waiver, _scoped_columns)
        self.standings = Shelf(tables.standing, Standing, _standing_columns)
        self.changed: dict[Key, Fact] = {}
        """Entities that are not what they were before the batch, with the last fact about each."""
        self.applied: dict[str, Fact] = {}
        """Scorecards that were applied or removed, by name."""
        self.heard: dict[Key, Fact] = {}
        """Standings that were told of."""
        self.pointing: dict[Key, set[tuple[str, str]]] = {}
        """What entities pointed at before the batch, for those whose relations it may have changed."""
        self.leaning: dict[str, dict[str, str]] = {}
        """What resources needed before the batch, for those of which it may have changed that."""

    def load(self, events: Sequence[Event[Any]], session: Session) -> None:
        """Fetch everything that the events speak of. Some come last: a resource's row says which entity it had, and a
        request's who waits for it."""
        wanted: dict[str, set[Key]] = {}
        for event in events:
            for shelf, key in keys_of(event):
                wanted.setdefault(shelf, set()).add(key)
        entities = wanted.pop("entities", set())
        for shelf, keys in wanted.items():
            getattr(self, shelf).load(keys, session)
        for resource in self.resources.things.values():
            if resource.entity is not None:
                entities.add((resource.entity.blueprint, resource.entity.identifier))
        self.entities.load(entities, session)
        made_for = [one.requirement for one in self.requests.things.values() if one.requirement is not None]
        self.requests.load({(one.request_id,) for one in made_for}, session)
        approvals = {(one.id,) for request in self.requests.things.values() for one in request.approvals}
        self.approvals.load(approvals, session)

    def write(self, session: Session) -> None:
        for request_key in self.requests.kept:
            request = self.requests.things[request_key]
            for approval in request.approvals:
                self.approvals.add((approval.id,), approval, self.requests.positions[request_key])
        for shelf in (self.requests, self.approvals, self.resources, self.entities):
            shelf.write(session)
        for listing in (
            *(self.manifests, self.drivers, self.tokens, self.dead_letters, self.notifications),
            *(self.locks, self.waivers, self.standings, self.revisions, self.offerings),
        ):
            listing.write(session)
        self._write_relations(session)
        self._write_needs(session)

    def lean(self, resource_id: str, needed: dict[str, str]) -> None:
        """What the resource needs may change; this is what it needed before."""
        self.leaning.setdefault(resource_id, needed)

    def _write_relations(self, session: Session) -> None:
        gone: list[dict[str, str]] = []
        new: list[dict[str, str]] = []
        for (blueprint, identifier), before in self.pointing.items():
            now = targets(self.entities.things[blueprint, identifier].document)
            for rows, pairs, prefix in ((gone, before - now, "key_"), (new, now - before, "")):
                for name, target in sorted(pairs):
                    values = {"blueprint": blueprint, "identifier": identifier, "name": name, "target": target}
                    rows.append({prefix + column: value for column, value in values.items()})
        if gone:
            session.connection().execute(_DELETE_RELATION, gone)
        if new:
            session.connection().execute(insert(tables.relation), new)

    def _write_needs(self, session: Session) -> None:
        gone: list[dict[str, str]] = []
        new: list[dict[str, str]] = []
        for resource_id, before in self.leaning.items():
            resource = self.resources.things[resource_id,]
            for name in sorted({*before, *resource.requires}):
                old, now = before.get(name), resource.requires.get(name)
                if old == now:
                    continue
                if old is not None:
                    gone.append({"key_resource": resource_id, "key_name": name})
                if now is not None:
                    new.append({"resource": resource_id, "name": name, "project": resource.project, "target": now})
        if gone:
            session.connection().execute(_DELETE_NEED, gone)
        if new:
            session.connection().execute(insert(tables.need), new)


_DELETE_NEED = delete(tables.need).where(
    tables.need.c.resource == bindparam("key_resource"), tables.need.c.name == bindparam("key_name")
)
_DELETE_RELATION = delete(tables.relation).where(
    and_(*(column == bindparam(f"key_{column.name}") for column in tables.relation.c))
)


def _request_columns(request: Request, patience_seconds: Mapping[str, float]) -> dict[str, Any]:
    return {
        "project": request.project,
        "resource": request.resource,
        "offering": request.offering,
        "state": request.state,
        "check_at": look_again_at(request, patience_seconds),
    }


def _approval_columns(approval: Approval) -> dict[str, Any]:
    review_by = approval.expires_at if approval.review else None
    return {"project": approval.project, "state": approval.state, "review_by": review_by}


def _scoped_columns(thing: Lock | Waiver) -> dict[str, Any]:
    return {"project": thing.project, "state": thing.state}


def _standing_columns(standing: Standing) -> dict[str, Any]:
    return {"level": standing.level, "removed": standing.result is None}


def _resource_columns(resource: Resource) -> dict[str, Any]:
    return {
        "project": resource.project,
        "environment": resource.environment,
        "offering": resource.offering,
        "version": resource.offering_version,
        "state": resource.state,
        "drifted": resource.drift is not None,
        "unobserved": resource.unobserved is not None,
        "paused": resource.paused is not None,
    }
