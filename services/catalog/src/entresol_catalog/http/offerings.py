"""Offerings in their versions, the stage of each, and who runs which."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Annotated, Any

from entresol_eventing.access import Principal
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel
from sqlalchemy import ColumnElement
from sqlmodel import Session

from entresol_catalog.domain.listings import Manifest
from entresol_catalog.domain.offerings import Stage, Stages
from entresol_catalog.domain.resources import Drift, Pause, Resource, Unobserved
from entresol_catalog.domain.versions import precedence
from entresol_catalog.http.answers import (
    PROBLEMS,
    SINGLE,
    Cursor,
    Door,
    IfNoneMatch,
    Limit,
    Page,
    Project,
    given,
    listed,
    missing,
    single,
)
from entresol_catalog.store import tables
from entresol_catalog.store.fleet import published, running, stages
from entresol_catalog.store.reading import documents, page, reach
from entresol_catalog.store.shelf import adapter, written

Version = Annotated[str | None, Query(max_length=100)]


@dataclass(slots=True, kw_only=True)
class OfferedVersion(Manifest):
    stage: Stage | None
    """None: it is neither the default nor anything else, and there for those who name it."""
    resources: int
    """How many run it, as far as the token reaches."""


@dataclass(slots=True)
class VersionItem:
    version: str
    stage: Stage | None
    staged_at: datetime | None
    """When it was told of its stage last; None if it never was."""
    staged_by: str | None
    reason: str | None
    digest: str
    applied_at: datetime
    removed: bool
    """Nobody can ask for it any more; shown while resources run it."""
    resources: int


@dataclass(slots=True, kw_only=True)
class OfferingView(OfferedVersion):
    default: str | None
    """The version that a request for something new gets that names none."""
    versions: list[VersionItem]
    """The highest first."""


class ImpactItem(BaseModel):
    """A resource that runs a version of the offering."""

    id: str
    project: str
    environment: str
    name: str
    owner: str
    version: str
    stage: Stage | None
    """Of its version."""
    state: str
    implementation: str | None
    drift: Drift | None
    unobserved: Unobserved | None
    paused: Pause | None
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Shelves:
    """What is known of some offerings beside their manifests, which is read once for one answer."""

    stages: Mapping[str, Stages]
    published: Mapping[str, list[str]]
    running: Mapping[tuple[str, str], int]

    @classmethod
    def read(cls, names: set[str], who: Principal, session: Session) -> "Shelves":
        return cls(stages(names, session), published(names, session), running(names, who, session))

    def default(self, name: str) -> str | None:
        return self.stages[name].default(self.published.get(name, ()))

    def stage(self, name: str, version: str) -> Stage | None:
        return self.stages[name].of(version, self.published.get(name, ()))

    def offered(self, manifest: Manifest) -> dict[str, Any]:
        """A version's manifest, with its stage and how many run it."""
        version = manifest.version or ""
        return {
            **{field.name: getattr(manifest, field.name) for field in fields(manifest)},
            "stage": self.stage(manifest.name, version),
            "resources": self.running.get((manifest.name, version), 0),
        }

    def item(self, manifest: Manifest) -> VersionItem:
        version = manifest.version or ""
        said = self.stages[manifest.name].versions.get(version)
        return VersionItem(
            version=version,
            stage=self.stage(manifest.name, version),
            staged_at=None if said is None else said.at,
            staged_by=None if said is None else said.by,
            reason=None if said is None else said.reason,
            digest=manifest.digest,
            applied_at=manifest.applied_at,
            removed=manifest.removed,
            resources=self.running.get((manifest.name, version), 0),
        )


def routes(door: Door) -> APIRouter:
    router = APIRouter(prefix="/v1", responses=PROBLEMS)
    reads = door.guard("catalog:read")

    @router.get("/offerings", response_model=Page[OfferedVersion])
    async def list_offerings(who: Annotated[Principal, reads], limit: Limit = 100, cursor: Cursor = None) -> Response:
        """Every version that is in force, in the order in which they were published.

        Of an offering that was published before versions had stages, the highest one that has none is the default.
        """
        conditions = (tables.manifest.c.kind == "Offering", tables.manifest.c.removed.is_(False))
        wanted = page(tables.manifest, conditions, cursor=cursor, limit=limit, newest_first=False)

        def read(session: Session) -> tuple[list[str], int | None]:
            found, following = wanted(session)
            manifests = [adapter(Manifest).validate_json(one) for one in found]
            shelves = Shelves.read({one.name for one in manifests}, who, session)
            return [written(OfferedVersion(**shelves.offered(one))) for one in manifests], following

        return listed(*await door.read(read))

    @router.get("/offerings/{name}", response_model=OfferingView, responses=SINGLE)
    async def show_offering(
        who: Annotated[Principal, reads], name: str, version: Version = None, if_none_match: IfNoneMatch = None
    ) -> Response:
        """All of its versions, and the manifest of the one asked for: else of the default, else of the highest."""
        view = await door.read(lambda session: _view(name, version, who, session))
        if view is None:
            raise missing("offering", name if version is None else f"{name} {version}")
        return single(written(view), None, if_none_match)

    @router.get("/offerings/{name}/impact", response_model=Page[ImpactItem], responses=SINGLE)
    async def show_impact(
        who: Annotated[Principal, reads],
        name: str,
        version: Version = None,
        project: Project = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response:
        """The resources that run it, or one version of it, as far as the token reaches; the newest first."""
        table = tables.resource
        conditions: list[ColumnElement[bool]] = [table.c.offering == name, table.c.state != "deleted"]
        conditions += reach(table, who)
        conditions += [table.c[column] == value for column, value in given(version=version, project=project)]

        def read(session: Session) -> tuple[list[str], int | None] | None:
            shelves = Shelves.read({name}, who, session)
            found, following = page(table, conditions, cursor=cursor, limit=limit)(session)
            known = {*shelves.published.get(name, ()), *(one for _, one in shelves.running)}
            if not known or (version is not None and version not in known):
                return None
            resources = [adapter(Resource).validate_json(one) for one in found]
            return [_impact(one, shelves).model_dump_json() for one in resources], following

        found = await door.read(read)
        if found is None:
            raise missing("offering", name if version is None else f"{name} {version}")
        return listed(*found)

    return router


def _view(name: str, version: str | None, who: Principal, session: Session) -> OfferingView | None:
    table = tables.manifest
    found = documents(table, table.c.kind == "Offering", table.c.name == name)(session)
    shelves = Shelves.read({name}, who, session)
    manifests = {one.version or "": one for one in map(adapter(Manifest).validate_json, found)}
    shown = [one for key, one in manifests.items() if not one.removed or shelves.running.get((name, key))]
    shown.sort(key=lambda one: precedence(one.version or ""), reverse=True)
    offered = [one for one in shown if not one.removed]
    default = shelves.default(name)
    if version is None and offered:
        version = default if default is not None else offered[0].version
    chosen = next((one for one in offered if one.version == version), None)
    if chosen is None:
        return None
    versions = [shelves.item(one) for one in shown]
    return OfferingView(**shelves.offered(chosen), default=default, versions=versions)


def _impact(resource: Resource, shelves: Shelves) -> ImpactItem:
    return ImpactItem(
        id=resource.id,
        project=resource.project,
        environment=resource.environment,
        name=resource.name,
        owner=resource.owner,
        version=resource.offering_version,
        stage=shelves.stage(resource.offering, resource.offering_version),
        state=resource.state,
        implementation=resource.implementation,
        drift=resource.drift,
        unobserved=resource.unobserved,
        paused=resource.paused,
        updated_at=resource.updated_at,
    )
