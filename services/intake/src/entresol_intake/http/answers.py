"""Approvals: people's answers. Whether an answer counts is for policy to say."""

from functools import partial
from typing import Annotated, Literal, cast

from entresol_contracts.events import ApprovalAnswered
from entresol_eventing.access import Principal
from entresol_eventing.envelope import Cause
from entresol_eventing.reactions import Emit
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from entresol_intake.domain.asks import MAX_REASON
from entresol_intake.domain.faults import Invalid
from entresol_intake.domain.shapes import Fields
from entresol_intake.http import shapes
from entresol_intake.http.desk import Desk, not_found, plain_id, read_json, unprocessable
from entresol_intake.store import approval_of


def router(desk: Desk) -> APIRouter:
    routes = APIRouter(tags=["approvals"])

    @routes.post(
        "/v1/approvals/{approval_id}",
        status_code=202,
        summary="Grant or reject",
        responses=shapes.answers(202, shapes.NAMED, "Stored; policy says whether it counts"),
        openapi_extra=shapes.takes(shapes.ANSWER),
    )
    async def answer(
        approval_id: str, request: Request, who: Annotated[Principal, desk.guard("approvals:answer")]
    ) -> Response:
        try:
            fields = Fields(await read_json(request), ("answer", "reason"))
            given = fields.choice("answer", ("granted", "rejected"))
            reason = fields.text("reason", most=MAX_REASON)
            fields.done()
        except Invalid as invalid:
            raise unprocessable(invalid) from None
        found = await desk.service.read(partial(approval_of, plain_id(approval_id, "approval")))
        if found is None or not who.reaches(found.project):
            raise not_found("approval")
        emit = Emit(
            ApprovalAnswered(
                approval_id=found.approval_id,
                request_id=found.request_id,
                project=found.project,
                answer=cast(Literal["granted", "rejected"], given),
                by=who.actor,
                groups=list(who.groups),
                reason=reason,
            ),
            subject=found.approval_id,
            partitionkey=found.resource_id,
            actor=who.actor,
            cause=Cause.model_validate(found.cause),
        )
        await desk.say(emit, who.actor)
        return JSONResponse({"id": found.approval_id}, 202)

    return routes
