"""Locks and waivers: placed or granted for a while, lifted or revoked before it is over.

What ends twice is a 409, whether somebody or the time was first; what was never there, or is out of reach, is a 404.
"""

import json
from collections.abc import Generator
from datetime import datetime
from functools import partial
from typing import Annotated, Final

from entresol_eventing.access import Principal
from entresol_eventing.envelope import new_id, now
from entresol_eventing.http import Problem, strict_json
from entresol_eventing.reactions import Emit
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from sqlmodel import Session

from entresol_intake.domain.faults import Fault, Invalid
from entresol_intake.domain.scopes import Scope
from entresol_intake.http import shapes
from entresol_intake.http.desk import Desk, expect_json, not_found, plain_id, read_json, read_reason, unprocessable
from entresol_intake.http.idempotency import Once, key_of
from entresol_intake.locks import lift, place, read_lock
from entresol_intake.store import lock_of, request_of, waiver_of
from entresol_intake.waivers import grant, read_waiver, revoke, unfounded

ALL: Final = "locks:everything"

Before = tuple[str, str]
"""The digest and the answer of the call that used the same Idempotency-Key."""


def router(desk: Desk) -> APIRouter:
    routes = APIRouter(tags=["locks and waivers"])
    locks, waives = desk.guard("locks:write"), desk.guard("waivers:write")

    @routes.post(
        "/v1/locks",
        status_code=201,
        summary="Lock what the scope names",
        responses=shapes.answers(201, shapes.STANDING, "Placed"),
        openapi_extra=shapes.takes(shapes.LOCK) | {"parameters": [shapes.IDEMPOTENCY_KEY]},
    )
    async def post_lock(request: Request, who: Annotated[Principal, locks]) -> Response:
        once = Once.of(f"/v1/locks {who.actor}", key_of(request), raw := await request.body())
        # Looked up first: what was accepted once is answered the same, even if its end has come since.
        if once.key is not None and (before := await desk.service.read(once.before)) is not None:
            return once.replay(before, 201)
        expect_json(request)
        at = now()
        try:
            lock = read_lock(strict_json(raw), at)
        except Invalid as invalid:
            raise unprocessable(invalid) from None
        _check_reach(lock.scope.within, who)
        if lock.scope.is_everything and not who.may(ALL):
            raise Problem(403, "Not allowed", f"To lock everything needs {ALL}; name something in the scope.")
        lock_id = new_id()
        answer = _answer(lock_id, lock.ends_at)

        def unit(session: Session) -> Generator[Emit, None, Before | None]:
            if (before := once.before(session)) is not None:
                return before
            once.remember(answer, at, session)
            yield from place(lock, lock_id, who.actor, at, session)
            return None

        before = await desk.transact(unit, who.actor)
        return _created(answer) if before is None else once.replay(before, 201)

    @routes.delete(
        "/v1/locks/{lock_id}",
        status_code=202,
        summary="Lift a lock; its owner may, and who may lock everything",
        responses=shapes.answers(202, shapes.NAMED, "Lifted", 409),
        openapi_extra=shapes.takes(shapes.REASON, required=False),
    )
    async def delete_lock(lock_id: str, request: Request, who: Annotated[Principal, locks]) -> Response:
        reason = read_reason(await read_json(request))
        found = await desk.service.read(partial(lock_of, plain_id(lock_id, "lock")))
        if found is None or not _reaches(who, found.project):
            raise not_found("lock")
        if found.placed_by != who.actor and not who.may(ALL):
            raise Problem(403, "Not allowed", f"{found.placed_by} placed it; lifting what others placed needs {ALL}.")
        if not await desk.transact(partial(lift, lock_id, who.actor, reason, now()), who.actor):
            raise _ended("lock")
        return JSONResponse({"id": lock_id}, 202)

    @routes.post(
        "/v1/waivers",
        status_code=201,
        summary="Waive a policy, quota or window for a while",
        responses=shapes.answers(201, shapes.STANDING, "Granted"),
        openapi_extra=shapes.takes(shapes.WAIVER) | {"parameters": [shapes.IDEMPOTENCY_KEY]},
    )
    async def post_waiver(request: Request, who: Annotated[Principal, waives]) -> Response:
        once = Once.of(f"/v1/waivers {who.actor}", key_of(request), raw := await request.body())
        if once.key is not None and (before := await desk.service.read(once.before)) is not None:
            return once.replay(before, 201)
        expect_json(request)
        at = now()
        try:
            waiver = read_waiver(strict_json(raw), at)
            project = await _project(desk, waiver.scope, who)
        except Invalid as invalid:
            raise unprocessable(invalid) from None
        _check_reach(project, who)
        waiver_id = new_id()
        answer = _answer(waiver_id, waiver.ends_at)

        def unit(session: Session) -> Generator[Emit, None, Before | list[Fault]]:
            if (before := once.before(session)) is not None:
                return before
            if not (faults := unfounded(waiver, session)):
                once.remember(answer, at, session)
                yield from grant(waiver, waiver_id, who.actor, project, at, session)
            return faults

        outcome = await desk.transact(unit, who.actor)
        if isinstance(outcome, tuple):
            return once.replay(outcome, 201)
        if outcome:
            raise unprocessable(Invalid(outcome))
        return _created(answer)

    @routes.delete(
        "/v1/waivers/{waiver_id}",
        status_code=202,
        summary="Revoke a waiver",
        responses=shapes.answers(202, shapes.NAMED, "Revoked", 409),
        openapi_extra=shapes.takes(shapes.REASON, required=False),
    )
    async def delete_waiver(waiver_id: str, request: Request, who: Annotated[Principal, waives]) -> Response:
        reason = read_reason(await read_json(request))
        found = await desk.service.read(partial(waiver_of, plain_id(waiver_id, "waiver")))
        if found is None or not _reaches(who, found.project):
            raise not_found("waiver")
        if not await desk.transact(partial(revoke, waiver_id, who.actor, reason, now()), who.actor):
            raise _ended("waiver")
        return JSONResponse({"id": waiver_id}, 202)

    return routes


async def _project(desk: Desk, scope: Scope, who: Principal) -> str | None:
    """The project that the scope can't reach out of, also by the request it names; raise Invalid if that is none."""
    if scope.request is None:
        return scope.within
    found = await desk.service.read(partial(request_of, scope.request))
    if found is None or not who.reaches(found.project):
        raise Invalid([Fault("/scope/request", "there is no such request")])
    if scope.within not in (None, found.project):
        raise Invalid([Fault("/scope/request", "is not of the project that the scope names")])
    return found.project


def _reaches(who: Principal, project: str | None) -> bool:
    return who.reaches_all if project is None else who.reaches(project)


def _check_reach(project: str | None, who: Principal) -> None:
    if project is None and not who.reaches_all:
        detail = f"Your token reaches only {', '.join(who.projects)}; name a project or a resource in the scope."
        raise Problem(403, "Not allowed", detail)
    if project is not None and not who.reaches(project):
        raise not_found("project")


def _ended(what: str) -> Problem:
    return Problem(409, "It has ended", f"Somebody ended this {what} already, or its time was over.")


def _answer(identifier: str, ends_at: datetime | None) -> str:
    return json.dumps({"id": identifier, "until": ends_at.isoformat() if ends_at else None})


def _created(answer: str) -> Response:
    return Response(answer, 201, media_type="application/json")
