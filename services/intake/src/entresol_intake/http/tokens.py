"""Tokens: issuing and revoking. The only place that ever shows a token, and it shows it once."""

from datetime import timedelta
from functools import partial
from typing import Annotated, Final

from entresol_eventing.access import PERMISSIONS, Principal, new_token, token_hash
from entresol_eventing.envelope import new_id, now
from entresol_eventing.http import Problem
from entresol_manifests.durations import seconds
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from entresol_intake.domain.faults import Fault, Invalid, pointer
from entresol_intake.domain.shapes import Fields, is_actor, is_slug
from entresol_intake.http import shapes
from entresol_intake.http.desk import Desk, not_found, plain_id, read_json, unprocessable
from entresol_intake.tokens import issue, revoke

ACTOR_KINDS: Final = ("user", "ci", "service")
"""Who may hold a token. `system:` and `trigger:` are what the platform calls itself."""
FIELDS: Final = ("actor", "groups", "role", "projects", "expires_in")


def router(desk: Desk) -> APIRouter:
    routes = APIRouter(tags=["tokens"])
    manages = desk.guard("tokens:manage")

    @routes.post(
        "/v1/tokens",
        status_code=201,
        summary="Issue a token; it is shown only in this answer",
        responses=shapes.answers(201, shapes.ISSUED, "Issued"),
        openapi_extra=shapes.takes(shapes.TOKEN),
    )
    async def post(request: Request, who: Annotated[Principal, manages]) -> Response:
        try:
            principal = _read(await read_json(request))
        except Invalid as invalid:
            raise unprocessable(invalid) from None
        if not who.reaches_all and not set(principal.projects) <= set(who.projects):
            raise Problem(403, "Not allowed", "A token can't reach more projects than the one that issues it.")
        token = new_token()
        await desk.transact(partial(issue, principal, token_hash(token), now()), who.actor)
        answer = {
            "id": principal.token_id,
            "token": token,
            "actor": principal.actor,
            "groups": list(principal.groups),
            "role": principal.role,
            "projects": list(principal.projects),
            "expires_at": principal.expires_at.isoformat() if principal.expires_at else None,
        }
        return JSONResponse(answer, 201, headers={"Cache-Control": "no-store"})

    @routes.delete(
        "/v1/tokens/{token_id}",
        status_code=202,
        summary="Revoke a token",
        responses=shapes.answers(202, shapes.NAMED, "Not accepted any more"),
    )
    async def delete(token_id: str, who: Annotated[Principal, manages]) -> Response:
        unit = partial(revoke, plain_id(token_id, "token"), who.actor, None, now())
        found = await desk.transact(unit, who.actor)
        desk.registry.clear()
        if not found:
            raise not_found("token")
        return JSONResponse({"id": token_id}, 202)

    return routes


def _read(document: object) -> Principal:
    fields = Fields(document, FIELDS)
    actor = fields.text("actor", most=255, required=True) or ""
    if actor and not is_actor(actor, ACTOR_KINDS):
        fields.refuse("actor", f"must be a kind ({', '.join(ACTOR_KINDS)}), a colon and a name without blanks")
    groups = fields.texts("groups", most=255, default=[])
    role = fields.choice("role", PERMISSIONS)
    projects = fields.texts("projects", most=63, default=["*"])
    if not projects:
        fields.refuse("projects", 'must name a project at least, or be ["*"]')
    for index, project in enumerate(projects):
        if project != "*" and not is_slug(project):
            fields.faults.append(Fault(pointer("projects", index), "must be a project's slug or *"))
    expires_at = None
    if (expires_in := fields.text("expires_in", most=40)) is not None:
        try:
            expires_at = now() + timedelta(seconds=seconds(expires_in))
        except ValueError:
            fields.refuse("expires_in", "must be a duration such as 4h or 90d")
    fields.done()
    return Principal(new_id(), actor, tuple(groups), role, tuple(projects), expires_at)
