"""What the platform's HTTP doors have in common: health, metrics, problem details, strict JSON, bearer tokens.

Denied by default: a route takes its principal from a `Guard`, or is named as public by its app. Errors are RFC 9457
problem details and say what was wrong, where (JSON pointer), and what to do; never what a secret was.
"""

import json
import math
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NoReturn

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import generate_latest
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from entresol_eventing.access import Principal, token_hash
from entresol_eventing.envelope import now
from entresol_eventing.service import Service
from entresol_eventing.writer import Unavailable

MAX_BODY_BYTES = 1024 * 1024
MAX_DEPTH = 64
PROBLEM = "application/problem+json"


class Violation(BaseModel):
    """One thing that is wrong with the input."""

    pointer: str
    """JSON pointer (RFC 6901) into the body; empty for the whole of it."""
    detail: str


class Problem(Exception):
    """An answer that says what went wrong (RFC 9457)."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str = "",
        violations: Sequence[Violation] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.detail = detail
        self.violations = violations
        self.headers = dict(headers or {})

    def response(self) -> Response:
        body: dict[str, Any] = {"type": "about:blank", "title": self.title, "status": self.status}
        if self.detail:
            body["detail"] = self.detail
        if self.violations:
            body["violations"] = [one.model_dump() for one in self.violations]
        return JSONResponse(body, self.status, headers=self.headers, media_type=PROBLEM)


def strict_json(raw: bytes) -> Any:
    """Parse JSON and refuse what parsers disagree about; raise Problem 400.

    Refused: more than 64 levels, NaN, Infinity and numbers beyond a double, duplicate keys, NUL, lone surrogates,
    anything but UTF-8.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Problem(400, "The body is not JSON", "It is not UTF-8.") from None
    if _depth(text) > MAX_DEPTH:
        raise Problem(400, "The body is not acceptable JSON", f"It is nested more than {MAX_DEPTH} levels deep.")
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise Problem(400, "The body is not JSON", f"{error}.") from None
    if "\\u" in text and _smuggles(value):  # only an escape can bring in what UTF-8 itself does not hold
        raise Problem(400, "The body is not acceptable JSON", "It holds NUL or a lone surrogate.")
    return value


_SMUGGLED = re.compile("[\0\ud800-\udfff]")


def _smuggles(value: Any) -> bool:
    if isinstance(value, str):
        return _SMUGGLED.search(value) is not None
    if isinstance(value, dict):
        return any(_smuggles(key) or _smuggles(one) for key, one in value.items())
    return isinstance(value, list) and any(map(_smuggles, value))


_OUTSIDE_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"?|([\[{])|([\]}])', re.DOTALL)


def _depth(text: str) -> int:
    """How deep the brackets nest, without building anything."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return 0
    deepest = depth = 0
    for match in _OUTSIDE_STRINGS.finditer(text):
        if match.group(1):
            depth += 1
            deepest = max(deepest, depth)
        elif match.group(2):
            depth -= 1
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("An object has a key twice")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is too large a number")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


Lookup = Callable[[str], Awaitable[Principal | None]]


class Guard:
    """Makes the dependency that lets a principal with one permission in, and nobody else."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._scheme = HTTPBearer(auto_error=False, description="A token made by `entresol token create`.")

    def __call__(self, permission: str) -> Any:
        async def admit(
            credentials: HTTPAuthorizationCredentials | None = Depends(self._scheme),  # noqa: B008
        ) -> Principal:
            challenge = {"WWW-Authenticate": "Bearer"}
            if credentials is None:
                raise Problem(401, "A bearer token is needed", "Send `Authorization: Bearer …`.", headers=challenge)
            principal = await self._lookup(token_hash(credentials.credentials))
            if principal is None or (principal.expires_at is not None and principal.expires_at <= now()):
                raise Problem(401, "The token is not valid", "It is unknown, revoked or expired.", headers=challenge)
            if not principal.may(permission):
                raise Problem(
                    403, "Not allowed", f"The role {principal.role} of {principal.actor} does not have {permission}."
                )
            return principal

        admit.permission = permission  # type: ignore[attr-defined]
        return Depends(admit)


class BodyLimit:
    """Cuts a body off while it streams in, whatever its Content-Length says, and refuses compressed ones."""

    def __init__(self, app: ASGIApp, limit: Callable[[str], int]) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limit(scope["path"].removeprefix(scope.get("root_path", "")))
        headers = dict(scope["headers"])
        problem = None
        if headers.get(b"content-encoding", b"identity") != b"identity":
            problem = Problem(415, "Compressed bodies are not accepted", "Send the body without Content-Encoding.")
        elif (length := headers.get(b"content-length", b"0")).isdigit() and int(length) > limit:
            problem = _too_large(limit)
        if problem is not None:
            await problem.response()(scope, receive, send)
            return
        size = 0

        async def limited() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > limit:
                raise _too_large(limit)
            return message

        await self._app(scope, limited, send)


def _too_large(limit: int) -> Problem:
    return Problem(413, "The body is too large", f"At most {limit} bytes are accepted.")


class Measured:
    """Counts and times answers by route, not by path: paths hold ids."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            traceparent = dict(scope["headers"]).get(b"traceparent", b"").decode("latin-1")
            with self._service.tracing.request(f"{scope['method']} {self._service.name}", traceparent):
                await self._app(scope, receive, noting)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            metrics = self._service.telemetry.metrics
            metrics.requests.labels(self._service.name, scope["method"], route, status).inc()
            metrics.request_seconds.labels(self._service.name, route).observe(time.perf_counter() - began)


def health_routes(service: Service) -> list[Route]:
    """Live: restart me if not. Ready: the log is being read and the outbox published. Metrics: Prometheus."""

    async def live(_: Request) -> Response:
        return JSONResponse({"live": service.live}, 200 if service.live else 503)

    async def ready(_: Request) -> Response:
        health = service.health()
        return JSONResponse(health, 200 if health["ready"] else 503)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(service.telemetry.metrics.registry), media_type="text/plain; version=0.0.4")

    return [Route("/health/live", live), Route("/health/ready", ready), Route("/metrics", metrics)]


def health_app(service: Service) -> ASGIApp:
    """All the HTTP that a service without a door has."""
    return Starlette(routes=health_routes(service))


def door(
    service: Service, *, title: str, description: str = "", body_limit: Callable[[str], int] = lambda _: MAX_BODY_BYTES
) -> FastAPI:
    """An application with health, metrics and problem details; the service adds its routes."""
    app = FastAPI(title=title, description=description, version="1", docs_url=None, redoc_url=None)
    app.router.routes.extend(health_routes(service))
    app.add_middleware(BodyLimit, limit=body_limit)
    app.add_middleware(Measured, service=service)

    @app.exception_handler(Problem)
    async def on_problem(_: Request, problem: Problem) -> Response:
        return problem.response()

    @app.exception_handler(HTTPException)
    async def on_http(_: Request, error: HTTPException) -> Response:
        return Problem(error.status_code, str(error.detail), headers=error.headers).response()

    @app.exception_handler(RequestValidationError)
    async def on_invalid(_: Request, error: RequestValidationError) -> Response:
        violations = [
            Violation(pointer="".join(f"/{part}" for part in one["loc"]), detail=one["msg"]) for one in error.errors()
        ]
        return Problem(422, "The request is not valid", violations=violations).response()

    @app.exception_handler(Unavailable)
    async def on_unavailable(_: Request, error: Unavailable) -> Response:
        return Problem(503, "Try again soon", str(error), headers={"Retry-After": "5"}).response()

    return app
