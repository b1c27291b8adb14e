"""Requests: asking, and asking of one that was made to be stopped, to begin though it is held, or to go on."""

import json
from collections.abc import Generator, Mapping
from functools import partial
from typing import Annotated

from entresol_contracts.events import HoldOverridden, RequestCancelled, ResumeRequested
from entresol_eventing.access import Principal
from entresol_eventing.envelope import MAX_DATA_BYTES, new_id, now
from entresol_eventing.http import Problem, strict_json
from entresol_eventing.reactions import Emit
from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlmodel import Session

from entresol_intake.domain.asks import BEGINNINGS, MAX_REASON, Ask, read_ask
from entresol_intake.domain.faults import Invalid
from entresol_intake.domain.shapes import Fields
from entresol_intake.http import shapes
from entresol_intake.http.desk import (
    Desk,
    expect_json,
    not_found,
    plain_id,
    read_json,
    read_reason,
    stored,
    unprocessable,
)
from entresol_intake.http.idempotency import Once, key_of
from entresol_intake.offerings import Fitting, Offering
from entresol_intake.store import Request as Requested
from entresol_intake.store import request_of, version_of
from entresol_intake.submission import submit
from entresol_intake.versions import choose

MAX_ASK_BYTES = MAX_DATA_BYTES - 8 * 1024
"""What is left for the inputs in an event."""


def router(desk: Desk) -> APIRouter:
    routes = APIRouter(tags=["requests"])
    writes = desk.guard("requests:write")

    @routes.post(
        "/v1/requests",
        status_code=202,
        summary="Ask for an action on a resource",
        responses=shapes.answers(202, shapes.ACCEPTED, "Stored; what becomes of it is told by events"),
        openapi_extra=shapes.takes(shapes.ASK) | {"parameters": [shapes.IDEMPOTENCY_KEY]},
    )
    async def ask(request: Request, who: Annotated[Principal, writes]) -> Response:
        return await _ask(desk, request, who)

    @routes.post(
        "/v1/requests/{request_id}/cancel",
        status_code=202,
        summary="Ask that a request be stopped",
        responses=shapes.answers(202, shapes.SAID, "Stored; provisioning says whether it was stopped"),
        openapi_extra=shapes.takes(shapes.REASON, required=False),
    )
    async def cancel(request_id: str, request: Request, who: Annotated[Principal, writes]) -> Response:
        reason = read_reason(await read_json(request))
        found = await _find(desk, request_id, who)
        cancelled = RequestCancelled(
            request_id=found.request_id,
            resource_id=found.resource_id,
            project=found.project,
            by=who.actor,
            reason=reason,
        )
        return await _say(desk, cancelled, found, who)

    @routes.post(
        "/v1/requests/{request_id}/override",
        status_code=202,
        summary="Ask that a held request begin now",
        responses=shapes.answers(202, shapes.SAID, "Stored; policy says whether it counts"),
        openapi_extra=shapes.takes(shapes.BECAUSE),
    )
    async def override(request_id: str, request: Request, who: Annotated[Principal, writes]) -> Response:
        reason = read_reason(await read_json(request), required=True)
        found = await _find(desk, request_id, who)
        overridden = HoldOverridden(
            request_id=found.request_id,
            resource_id=found.resource_id,
            project=found.project,
            by=who.actor,
            groups=list(who.groups),
            reason=reason or "",
        )
        return await _say(desk, overridden, found, who)

    @routes.post(
        "/v1/requests/{request_id}/resume",
        status_code=202,
        summary="Let a step go on that waits",
        responses=shapes.answers(202, shapes.SAID, "Stored; provisioning says what becomes of it"),
        openapi_extra=shapes.takes(shapes.RESUMPTION, required=False),
    )
    async def resume(request_id: str, request: Request, who: Annotated[Principal, writes]) -> Response:
        document = await read_json(request, most=MAX_ASK_BYTES)
        try:
            fields = Fields(document, ("step", "reason", "answer"))
            step = fields.slug("step") if fields.values.get("step") is not None else None
            reason = fields.text("reason", most=MAX_REASON)
            answer = fields.record("answer") if fields.values.get("answer") is not None else None
            fields.done()
        except Invalid as invalid:
            raise unprocessable(invalid) from None
        found = await _find(desk, request_id, who)
        resumed = ResumeRequested(
            request_id=found.request_id,
            resource_id=found.resource_id,
            project=found.project,
            step=step,
            by=who.actor,
            reason=reason,
            answer=answer,
        )
        return await _say(desk, resumed, found, who)

    return routes


async def _find(desk: Desk, request_id: str, who: Principal) -> Requested:
    found = await desk.service.read(partial(request_of, plain_id(request_id, "request")))
    if found is None or not who.reaches(found.project):
        raise not_found("request")
    return found


async def _say(
    desk: Desk, what: RequestCancelled | HoldOverridden | ResumeRequested, about: Requested, who: Principal
) -> Response:
    """Record what somebody wants of a request, in the request's chain."""
    emit = Emit(
        what,
        subject=about.request_id,
        partitionkey=about.resource_id,
        actor=who.actor,
        correlationid=about.correlationid,
        id=new_id(),
    )
    await desk.say(emit, who.actor)
    return stored(emit)


async def _ask(desk: Desk, request: Request, who: Principal) -> Response:
    raw = await request.body()
    expect_json(request)
    if len(raw) > MAX_ASK_BYTES:
        raise Problem(413, "The body is too large", f"At most {MAX_ASK_BYTES} bytes are accepted.")
    key = key_of(request)
    try:
        ask = read_ask(strict_json(raw))
    except Invalid as invalid:
        raise unprocessable(invalid) from None
    if not who.reaches(ask.project):
        raise not_found("project")
    once = Once.of(f"{ask.project} {who.actor}", key, raw)
    try:
        fitting = await _fit(desk, ask)
    except Invalid as invalid:
        # What was accepted once is answered the same, even if the offering has changed since.
        if key is not None and (before := await desk.service.read(once.before)) is not None:
            return once.replay(before, 202)
        raise unprocessable(invalid) from None
    request_id = new_id()
    answer = _answer(fitting, request_id, desk.settings.catalog_url)

    def unit(session: Session) -> Generator[Emit, None, tuple[str, str] | None]:
        if (before := once.before(session)) is not None:
            return before
        at = now()
        once.remember(answer, at, session)
        yield from submit(fitting, request_id, who.actor, who.groups, at, session)
        return None

    before = await desk.transact(unit, who.actor)
    if before is not None:
        return once.replay(before, 202)
    return Response(answer, 202, media_type="application/json")


async def _fit(desk: Desk, ask: Ask) -> Fitting:
    versions: Mapping[str, Offering] | None = desk.shelf.look("Offering", ask.offering)
    if versions is None:
        versions = await desk.service.read(partial(desk.shelf.offering, ask.offering))
    provisioned = None
    if ask.action not in BEGINNINGS:
        provisioned = await desk.service.read(partial(version_of, ask.resource_id))
    return choose(versions, ask, provisioned).fit(ask, exists=provisioned is not None)


def _answer(fitting: Fitting, request_id: str, catalog_url: str) -> str:
    """The body of the 202. Every value but the URL is a slug, a version or an id, so nothing needs escaping."""
    ask = fitting.ask
    return (
        f'{{"id":"{request_id}","resource":"{ask.resource_id}","offering":"{ask.offering}",'
        f'"version":"{fitting.version}","action":"{fitting.action}",'
        f'"links":{{"self":{json.dumps(f"{catalog_url}/v1/requests/{request_id}")}}}}}'
    )
