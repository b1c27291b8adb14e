"""Requests: asking, and asking that one be stopped."""

import hashlib
import json
from collections.abc import Generator, Mapping
from functools import partial
from typing import Annotated

from entresol_contracts.events import RequestCancelled
from entresol_eventing.access import Principal
from entresol_eventing.envelope import MAX_DATA_BYTES, new_id, now
from entresol_eventing.http import Problem, strict_json
from entresol_eventing.reactions import Emit
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from sqlmodel import Session

from entresol_intake.domain.asks import APPLY, DELETE, MAX_KEY, MAX_REASON, Ask, read_ask
from entresol_intake.domain.faults import Fault, Invalid
from entresol_intake.domain.shapes import Fields
from entresol_intake.http import shapes
from entresol_intake.http.desk import Desk, expect_json, not_found, plain_id, read_json, unprocessable
from entresol_intake.offerings import Fitting, Offering
from entresol_intake.shelf import choose
from entresol_intake.store import add, answer_of, idempotency_keys, request_of, version_of
from entresol_intake.submission import submit

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
        responses=shapes.answers(202, shapes.NAMED, "Stored; provisioning says whether it was stopped"),
        openapi_extra=shapes.takes(shapes.REASON, required=False),
    )
    async def cancel(request_id: str, request: Request, who: Annotated[Principal, writes]) -> Response:
        reason = _reason(await read_json(request))
        found = await desk.service.read(partial(request_of, plain_id(request_id, "request")))
        if found is None or not who.reaches(found.project):
            raise not_found("request")
        emit = Emit(
            RequestCancelled(
                request_id=found.request_id,
                resource_id=found.resource_id,
                project=found.project,
                by=who.actor,
                reason=reason,
            ),
            subject=found.request_id,
            partitionkey=found.resource_id,
            correlationid=found.correlationid,
        )

        def unit(_session: Session) -> Generator[Emit, None, None]:
            yield emit

        await desk.transact(unit, who.actor)
        return JSONResponse({"id": found.request_id}, 202)

    return routes


def _reason(document: object) -> str | None:
    try:
        fields = Fields(document, ("reason",))
        reason = fields.text("reason", most=MAX_REASON)
        fields.done()
    except Invalid as invalid:
        raise unprocessable(invalid) from None
    return reason


async def _ask(desk: Desk, request: Request, who: Principal) -> Response:
    raw = await request.body()
    expect_json(request)
    if len(raw) > MAX_ASK_BYTES:
        raise Problem(413, "The body is too large", f"At most {MAX_ASK_BYTES} bytes are accepted.")
    key = _key(request.headers.get("idempotency-key"))
    try:
        ask = read_ask(strict_json(raw))
    except Invalid as invalid:
        raise unprocessable(invalid) from None
    if not who.reaches(ask.project):
        raise not_found("project")
    scope, digest = f"{ask.project} {who.actor}", hashlib.sha256(raw).hexdigest()
    try:
        fitting = await _fit(desk, ask)
    except Invalid as invalid:
        # What was accepted once is answered the same, even if the offering has changed since.
        if key is not None and (before := await desk.service.read(partial(answer_of, scope, key))) is not None:
            return _replay(before, digest)
        raise unprocessable(invalid) from None
    request_id = new_id()
    answer = _answer(fitting, request_id, desk.settings.catalog_url)

    def unit(session: Session) -> Generator[Emit, None, tuple[str, str] | None]:
        at = now()
        if key is not None:
            if (before := answer_of(scope, key, session)) is not None:
                return before
            row = {"scope": scope, "key": key, "digest": digest, "answer": answer, "answered_at": at}
            add(session, idempotency_keys, row)
        yield from submit(fitting, request_id, who.actor, who.groups, at, session)
        return None

    before = await desk.transact(unit, who.actor)
    return _accepted(answer) if before is None else _replay(before, digest)


def _key(value: str | None) -> str | None:
    if value is not None and not (0 < len(value) <= MAX_KEY and value.isascii() and value.isprintable()):
        detail = f"It must have 1 to {MAX_KEY} printable ASCII characters."
        raise Problem(400, "The Idempotency-Key is not usable", detail)
    return value


async def _fit(desk: Desk, ask: Ask) -> Fitting:
    versions: Mapping[str, Offering] | None = desk.shelf.look("Offering", ask.offering)
    if versions is None:
        versions = await desk.service.read(partial(desk.shelf.offering, ask.offering))
    provisioned = None
    if ask.action in (APPLY, DELETE):
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


def _accepted(answer: str, headers: dict[str, str] | None = None) -> Response:
    return Response(answer, 202, headers, media_type="application/json")


def _replay(before: tuple[str, str], digest: str) -> Response:
    if before[0] != digest:
        fault = Fault("", "differs from the body that this Idempotency-Key was first used with; take a new key")
        raise unprocessable(Invalid([fault]), "The Idempotency-Key was used for something else")
    return _accepted(before[1], {"Idempotency-Replayed": "true"})
