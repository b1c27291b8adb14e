"""Read offering manifests into the domain, once per content.

The cache is keyed by digest, so it can't be stale; `current` may be, and is dropped with every manifest.
"""

from collections.abc import Mapping
from typing import Any

from entresol_contracts.manifests import Drift as DriftManifest
from entresol_contracts.manifests import EntityTemplate
from entresol_contracts.manifests import Lifetime as LifetimeManifest
from entresol_contracts.manifests import Offering as OfferingManifest
from entresol_contracts.manifests import Requirement as RequirementManifest
from entresol_contracts.manifests import Step as StepManifest
from entresol_manifests.durations import seconds
from entresol_manifests.implementations import Way, steps_of
from sqlalchemy import Connection, bindparam, insert, select, update

from entresol_provisioning.domain.graph import Impossible
from entresol_provisioning.domain.lifetime import Lifetime
from entresol_provisioning.domain.offering import (
    HOW_TO_BE,
    Action,
    Compensation,
    Drift,
    Entity,
    Hint,
    Offering,
    Requirement,
    Step,
)
from entresol_provisioning.tables import offering

KEPT = 1024

_CURRENT = select(offering.c.digest).where(
    offering.c.name == bindparam("name"), offering.c.version == bindparam("version"), offering.c.current.is_(True)
)
_MANIFEST = select(offering.c.manifest).where(offering.c.digest == bindparam("digest"))


def read(digest: str, manifest: dict[str, Any]) -> Offering:
    """Raise ValueError for what is no offering."""
    whole = OfferingManifest.model_validate(manifest)
    spec = whole.spec
    ways = (None, *(one.name for one in spec.implementations or ()))
    return Offering(
        digest=digest,
        name=whole.metadata.name,
        version=whole.metadata.version,
        actions=frozenset(spec.actions),
        ways={way: _actions(manifest["spec"], way) for way in ways},
        requires=tuple(_requirement(one) for one in spec.requires or ()),
        lifetime=_lifetime(spec.lifetime),
        drift=_drift(spec.drift),
        outputs=spec.outputs or {},
        entity=_entity(spec.entity),
        cost=spec.cost,
        spec=manifest["spec"],
    )


def _actions(spec: Mapping[str, Any], implementation: str | None) -> dict[str, Action]:
    implemented = (one["actions"] for one in spec.get("implementations") or () if one["name"] == implementation)
    names = {*spec["actions"], *HOW_TO_BE, *(name for actions in implemented for name in actions)}
    return {name: _action(steps_of(spec, implementation, name)) for name in names}


def _action(way: Way) -> Action:
    steps = None if way.steps is None else tuple(_step(StepManifest.model_validate(each)) for each in way.steps)
    return Action(steps, way.on_failure == "compensate")


def _step(step: StepManifest) -> Step:
    return Step(
        name=step.name,
        driver=step.driver,
        with_=step.with_ or {},
        needs=tuple(step.needs or ()),
        when=step.when,
        timeout_seconds=None if step.timeout is None else seconds(step.timeout),
        retries=step.retries,
        backoff_seconds=None if step.backoff is None else seconds(step.backoff),
        outputs=step.outputs,
        compensate=None
        if step.compensate is None
        else Compensation(step.compensate.driver or step.driver, step.compensate.with_),
    )


def _requirement(one: RequirementManifest) -> Requirement:
    return Requirement(
        name=one.name,
        offering=one.offering,
        version=one.version,
        class_=one.class_,
        id=one.id,
        project=one.project,
        environment=one.environment,
        when=one.when,
        inputs=one.inputs or {},
    )


def _drift(drift: DriftManifest | None) -> Drift | None:
    if drift is None:
        return None
    return Drift(
        every_seconds=None if drift.every is None else seconds(drift.every),
        mode=drift.mode,
        tolerate=tuple(drift.tolerate or ()),
        hints=tuple(Hint(one.on, one.when) for one in drift.hints or ()),
    )


def _lifetime(lifetime: LifetimeManifest | None) -> Lifetime:
    if lifetime is None:
        return Lifetime()
    return Lifetime(
        default_seconds=None if lifetime.default is None else seconds(lifetime.default),
        max_seconds=None if lifetime.max is None else seconds(lifetime.max),
        warn_seconds=None if lifetime.warn is None else tuple(seconds(one) for one in lifetime.warn),
    )


def _entity(entity: EntityTemplate | None) -> Entity | None:
    if entity is None:
        return None
    return Entity(
        blueprint=entity.blueprint,
        identifier=entity.identifier,
        title=entity.title,
        properties=entity.properties or {},
        relations=entity.relations or {},
    )


class Offerings:
    """The offerings that are in use, read from the store when they are first asked for."""

    def __init__(self) -> None:
        self._by_digest: dict[str, Offering] = {}
        self._current: dict[tuple[str, str], str | None] = {}
        self._hinted: dict[str, list[Offering]] | None = None

    def forget(self) -> None:
        self._current.clear()
        self._hinted = None

    def keep(self, connection: Connection, digest: str, name: str, version: str, manifest: dict[str, Any]) -> None:
        """Make this the current content of the version."""
        self.retire(connection, name, version)
        values = {"name": name, "version": version, "current": True}
        known = connection.execute(update(offering).where(offering.c.digest == digest).values(**values))
        if not known.rowcount:
            connection.execute(insert(offering), {"digest": digest, "manifest": manifest, **values})

    def retire(self, connection: Connection, name: str, version: str | None) -> None:
        """No new request gets it (without a version: any of it); what was begun with it goes on."""
        query = update(offering).where(offering.c.name == name)
        if version is not None:
            query = query.where(offering.c.version == version)
        connection.execute(query.values(current=False))
        self.forget()

    def digest(self, connection: Connection, name: str, version: str) -> str | None:
        """What this version says now; None if it is not known. Only for the writer thread."""
        key = (name, version)
        if key not in self._current:
            if len(self._current) >= KEPT:
                self._current.clear()
            self._current[key] = connection.execute(_CURRENT, {"name": name, "version": version}).scalar()
        return self._current[key]

    def get(self, connection: Connection, digest: str | None) -> Offering | None:
        """None if it is not known. Raises Impossible if the stored manifest can't be read."""
        if digest is None:
            return None
        known = self._by_digest.get(digest)
        if known is None:
            manifest = connection.execute(_MANIFEST, {"digest": digest}).scalar()
            if manifest is None:
                return None
            if len(self._by_digest) >= KEPT:
                self._by_digest.clear()
            try:
                self._by_digest[digest] = known = read(digest, manifest)
            except ValueError:
                raise Impossible("the offering's manifest can't be read; apply it again") from None
        return known

    def hinted(self, connection: Connection, event_type: str) -> list[Offering]:
        """Every content of an offering that wants to know of such events. Only for the writer thread."""
        if self._hinted is None:
            by_type: dict[str, list[Offering]] = {}
            for row in connection.execute(select(offering.c.digest, offering.c.manifest)):
                wanted = {hint["on"] for hint in row.manifest["spec"].get("drift", {}).get("hints", ())}
                if wanted and (known := self.get(connection, row.digest)) is not None:
                    for one in wanted:
                        by_type.setdefault(one, []).append(known)
            self._hinted = by_type
        return self._hinted.get(event_type, [])
