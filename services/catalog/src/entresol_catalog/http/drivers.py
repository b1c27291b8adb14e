"""Which drivers there are, and what their steps take and give."""

from typing import Annotated

from entresol_eventing.access import Principal
from fastapi import APIRouter, Response

from entresol_catalog.domain.drivers import Driver
from entresol_catalog.http.answers import (
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
from entresol_catalog.store.reading import document, page


def routes(door: Door) -> APIRouter:
    router = APIRouter(prefix="/v1", responses=PROBLEMS)
    reads = door.guard("catalog:read")
    driver = tables.driver
    there = driver.c.withdrawn.is_(False)

    @router.get("/drivers", response_model=Page[Driver])
    async def list_drivers(_: Annotated[Principal, reads], limit: Limit = 100, cursor: Cursor = None) -> Response:
        """Those that are installed where provisioning runs."""
        return listed(*await door.read(page(driver, [there], cursor=cursor, limit=limit, newest_first=False)))

    @router.get("/drivers/{name}", response_model=Driver, responses=SINGLE)
    async def show_driver(_: Annotated[Principal, reads], name: str, if_none_match: IfNoneMatch = None) -> Response:
        """One of them."""
        found = await door.read(document(driver, (driver.c.name == name, there)))
        if found is None:
            raise missing("driver", name)
        return single(found, None, if_none_match)

    return router
