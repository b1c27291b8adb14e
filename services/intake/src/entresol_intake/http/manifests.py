"""Manifests: applying a batch, and taking one out of force."""

import asyncio
from functools import partial
from typing import Annotated

from entresol_eventing.access import Principal
from entresol_eventing.envelope import now
from entresol_eventing.http import Problem
from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from entresol_intake.assessing import Refusal, Result, assess, contracts, read_batch
from entresol_intake.domain.faults import Invalid
from entresol_intake.http import shapes
from entresol_intake.http.desk import Desk, not_found, read_json, unprocessable, violations
from entresol_intake.publishing import apply, remove

TITLE = "The manifests are not valid"


def router(desk: Desk) -> APIRouter:
    routes = APIRouter(tags=["manifests"])
    writes = desk.guard("manifests:write")

    @routes.post(
        "/v1/manifests",
        status_code=202,
        summary="Apply manifests, all or none",
        responses=shapes.answers(202, shapes.RESULTS, "Stored, or only checked if dry_run", 409),
        openapi_extra=shapes.takes(shapes.MANIFESTS),
    )
    async def post(
        request: Request,
        who: Annotated[Principal, writes],
        dry_run: Annotated[bool, Query()] = False,
        proposed: Annotated[
            bool, Query(description="New versions of offerings are only for who names them; none becomes the default")
        ] = False,
    ) -> Response:
        documents = await read_json(request)
        drivers = await desk.service.read(contracts)
        try:
            items = await asyncio.to_thread(read_batch, documents, drivers)
        except Invalid as invalid:
            raise unprocessable(invalid, TITLE) from None
        if dry_run:
            return _results(await desk.service.read(partial(assess, items, proposed=proposed)))
        results = await desk.transact(partial(apply, items, now(), who.actor, proposed=proposed), who.actor)
        desk.shelf.clear()
        return _results(results)

    @routes.delete(
        "/v1/manifests/{kind}/{name:path}",
        status_code=202,
        summary="Take a manifest out of force",
        responses=shapes.answers(202, shapes.EMPTY, "Stored", 409),
    )
    async def delete(
        kind: str,
        name: str,
        who: Annotated[Principal, writes],
        version: Annotated[
            str | None, Query(description="An offering's version or an entity's blueprint, if there are several")
        ] = None,
    ) -> Response:
        if not all(each.isprintable() and len(each) <= 1000 for each in (kind, name, version or "")):
            raise not_found("manifest")
        outcome = await desk.transact(partial(remove, kind, name, version, now(), who.actor), who.actor)
        desk.shelf.clear()
        if isinstance(outcome, Refusal):
            raise _refused(outcome)
        if not outcome:
            raise not_found("manifest")
        return JSONResponse({}, 202)

    return routes


def _results(results: list[Result] | Refusal) -> Response:
    if isinstance(results, Refusal):
        raise _refused(results)
    return JSONResponse({"results": [each.as_json() for each in results]}, 202)


def _refused(refusal: Refusal) -> Problem:
    if refusal.conflict:
        return Problem(409, "Contradicts what is in force", refusal.conflict, violations(refusal.faults))
    return Problem(422, TITLE, violations=violations(refusal.faults))
