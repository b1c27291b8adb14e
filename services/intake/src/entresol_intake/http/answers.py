"""Approvals: people's answers, taking one back, and handing the question on. Whether any of it counts, policy says.

Reviews of broken glass are approvals too, and answered by the same door.
"""

from functools import partial
from typing import Annotated, Final, Literal, cast

from entresol_contracts.events import AnswerWithdrawn, ApprovalAnswered, ApprovalDelegated
from entresol_eventing.access import Principal
from entresol_eventing.envelope import Cause, new_id
from entresol_eventing.reactions import Emit
from fastapi import APIRouter, Request
from fastapi.responses import Response

from entresol_intake.domain.asks import MAX_REASON
from entresol_intake.domain.faults import Invalid
from entresol_intake.domain.shapes import Fields, is_actor
from entresol_intake.http import shapes
from entresol_intake.http.desk import Desk, not_found, plain_id, read_json, read_reason, stored, unprocessable
from entresol_intake.store import Approval, approval_of

GIVEN: Final = ("granted", "rejected")


def router(desk: Desk) -> APIRouter:
    routes = APIRouter(tags=["approvals"])
    answers = desk.guard("approvals:answer")

    @routes.post(
        "/v1/approvals/{approval_id}",
        status_code=202,
        summary="Grant or reject",
        responses=shapes.answers(202, shapes.SAID, "Stored; policy says whether it counts"),
        openapi_extra=shapes.takes(shapes.ANSWER),
    )
    async def answer(approval_id: str, request: Request, who: Annotated[Principal, answers]) -> Response:
        try:
            fields = Fields(await read_json(request), ("answer", "reason"))
            given = fields.choice("answer", GIVEN)
            reason = fields.text("reason", most=MAX_REASON)
            fields.done()
        except Invalid as invalid:
            raise unprocessable(invalid) from None
        found = await _find(desk, approval_id, who)
        return await _say(desk, answered(found, given, who.actor, who.groups, reason))

    @routes.post(
        "/v1/approvals/{approval_id}/withdraw",
        status_code=202,
        summary="Take back what one granted",
        responses=shapes.answers(202, shapes.SAID, "Stored; policy says whether it still counts"),
        openapi_extra=shapes.takes(shapes.REASON, required=False),
    )
    async def withdraw(approval_id: str, request: Request, who: Annotated[Principal, answers]) -> Response:
        reason = read_reason(await read_json(request))
        found = await _find(desk, approval_id, who)
        withdrawn = AnswerWithdrawn(
            approval_id=found.approval_id,
            request_id=found.request_id,
            project=found.project,
            by=who.actor,
            groups=list(who.groups),
            reason=reason,
        )
        return await _say(desk, _about(found, withdrawn, who.actor))

    @routes.post(
        "/v1/approvals/{approval_id}/delegate",
        status_code=202,
        summary="Hand the question on to another person",
        responses=shapes.answers(202, shapes.SAID, "Stored; policy says whether it counts"),
        openapi_extra=shapes.takes(shapes.DELEGATION),
    )
    async def delegate(approval_id: str, request: Request, who: Annotated[Principal, answers]) -> Response:
        try:
            fields = Fields(await read_json(request), ("to", "reason"))
            to = fields.text("to", most=255, required=True) or ""
            if to and not is_actor(to, ("user",)):
                fields.refuse("to", "must be a person: user:, and a name without blanks")
            elif to == who.actor:
                fields.refuse("to", "must be somebody else")
            reason = fields.text("reason", most=MAX_REASON)
            fields.done()
        except Invalid as invalid:
            raise unprocessable(invalid) from None
        found = await _find(desk, approval_id, who)
        delegated = ApprovalDelegated(
            approval_id=found.approval_id,
            request_id=found.request_id,
            project=found.project,
            by=who.actor,
            groups=list(who.groups),
            to=to,
            reason=reason,
        )
        return await _say(desk, _about(found, delegated, who.actor))

    return routes


def answered(found: Approval, given: str, by: str, groups: tuple[str, ...], reason: str | None) -> Emit:
    """What is said when somebody answers, in the chain of the question."""
    answer = ApprovalAnswered(
        approval_id=found.approval_id,
        request_id=found.request_id,
        project=found.project,
        answer=cast(Literal["granted", "rejected"], given),
        by=by,
        groups=list(groups),
        reason=reason,
    )
    return _about(found, answer, by)


def _about(found: Approval, what: ApprovalAnswered | AnswerWithdrawn | ApprovalDelegated, by: str) -> Emit:
    return Emit(
        what,
        subject=found.approval_id,
        partitionkey=found.resource_id,
        actor=by,
        cause=Cause.model_validate(found.cause),
        id=new_id(),
    )


async def _find(desk: Desk, approval_id: str, who: Principal) -> Approval:
    found = await desk.service.read(partial(approval_of, plain_id(approval_id, "approval")))
    if found is None or not who.reaches(found.project):
        raise not_found("approval")
    return found


async def _say(desk: Desk, emit: Emit) -> Response:
    await desk.say(emit, emit.actor or "")
    return stored(emit)
