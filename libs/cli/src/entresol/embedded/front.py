"""What the embedded platform shows at its root: an index, the health and metrics of all, and the two doors."""

from collections.abc import Mapping
from typing import Any

from entresol_eventing.http import health_routes
from entresol_eventing.service import Service
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

_PLACES = {
    "/intake": "write: requests, manifests, approvals, events, webhooks, tokens",
    "/intake/openapi.json": "its contract",
    "/catalog": "read: requests, resources, entities, approvals, offerings, events, the live stream",
    "/catalog/openapi.json": "its contract",
    "/health/ready": "whether every service reads the log",
    "/health/live": "whether the process can do its work",
    "/metrics": "for Prometheus",
}

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Entresol</title>
<style>body{{font:16px/1.5 system-ui;max-width:44rem;margin:3rem auto;padding:0 1rem;color-scheme:light dark}}
td{{padding:.2rem 1.5rem .2rem 0}}code{{font-size:.95em}}</style></head>
<body><h1>Entresol</h1><p>The floor between applications and infrastructure.</p>
<table>{rows}</table>
<p>On the command line: <code>entresol status</code>, <code>entresol --help</code>.</p></body></html>
"""


def front(services: Mapping[str, Service]) -> Starlette:
    """The application in front of the services that have a door."""

    async def index(request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            rows = "".join(
                f'<tr><td><a href="{path}">{path}</a></td><td>{text}</td></tr>' for path, text in _PLACES.items()
            )
            return HTMLResponse(_PAGE.format(rows=rows))
        return JSONResponse({"name": "Entresol", "places": _PLACES})

    async def live(_: Request) -> Response:
        states = {name: service.live for name, service in services.items()}
        return JSONResponse({"live": all(states.values()), "services": states}, 200 if all(states.values()) else 503)

    async def ready(_: Request) -> Response:
        states: dict[str, Any] = {name: service.health() for name, service in services.items()}
        whole = all(one["ready"] for one in states.values())
        return JSONResponse({"ready": whole, "services": states}, 200 if whole else 503)

    # The services of one process share their metrics, so any of them tells those of all.
    metrics = next(route for route in health_routes(next(iter(services.values()))) if route.path == "/metrics")
    doors = {name: service.http for name, service in services.items() if service.http is not None}
    routes: list[BaseRoute] = [
        Route("/", index),
        Route("/health/live", live),
        Route("/health/ready", ready),
        metrics,
        *(Mount(f"/{name}", app) for name, app in doors.items()),
    ]
    return Starlette(routes=routes)
