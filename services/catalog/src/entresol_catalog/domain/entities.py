"""A catalog entity: what people declared about it, under what resources contribute to it.

Where both speak of the same field, the resource's word counts: it knows what exists. A document is an entity in
Port's shape: title, icon, team where given; properties and relations always.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Document = dict[str, Any]
_FLAT = ("title", "icon", "team")
_MAPS = ("properties", "relations")


@dataclass(frozen=True, slots=True)
class Difference:
    """What a fact did to an entity."""

    removed: bool
    pointers: list[str]
    """JSON pointers of what differs; empty for a new entity."""


@dataclass(slots=True)
class Entity:
    """Stays as a mark after its removal, so that its revision never starts anew."""

    blueprint: str
    identifier: str
    updated_at: datetime
    document: Document | None = None
    """The entity as it is seen; None while nobody claims it."""
    declared: Document | None = None
    contributions: dict[str, Document] = field(default_factory=dict)
    """By resource id."""
    revision: int = 0

    @property
    def exists(self) -> bool:
        return self.document is not None

    def declare(self, document: Document, at: datetime) -> Difference | None:
        self.declared = document
        return self._refold(at)

    def withdraw(self, at: datetime) -> Difference | None:
        self.declared = None
        return self._refold(at)

    def contribute(self, resource_id: str, document: Document, at: datetime) -> Difference | None:
        self.contributions[resource_id] = document
        return self._refold(at)

    def retract(self, resource_id: str, at: datetime) -> Difference | None:
        self.contributions.pop(resource_id, None)
        return self._refold(at)

    def _refold(self, at: datetime) -> Difference | None:
        before, after = self.document, merge([self.declared, *self.contributions.values()])
        if _same(before, after):
            return None
        self.document = after
        self.revision += 1
        self.updated_at = at
        if after is None:
            return Difference(removed=True, pointers=[])
        return Difference(removed=False, pointers=[] if before is None else differences(before, after))


def merge(claims: list[Document | None]) -> Document | None:
    """The claims laid over each other, later ones on top; None if nobody claims anything."""
    present = [claim for claim in claims if claim is not None]
    if not present:
        return None
    whole: Document = {"properties": {}, "relations": {}}
    for claim in present:
        whole |= {key: claim[key] for key in _FLAT if claim.get(key) is not None}
        for part in _MAPS:
            whole[part] = whole[part] | claim[part]
    return whole


def differences(before: Document, after: Document) -> list[str]:
    """JSON pointers of the fields, properties and relations that are not the same."""
    pointers = [f"/{key}" for key in _FLAT if not _same(before.get(key), after.get(key))]
    for part in _MAPS:
        old, new = before[part], after[part]
        pointers += [
            f"/{part}/{_escape(name)}"
            for name in sorted({*old, *new})
            if (name in old) != (name in new) or not _same(old.get(name), new.get(name))
        ]
    return pointers


def targets(document: Document | None) -> set[tuple[str, str]]:
    """(relation, identifier) of everything that the entity points at."""
    found: set[tuple[str, str]] = set()
    for name, value in (document or {}).get("relations", {}).items():
        for target in value if isinstance(value, list) else [value]:
            if isinstance(target, str):
                found.add((name, target))
    return found


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON: for Python, 1 and true are the same."""
    return one == other and json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _escape(token: str) -> str:
    return token.replace("~", "~0").replace("/", "~1")
