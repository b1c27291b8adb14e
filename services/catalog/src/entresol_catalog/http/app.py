"""The door as one application."""

from entresol_eventing.access import Principal
from entresol_eventing.envelope import now
from entresol_eventing.http import Guard, Problem, door
from entresol_eventing.service import Service
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from entresol_catalog.http import (
    drivers,
    entities,
    events,
    locks,
    offerings,
    operations,
    requests,
    resources,
    scorecards,
)
from entresol_catalog.http.answers import Door
from entresol_catalog.http.tail import Tail
from entresol_catalog.settings import Settings
from entresol_catalog.store.reading import find_token

PUBLIC = frozenset({"/health/live", "/health/ready", "/metrics", "/openapi.json"})
"""Paths that need no token."""


class NoNul:
    """Refuses NUL in paths and queries: no identifier holds it, and PostgreSQL can't be asked for it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and ("\0" in scope["path"] or b"%00" in scope["query_string"]):
            await Problem(422, "The request is not valid", "It holds NUL.").response()(scope, receive, send)
            return
        await self._app(scope, receive, send)


def build(service: Service, settings: Settings, tail: Tail) -> FastAPI:
    """The door of a service that is not started yet."""
    app = door(service, title="Entresol catalog", description="Everything that Entresol knows, for reading.")
    app.add_middleware(NoNul)

    async def look_up(hashed: str) -> Principal | None:
        token = await service.read(find_token(hashed))
        if token is None or not token.valid(now()):
            return None
        return Principal(
            token_id=token.id,
            actor=token.actor,
            groups=tuple(token.groups),
            role=token.role,
            projects=tuple(token.projects),
            expires_at=token.expires_at,
        )

    open_door = Door(service, settings, tail, Guard(look_up))
    for part in (requests, resources, locks, events, entities, scorecards, offerings, drivers, operations):
        app.router.routes += part.routes(open_door).routes  # a router that is included is built again at the first call
    return app
