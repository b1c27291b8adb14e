"""Stages of an offering's versions: which one is the default, and which are to be left."""

from collections.abc import Generator
from typing import Annotated, Final

from entresol_eventing.access import Principal
from entresol_eventing.http import Problem
from entresol_eventing.reactions import Emit
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from sqlmodel import Session

from entresol_intake.domain.asks import MAX_REASON
from entresol_intake.domain.circles import told
from entresol_intake.domain.faults import Invalid
from entresol_intake.domain.shapes import Fields, is_slug, is_version
from entresol_intake.domain.stages import DEFAULT, STAGES, read_stage
from entresol_intake.http import shapes
from entresol_intake.http.desk import Desk, not_found, read_json, unprocessable
from entresol_intake.staging import circle_of_default, stage
from entresol_intake.store import is_removed

WHAT: Final = "version of an offering"


def router(desk: Desk) -> APIRouter:
    routes = APIRouter(tags=["offerings"])
    writes = desk.guard("manifests:write")

    @routes.post(
        "/v1/offerings/{name}/{version}/stage",
        status_code=202,
        summary="Make a version the default, or say that it is to be left",
        responses=shapes.answers(202, shapes.STAGED, "Stored; nothing is said if it was so already", 409),
        openapi_extra=shapes.takes(shapes.STAGE),
    )
    async def put(name: str, version: str, request: Request, who: Annotated[Principal, writes]) -> Response:
        try:
            fields = Fields(await read_json(request), ("stage", "reason"))
            to = fields.choice("stage", STAGES)
            reason = fields.text("reason", most=MAX_REASON)
            fields.done()
        except Invalid as invalid:
            raise unprocessable(invalid) from None
        if not is_slug(name) or not is_version(version):
            raise not_found(WHAT)

        def unit(session: Session) -> Generator[Emit, None, tuple[bool | None, str]]:
            removed = is_removed(name, version, session)
            way = circle_of_default(name, version, session) if removed is False and to == DEFAULT else ()
            if removed is False and not way:
                yield from stage(name, version, read_stage(to), who.actor, reason, session)
            return removed, told(way)

        removed, round_about = await desk.transact(unit, who.actor)
        desk.shelf.clear()
        if removed is None:
            raise not_found(WHAT)
        if removed:
            detail = f"{name} {version} was removed; apply it again first."
            raise Problem(409, "Contradicts what is in force", detail)
        if round_about:
            detail = f"As the default, {name} {version} would require itself in a circle: {round_about}."
            raise Problem(409, "Contradicts what is in force", detail)
        return JSONResponse({"name": name, "version": version, "stage": to}, 202)

    return routes
