"""The door: everything that enters the platform by HTTP.

Every answer of 202 or 201 is given after the commit. Every route takes its principal from a guard, except the public
ones, which are named here and prove who they are by a signature.
"""

from typing import Final

from entresol_eventing.http import MAX_BODY_BYTES, door
from entresol_eventing.service import Service
from fastapi import FastAPI

from entresol_intake.http import (
    answers,
    dead_letters,
    events,
    hooks,
    links,
    manifests,
    requests,
    stages,
    standing,
    tokens,
)
from entresol_intake.http.desk import Desk
from entresol_intake.settings import Settings
from entresol_intake.shelf import Shelf
from entresol_intake.tokens import Registry

PUBLIC: Final = frozenset(
    {"/health/live", "/health/ready", "/metrics", "/openapi.json", "/hooks/{source}", "/answers/{token}"}
)
"""Routes without a guard: health, the description of the door, deliveries that are signed, and the pages behind signed
links, where the link itself says who answers what."""

MAX_HOOK_BYTES: Final = 25 * 1024 * 1024
MAX_MANIFEST_BYTES: Final = 16 * 1024 * 1024


def body_limit(path: str) -> int:
    """Bytes that a body may have: GitHub sends up to 25 MiB, batches of manifests hold inlined files."""
    if path.startswith("/hooks/"):
        return MAX_HOOK_BYTES
    if path.startswith("/answers/"):
        return links.MAX_FORM_BYTES
    return MAX_MANIFEST_BYTES if path == "/v1/manifests" else MAX_BODY_BYTES


def build(service: Service, settings: Settings, shelf: Shelf, registry: Registry) -> FastAPI:
    app = door(
        service,
        title="Entresol intake",
        description="The write door: requests, manifests, stages, approvals, locks, waivers, events, tokens.",
        body_limit=body_limit,
    )
    desk = Desk(service, settings, shelf, registry)
    for part in (requests, answers, links, standing, manifests, stages, events, hooks, tokens, dead_letters):
        app.router.routes += part.router(desk).routes  # a router that is included is built again at the first call
    return app
