"""Events of others: CloudEvents structured, binary and in batches, and CDEvents."""

from functools import partial
from typing import Annotated, Final

from entresol_eventing.access import Principal
from entresol_eventing.envelope import now
from entresol_eventing.http import Problem
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from entresol_intake.binding import BATCH, STRUCTURED, Unsupported, read_events
from entresol_intake.domain.faults import Fault, Invalid, pointer, prefixed
from entresol_intake.domain.outside import Outside
from entresol_intake.facts import Statement, receive, state
from entresol_intake.http import shapes
from entresol_intake.http.desk import Desk, unprocessable

RATE_PER_MINUTE: Final = "60000"
_ORIGIN: Final = {
    "name": "WebHook-Request-Origin",
    "in": "header",
    "required": True,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[A-Za-z0-9.:-]+$"},
}


def router(desk: Desk) -> APIRouter:
    routes = APIRouter(tags=["events"])
    publishes = desk.guard("events:publish")

    @routes.post(
        "/v1/events",
        status_code=202,
        summary="Tell what happened elsewhere",
        responses=shapes.answers(202, shapes.RECEIVED, "Stored; copies are folded by source and id"),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    STRUCTURED: {"schema": shapes.CLOUD_EVENT},
                    BATCH: {"schema": {"type": "array", "items": shapes.CLOUD_EVENT}},
                },
            }
        },
    )
    async def post(request: Request, who: Annotated[Principal, publishes]) -> Response:
        body = await request.body()
        try:
            events = read_events(request.headers, body)
            statements = _state_all(events, batch=BATCH in request.headers.get("content-type", ""))
        except Unsupported as unsupported:
            raise Problem(415, "No CloudEvents in this body", str(unsupported)) from None
        except Invalid as invalid:
            await desk.tell_refused("http", who.actor, str(invalid), body)
            raise unprocessable(invalid, "Not an event that can be taken") from None
        accepted, duplicates = await desk.transact(partial(receive, statements, "http", who.actor, now()), who.actor)
        return JSONResponse({"accepted": accepted, "duplicates": duplicates}, 202)

    @routes.options(
        "/v1/events",
        summary="Shake hands before delivering (CloudEvents web hooks)",
        response_class=Response,
        responses=shapes.answers(200, None, "Deliveries from this origin are welcome"),
        openapi_extra={"parameters": [_ORIGIN]},
    )
    async def options(request: Request, who: Annotated[Principal, publishes]) -> Response:
        origin = request.headers.get("webhook-request-origin", "")
        if not 0 < len(origin) <= 255 or not all(each.isalnum() or each in ".:-" for each in origin):
            raise Problem(400, "WebHook-Request-Origin is missing or no host name")
        headers = {
            "Allow": "POST, OPTIONS",
            "WebHook-Allowed-Origin": origin,
            "WebHook-Allowed-Rate": RATE_PER_MINUTE,
        }
        return Response(None, 200, headers)

    return routes


def _state_all(events: list[Outside], *, batch: bool) -> list[Statement]:
    statements, faults = [], list[Fault]()
    for index, event in enumerate(events):
        try:
            statements.append(state(event))
        except Invalid as invalid:
            faults += prefixed(pointer(index) if batch else "", invalid.faults)
    if faults:
        raise Invalid(faults)
    return statements
