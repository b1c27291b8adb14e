"""Operators' orders about dead letters and parked messages: try them again, or give them up.

Each service obeys for its own. An order that names one message also reaches one that is still being retried.
"""

from typing import Annotated, Any

from entresol_contracts.events import DiscardRequested, RedriveRequested
from entresol_eventing.access import Principal
from entresol_eventing.envelope import types_by_name
from entresol_eventing.permissions import SERVICES
from entresol_eventing.reactions import Emit
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from entresol_intake.domain.asks import MAX_REASON
from entresol_intake.domain.faults import Invalid
from entresol_intake.domain.shapes import Fields
from entresol_intake.http import shapes
from entresol_intake.http.desk import Desk, read_json, unprocessable


def router(desk: Desk) -> APIRouter:
    routes = APIRouter(tags=["dead letters"])
    manages = desk.guard("dead-letters:manage")

    @routes.post(
        "/v1/dead-letters/redrive",
        status_code=202,
        summary="Try dead letters again",
        responses=shapes.answers(202, shapes.EMPTY, "Stored; the service does it"),
        openapi_extra=shapes.takes(shapes.DEAD_LETTERS),
    )
    async def redrive(request: Request, who: Annotated[Principal, manages]) -> Response:
        order = _read(await read_json(request), reason_required=False)
        return await _say(desk, RedriveRequested(by=who.actor, **order), who)

    @routes.post(
        "/v1/dead-letters/discard",
        status_code=202,
        summary="Give dead letters up",
        responses=shapes.answers(202, shapes.EMPTY, "Stored; the service does it"),
        openapi_extra=shapes.takes(shapes.DISCARDED),
    )
    async def discard(request: Request, who: Annotated[Principal, manages]) -> Response:
        order = _read(await read_json(request), reason_required=True)
        return await _say(desk, DiscardRequested(by=who.actor, **order), who)

    return routes


def _read(document: object, *, reason_required: bool) -> dict[str, Any]:
    try:
        fields = Fields(document, ("service", "message_id", "event_type", "reason"))
        order = {
            "service": fields.choice("service", SERVICES),
            "message_id": fields.text("message_id", most=512),
            "event_type": fields.choice("event_type", types_by_name()) if "event_type" in fields.values else None,
            "reason": fields.text("reason", most=MAX_REASON, required=reason_required),
        }
        if order["message_id"] is not None and order["event_type"] is not None:
            fields.refuse("event_type", "can't stand beside message_id, which names one message already")
        fields.done()
    except Invalid as invalid:
        raise unprocessable(invalid) from None
    return order


async def _say(desk: Desk, order: RedriveRequested | DiscardRequested, who: Principal) -> Response:
    await desk.say(Emit(order, subject=order.message_id or order.service, partitionkey=order.service), who.actor)
    return JSONResponse({}, 202)
