"""Entities with their relations both ways, blueprints, and the export in Port's shape."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

import jsonschema_rs
from entresol_eventing.access import Principal
from entresol_eventing.store import one_of
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict
from sqlalchemy import ColumnElement
from sqlmodel import Session

from entresol_catalog.domain import portal
from entresol_catalog.domain.entities import Entity, targets
from entresol_catalog.domain.fitting import Spec, property_schema, relation_problems, target_blueprint
from entresol_catalog.domain.listings import Manifest
from entresol_catalog.domain.scorecards import RuleResult, Standing
from entresol_catalog.http.answers import (
    JSON,
    PROBLEMS,
    SINGLE,
    Cursor,
    Door,
    IfNoneMatch,
    Limit,
    Page,
    listed,
    missing,
    single,
)
from entresol_catalog.store import tables
from entresol_catalog.store.reading import documents, existing, page, pointing_at
from entresol_catalog.store.shelf import Key, adapter
from entresol_catalog.store.standings import standings_of

MOST_POINTING = 500
"""Entities that are shown as pointing at one; a type that thousands point at is better listed by its own."""
_BLUEPRINTS = (tables.manifest.c.kind == "Blueprint", tables.manifest.c.removed.is_(False))


class Dangling(BaseModel):
    """A relation that points at something that is not in the catalog."""

    relation: str
    blueprint: str
    target: str
    exists: Literal[False] = False


class Grade(BaseModel):
    level: str | None
    rank: int
    """Of the level among all of the scorecard's, from 1; 0 for none."""
    rules: list[RuleResult]


class EntityItem(BaseModel):
    blueprint: str
    identifier: str
    title: str | None = None
    icon: str | None = None
    team: Any = None
    properties: dict[str, Any]
    relations: dict[str, Any]
    """As they were declared: an identifier, several, or null."""
    revision: int
    updated_at: datetime
    resources: list[str]
    """Resources that contribute to it, as far as the token reaches."""
    problems: list[str]
    """What does not fit the blueprint."""
    dangling: list[Dangling]
    scorecards: dict[str, Grade]
    """By scorecard: where it stands."""


class Pointer(BaseModel):
    blueprint: str
    identifier: str
    relation: str


class EntityView(EntityItem):
    relatedBy: list[Pointer]  # noqa: N815 - beside Port's own camel case
    """What points at it."""


class BlueprintItem(BaseModel):
    """In Port's shape, with what Entresol knows of it beside."""

    model_config = ConfigDict(extra="allow")

    identifier: str
    digest: str
    updated_at: datetime


class PortalExport(BaseModel):
    blueprints: list[dict[str, Any]]
    entities: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Seen:
    """Entities in the light of the blueprints that are in force, which are read once for one answer."""

    specs: dict[str, Spec]

    @classmethod
    def read(cls, session: Session) -> "Seen":
        found = [adapter(Manifest).validate_json(one) for one in documents(tables.manifest, *_BLUEPRINTS)(session)]
        return cls({one.name: one.manifest.get("spec", {}) for one in found})

    def item(
        self, entity: Entity, there: set[tuple[str, str]], standings: Mapping[Key, list[Standing]], who: Principal
    ) -> dict[str, Any]:
        dangling = [
            Dangling(relation=name, blueprint=blueprint, target=target)
            for name, blueprint, target in self._targets(entity)
            if (blueprint, target) not in there
        ]
        return {
            "blueprint": entity.blueprint,
            "identifier": entity.identifier,
            **(entity.document or {}),
            "revision": entity.revision,
            "updated_at": entity.updated_at,
            "resources": [one for one in entity.contributions if who.reaches(one.split("/", 1)[0])],
            "problems": self.problems(entity),
            "dangling": dangling,
            "scorecards": {
                one.scorecard: Grade(level=one.level, rank=one.rank, rules=one.rules)
                for one in standings.get((entity.blueprint, entity.identifier), ())
            },
        }

    def targets_that_exist(self, entities: list[Entity], session: Session) -> set[tuple[str, str]]:
        """(blueprint, identifier) of everything that these point at and that is there."""
        wanted = {(blueprint, target) for one in entities for _, blueprint, target in self._targets(one)}
        return existing(sorted(wanted), session)

    def _targets(self, entity: Entity) -> list[tuple[str, str, str]]:
        """(relation, blueprint, identifier), of the relations whose blueprint says where they lead."""
        spec = self.specs.get(entity.blueprint)
        pairs = [(name, target_blueprint(spec, name), target) for name, target in sorted(targets(entity.document))]
        return [(name, blueprint, target) for name, blueprint, target in pairs if blueprint is not None]

    def problems(self, entity: Entity) -> list[str]:
        spec = self.specs.get(entity.blueprint)
        if spec is None:
            return [f"/blueprint: there is no blueprint {entity.blueprint}"]
        document = entity.document or {"properties": {}, "relations": {}}
        try:
            validator = jsonschema_rs.Draft202012Validator(property_schema(spec))
            found = [
                f"/properties{''.join(f'/{part}' for part in error.instance_path)}: {error.message}"
                for error in validator.iter_errors(document["properties"])
            ]
        except (ValueError, TypeError) as error:
            found = [f"/blueprint: the schema of {entity.blueprint} can't be used: {str(error).splitlines()[0]}"]
        return found + relation_problems(document, spec)


def routes(door: Door) -> APIRouter:
    router = APIRouter(prefix="/v1", responses=PROBLEMS)
    reads = door.guard("catalog:read")

    @router.get("/entities", response_model=Page[EntityItem])
    async def list_entities(
        who: Annotated[Principal, reads],
        blueprint: Annotated[str | None, Query(max_length=1000)] = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response:
        """In the order in which they appeared."""
        conditions: list[ColumnElement[bool]] = [tables.entity.c.removed.is_(False)]
        if blueprint is not None:
            conditions.append(tables.entity.c.blueprint == blueprint)

        def read(session: Session) -> tuple[list[str], int | None]:
            wanted = page(tables.entity, conditions, cursor=cursor, limit=limit, newest_first=False)
            found, following = wanted(session)
            seen = Seen.read(session)
            entities = [adapter(Entity).validate_json(one) for one in found]
            there = seen.targets_that_exist(entities, session)
            standings = standings_of([(one.blueprint, one.identifier) for one in entities], session)
            items = [EntityItem(**seen.item(one, there, standings, who)) for one in entities]
            return [one.model_dump_json() for one in items], following

        return listed(*await door.read(read))

    @router.get("/entities/{blueprint}/{identifier:path}", response_model=EntityView, responses=SINGLE)
    async def show_entity(
        who: Annotated[Principal, reads], blueprint: str, identifier: str, if_none_match: IfNoneMatch = None
    ) -> Response:
        """An identifier may hold slashes, and so may a blueprint's."""

        def read(session: Session) -> EntityView | None:
            columns = (tables.entity.c.blueprint, tables.entity.c.identifier)
            fits = one_of(columns, _splits(f"{blueprint}/{identifier}"))
            found = documents(tables.entity, fits, tables.entity.c.removed.is_(False))(session)
            return _view(adapter(Entity).validate_json(found[0]), who, session) if found else None

        view = await door.read(read)
        if view is None:
            raise missing("entity", f"{blueprint}/{identifier}")
        return single(view.model_dump_json(), view.revision, if_none_match)

    @router.get("/blueprints", response_model=Page[BlueprintItem])
    async def list_blueprints(_: Annotated[Principal, reads], limit: Limit = 100, cursor: Cursor = None) -> Response:
        wanted = page(tables.manifest, _BLUEPRINTS, cursor=cursor, limit=limit, newest_first=False)
        found, following = await door.read(wanted)
        manifests = [adapter(Manifest).validate_json(one) for one in found]
        items = [
            BlueprintItem(**{**portal.blueprint(one), "digest": one.digest, "updated_at": one.applied_at})
            for one in manifests
        ]
        return listed([one.model_dump_json() for one in items], following)

    @router.get("/export", response_model=PortalExport)
    async def export(_: Annotated[Principal, reads], format: Literal["port"] = "port") -> Response:  # noqa: A002
        """The whole catalog as it could be imported again."""

        def read(session: Session) -> dict[str, Any]:
            manifests = documents(tables.manifest, *_BLUEPRINTS)(session)
            entities = documents(tables.entity, tables.entity.c.removed.is_(False))(session)
            return {
                "blueprints": [portal.blueprint(adapter(Manifest).validate_json(one)) for one in manifests],
                "entities": [portal.entity(adapter(Entity).validate_json(one)) for one in entities],
            }

        return Response(json.dumps(await door.read(read), ensure_ascii=False), media_type=JSON)

    return router


def _view(entity: Entity, who: Principal, session: Session) -> EntityView:
    seen = Seen.read(session)
    pointing = [
        Pointer(blueprint=blueprint, identifier=identifier, relation=name)
        for blueprint, identifier, name in pointing_at(entity.identifier, MOST_POINTING, session)
        if target_blueprint(seen.specs.get(blueprint), name) == entity.blueprint
    ]
    standings = standings_of([(entity.blueprint, entity.identifier)], session)
    item = seen.item(entity, seen.targets_that_exist([entity], session), standings, who)
    return EntityView(**item, relatedBy=pointing)


def _splits(path: str) -> list[tuple[str, str]]:
    """Every way to read a path as blueprint and identifier."""
    parts = path.split("/")
    return [("/".join(parts[:cut]), "/".join(parts[cut:])) for cut in range(1, len(parts))][:50]
