"""Where entities stand on a scorecard."""

from typing import Annotated, Any

from entresol_eventing.access import Principal
from fastapi import APIRouter, Query, Response
from sqlmodel import Session

from entresol_catalog.domain.scorecards import Standing
from entresol_catalog.http.answers import PROBLEMS, Cursor, Door, Limit, Page, listed, missing
from entresol_catalog.store import tables
from entresol_catalog.store.reading import document, page

NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"description": "There is no such scorecard."}}


def routes(door: Door) -> APIRouter:
    router = APIRouter(prefix="/v1", responses=PROBLEMS)
    reads = door.guard("catalog:read")

    @router.get("/scorecards/{name}", response_model=Page[Standing], responses=NOT_FOUND)
    async def list_standings(
        _: Annotated[Principal, reads],
        name: str,
        level: Annotated[str | None, Query(max_length=100, description="Only entities that are on it.")] = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response:
        """Its entities in the order in which they were looked at first."""
        manifest, standing = tables.manifest, tables.standing
        in_force = (manifest.c.kind == "Scorecard", manifest.c.name == name, manifest.c.removed.is_(False))
        conditions = [standing.c.scorecard == name, standing.c.removed.is_(False)]
        if level is not None:
            conditions.append(standing.c.level == level)
        wanted = page(standing, conditions, cursor=cursor, limit=limit, newest_first=False)

        def read(session: Session) -> tuple[list[str], int | None] | None:
            return None if document(manifest, in_force)(session) is None else wanted(session)

        found = await door.read(read)
        if found is None:
            raise missing("scorecard", name)
        return listed(*found)

    return router
