"""Resources, what needs them, and their revisions."""

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Annotated

from entresol_eventing.access import Principal
from fastapi import APIRouter, Query, Response
from sqlmodel import Session

from entresol_catalog.domain.resources import Resource, ResourceState, Revision
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
    reached,
    single,
)
from entresol_catalog.store import tables
from entresol_catalog.store.fleet import needed_by
from entresol_catalog.store.reading import document, page, reach
from entresol_catalog.store.shelf import adapter


@dataclass(slots=True)
class NeededResource(Resource):
    required_by: list[str] = field(default_factory=list)
    """Resources that need it, as far as the token reaches."""


def routes(door: Door) -> APIRouter:
    router = APIRouter(prefix="/v1", responses=PROBLEMS)
    reads = door.guard("catalog:read")

    @router.get("/resources", response_model=Page[NeededResource])
    async def list_resources(
        who: Annotated[Principal, reads],
        project: Project = None,
        environment: str | None = None,
        offering: str | None = None,
        version: Annotated[str | None, Query(max_length=100)] = None,
        state: Annotated[list[ResourceState] | None, Query()] = None,
        drifted: bool | None = None,
        unobserved: bool | None = None,
        paused: bool | None = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response:
        """Newest first; those that were deleted too, unless a state is asked for."""
        table = tables.resource
        wanted = given(project=project, environment=environment, offering=offering, version=version)
        wanted += given(drifted=drifted, unobserved=unobserved, paused=paused)
        conditions = [*reach(table, who), *(table.c[name] == value for name, value in wanted)]
        if state:
            conditions.append(table.c.state.in_(state))

        def read(session: Session) -> tuple[list[str], int | None]:
            found, following = page(table, conditions, cursor=cursor, limit=limit)(session)
            return _with_needs(found, [json.loads(one)["id"] for one in found], who, session), following

        return listed(*await door.read(read))

    @router.get("/resources/{project}/{environment}/{offering}/{name}", response_model=NeededResource, responses=SINGLE)
    async def show_resource(
        who: Annotated[Principal, reads],
        project: str,
        environment: str,
        offering: str,
        name: str,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        resource_id = f"{project}/{environment}/{offering}/{name}"

        def read(session: Session) -> str | None:
            found = document(tables.resource, [tables.resource.c.id == resource_id])(session)
            return None if found is None else _with_needs([found], [resource_id], who, session)[0]

        found = await door.read(read) if reached(who, project) else None
        if found is None:
            raise missing("resource", resource_id)
        return single(found, adapter(Resource).validate_json(found).revision, if_none_match)

    @router.get(
        "/resources/{project}/{environment}/{offering}/{name}/revisions",
        response_model=Page[Revision],
        responses=SINGLE,
    )
    async def list_revisions(
        who: Annotated[Principal, reads],
        project: str,
        environment: str,
        offering: str,
        name: str,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response:
        """What each request has made of it, newest first, with all of its inputs; of its former lives too."""
        resource_id = f"{project}/{environment}/{offering}/{name}"
        made = [tables.revision.c.resource == resource_id]

        def read(session: Session) -> tuple[list[str], int | None] | None:
            there = document(tables.resource, [tables.resource.c.id == resource_id])(session)
            return None if there is None else page(tables.revision, made, cursor=cursor, limit=limit)(session)

        found = await door.read(read) if reached(who, project) else None
        if found is None:
            raise missing("resource", resource_id)
        return listed(*found)

    return router


def _with_needs(documents: list[str], ids: Collection[str], who: Principal, session: Session) -> list[str]:
    """The documents of these resources, in the same order, each with what needs it."""
    needs = needed_by(ids, who, session)
    return [
        f'{document[:-1]},"required_by":{json.dumps(needs.get(one, []), ensure_ascii=False)}}}'
        for one, document in zip(ids, documents, strict=True)
    ]
