"""Webhooks: whoever can sign with the source's secret is let in, and nobody else.

A delivery is folded by the sender's id and by its body, because the id itself is not signed.
"""

import asyncio
import hashlib
from collections.abc import Generator, Mapping, Sequence
from functools import partial
from typing import Any

from entresol_contracts import Payload
from entresol_contracts.events import ExternalReceived
from entresol_eventing.envelope import MAX_DATA_BYTES, now
from entresol_eventing.http import Problem
from entresol_eventing.reactions import Emit
from entresol_manifests.secrets import SecretMissing, resolve
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from sqlmodel import Session

from entresol_intake.domain.faults import Invalid
from entresol_intake.domain.shapes import is_slug
from entresol_intake.domain.throttle import Throttle
from entresol_intake.facts import SPARE_BYTES, Statement, receive, size_of, state_fact
from entresol_intake.hooks import KINDS, Delivery, Posted, Refused
from entresol_intake.http import shapes
from entresol_intake.http.desk import Desk, not_found
from entresol_intake.store import remember_received, unknown

TITLES = {400: "Not a delivery", 401: "Not let in", 415: "The body must be JSON"}


def router(desk: Desk) -> APIRouter:
    routes = APIRouter(tags=["hooks"])
    throttle = Throttle(desk.settings.hooks_per_second, desk.settings.hooks_burst)

    @routes.post(
        "/hooks/{source}",
        status_code=202,
        summary="Deliver a webhook",
        responses=shapes.answers(202, shapes.DELIVERED, "Stored; a copy of a delivery makes no event"),
        openapi_extra=shapes.takes({"type": "object"}),
    )
    async def deliver(source: str, request: Request) -> Response:
        if not throttle.admits():
            raise Problem(503, "Try again soon", "Too many deliveries at once.", headers={"Retry-After": "1"})
        spec = await _spec(desk, source)
        body = await request.body()
        posted = Posted(source, dict(request.headers), body, await asyncio.to_thread(_secrets, spec))
        try:
            delivery = KINDS[spec["kind"]](posted)
        except Refused as refused:
            await desk.tell_refused("hook", source, refused.reason, body)
            raise Problem(refused.status, TITLES.get(refused.status, "Not let in"), refused.reason) from None
        except Problem as problem:
            await desk.tell_refused("hook", source, problem.title, body)
            raise
        if delivery.silent:
            return JSONResponse({"id": delivery.id, "events": 0, "duplicate": False}, 202)
        fingerprint = (f"/hooks/{source}", f"sha256:{hashlib.sha256(body).hexdigest()}")
        unit = partial(_receive, _statement(delivery), fingerprint, spec.get("actor", delivery.actor))
        accepted = await desk.transact(unit, spec.get("actor", delivery.actor))
        return JSONResponse({"id": delivery.id, "events": accepted, "duplicate": accepted == 0}, 202)

    return routes


async def _spec(desk: Desk, source: str) -> Mapping[str, Any]:
    spec: Mapping[str, Any] | None = desk.shelf.look("Source", source)
    if spec is None and is_slug(source):
        spec = await desk.service.read(partial(desk.shelf.source, source))
    if not spec or spec["kind"] not in KINDS:
        raise not_found("source")
    return spec


def _secrets(spec: Mapping[str, Any]) -> Sequence[bytes]:
    """The secrets that can be resolved; raise a Problem if none can."""
    references = [spec["secretRef"]] if isinstance(spec["secretRef"], str) else spec["secretRef"]
    secrets = []
    for reference in references:
        try:
            secrets.append(resolve(reference).encode())
        except SecretMissing:
            continue
    if not secrets:
        detail = "The secret of this source is not available to intake; its operator must provide it."
        raise Problem(503, "Try again later", detail, headers={"Retry-After": "60"})
    return secrets


def _statement(delivery: Delivery) -> Statement:
    if delivery.fact is not None:
        try:
            return state_fact(delivery.fact, delivery.id, delivery.source)
        except Invalid:
            pass  # a payload that is not shaped as the sender documents it is kept whole instead
    return Statement(delivery.id, delivery.source, delivery.source, delivery.source, _external(delivery))


def _external(delivery: Delivery) -> Payload:
    event = {
        "specversion": "1.0",
        "id": delivery.id,
        "source": delivery.source,
        "type": delivery.type,
        "datacontenttype": "application/json",
        "data": dict(delivery.payload),
    }
    size = size_of(event)
    if size > MAX_DATA_BYTES - SPARE_BYTES:
        event["data"] = {"omitted": f"exceeds {MAX_DATA_BYTES // 1024} KiB", "size_bytes": size}
    return ExternalReceived(event=event)


def _receive(
    statement: Statement, fingerprint: tuple[str, str], actor: str, session: Session
) -> Generator[Emit, None, int]:
    at = now()
    if not unknown([fingerprint], session):
        return 0
    remember_received([fingerprint], "hook", at, session)
    accepted, _ = yield from receive([statement], "hook", actor, at, session)
    return accepted
