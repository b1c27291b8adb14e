"""Locks and waivers, those that have ended too."""

from collections.abc import Sequence
from typing import Annotated, Literal

from entresol_eventing.access import Principal
from fastapi import APIRouter, Query, Response
from sqlalchemy import ColumnElement, Table, or_

from entresol_catalog.domain.locks import Lock, Waiver
from entresol_catalog.http.answers import PROBLEMS, Cursor, Door, Limit, Page, Project, listed
from entresol_catalog.store import tables
from entresol_catalog.store.reading import page, reach_or_everywhere

States = Annotated[list[Literal["active", "ended"]] | None, Query()]


def routes(door: Door) -> APIRouter:
    router = APIRouter(prefix="/v1", responses=PROBLEMS)
    reads = door.guard("catalog:read")

    @router.get("/locks", response_model=Page[Lock])
    async def list_locks(
        who: Annotated[Principal, reads],
        state: States = None,
        project: Project = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response:
        """Newest first. With `project`, those about it and those about every project."""
        conditions = _conditions(tables.lock, who, state, project)
        return listed(*await door.read(page(tables.lock, conditions, cursor=cursor, limit=limit)))

    @router.get("/waivers", response_model=Page[Waiver])
    async def list_waivers(
        who: Annotated[Principal, reads],
        state: States = None,
        project: Project = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response:
        """Newest first. With `project`, those about it and those about every project."""
        conditions = _conditions(tables.waiver, who, state, project)
        return listed(*await door.read(page(tables.waiver, conditions, cursor=cursor, limit=limit)))

    return router


def _conditions(
    table: Table, who: Principal, states: Sequence[str] | None, project: str | None
) -> list[ColumnElement[bool]]:
    conditions = reach_or_everywhere(table, who)
    if states:
        conditions.append(table.c.state.in_(states))
    if project is not None:
        conditions.append(or_(table.c.project == project, table.c.project.is_(None)))
    return conditions
