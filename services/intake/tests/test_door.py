"""The door as a whole: every route is guarded, every answer is as described, hostile bodies only ever get a refusal."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from entresol_eventing import run
from entresol_eventing.service import Service
from entresol_eventing.testing import assert_migrations_match, eventually
from entresol_intake.app import MIGRATIONS
from entresol_intake.http import PUBLIC
from entresol_intake.store import Base
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from httpx import AsyncClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.routing import Route

ADMIN = "entresol_admin-token-for-tests-0123456789"
WRITES = [
    "/v1/requests",
    "/v1/requests/x/override",
    "/v1/manifests",
    "/v1/offerings/database/1.0.0/stage",
    "/v1/requests/x/resume",
    "/v1/tokens",
    "/v1/approvals/x",
    "/v1/approvals/x/withdraw",
    "/v1/approvals/x/delegate",
    "/v1/locks",
    "/v1/waivers",
    "/v1/events",
    "/v1/dead-letters/redrive",
]


def door(service: Service) -> FastAPI:
    assert isinstance(service.http, FastAPI)
    return service.http


def permissions(dependant: Dependant) -> list[str]:
    own = getattr(dependant.call, "permission", None)
    return ([own] if own else []) + [each for part in dependant.dependencies for each in permissions(part)]


def test_every_route_has_a_guard_or_is_public_on_purpose(service: Service) -> None:
    unguarded, guarded = set(), {}
    for route in door(service).routes:
        assert isinstance(route, Route | APIRoute), route
        found = permissions(route.dependant) if isinstance(route, APIRoute) else []
        if found:
            guarded[route.path, *sorted(route.methods or ())] = found
        else:
            unguarded.add(route.path)
    assert unguarded == PUBLIC, "a route that is public has to be named as such, with the reason"
    assert guarded == {
        ("/v1/requests", "POST"): ["requests:write"],
        ("/v1/requests/{request_id}/cancel", "POST"): ["requests:write"],
        ("/v1/requests/{request_id}/override", "POST"): ["requests:write"],
        ("/v1/requests/{request_id}/resume", "POST"): ["requests:write"],
        ("/v1/offerings/{name}/{version}/stage", "POST"): ["manifests:write"],
        ("/v1/manifests", "POST"): ["manifests:write"],
        ("/v1/manifests/{kind}/{name:path}", "DELETE"): ["manifests:write"],
        ("/v1/approvals/{approval_id}", "POST"): ["approvals:answer"],
        ("/v1/approvals/{approval_id}/withdraw", "POST"): ["approvals:answer"],
        ("/v1/approvals/{approval_id}/delegate", "POST"): ["approvals:answer"],
        ("/v1/locks", "POST"): ["locks:write"],
        ("/v1/locks/{lock_id}", "DELETE"): ["locks:write"],
        ("/v1/waivers", "POST"): ["waivers:write"],
        ("/v1/waivers/{waiver_id}", "DELETE"): ["waivers:write"],
        ("/v1/events", "POST"): ["events:publish"],
        ("/v1/events", "OPTIONS"): ["events:publish"],
        ("/v1/tokens", "POST"): ["tokens:manage"],
        ("/v1/tokens/{token_id}", "DELETE"): ["tokens:manage"],
        ("/v1/dead-letters/redrive", "POST"): ["dead-letters:manage"],
        ("/v1/dead-letters/discard", "POST"): ["dead-letters:manage"],
    }


BOUNDED = settings(
    max_examples=20,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]

HOSTILE = {
    "empty": b"",
    "not JSON": b"{",
    "not UTF-8": b'{"a":"\xff"}',
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 70 + b"1" + b"}" * 70,
    "NaN": b'{"offering":NaN}',
    "Infinity": b'{"offering":-Infinity}',
    "twice": b'{"offering":"a","offering":"b"}',
    "NUL": b'{"offering":"\\u0000"}',
    "lone surrogate": b'{"offering":"\\ud800"}',
    "array": b"[1,2]",
    "text": b'"text"',
    "number": b"5",
    "null": b"null",
    "huge number": b'{"offering":' + b"9" * 5000 + b"}",
    "large": b'{"reason":"' + b"x" * 2_000_000 + b'"}',
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_bodies_only_ever_get_a_refusal(stocked: AsyncClient, name: str) -> None:
    for path in WRITES:
        for media_type in ("application/json", "application/cloudevents+json", "application/cloudevents-batch+json"):
            answer = await stocked.post(path, content=HOSTILE[name], headers={"Content-Type": media_type})
            assert 400 <= answer.status_code < 500, (path, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
            assert {"title", "status"} <= answer.json().keys()


async def test_compressed_bodies_are_refused(stocked: AsyncClient) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    assert (await stocked.post("/v1/requests", content=b"x", headers=headers)).status_code == 415


async def test_an_unknown_path_is_a_problem_too(admin: AsyncClient) -> None:
    answer = await admin.get("/v1/nothing")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_migrations_make_what_the_models_say(tmp_path: Path) -> None:
    assert_migrations_match(MIGRATIONS, Base.metadata, tmp_path)


@pytest.fixture
async def address(service: Service) -> AsyncIterator[str]:
    """The door on a real socket: generated calls come from another thread."""
    http = run.server(door(service), "127.0.0.1", 0)
    serving = asyncio.create_task(http.serve())
    await eventually(lambda: http.started)
    yield f"http://127.0.0.1:{http.servers[0].sockets[0].getsockname()[1]}"
    http.should_exit = True
    await serving


@pytest.mark.parametrize("mode", list(GenerationMode))
async def test_the_description_holds_for_whatever_is_sent(
    service: Service, stocked: AsyncClient, address: str, mode: GenerationMode
) -> None:
    """Schemathesis: no answer but those described, none of 500, and nothing taken that is described as wrong."""
    schema = schemathesis.openapi.from_dict(door(service).openapi())
    headers = {"Authorization": f"Bearer {ADMIN}"}

    def call_all() -> int:
        called = 0
        for result in schema.get_all_operations():
            assert isinstance(result, Ok)
            operation = result.ok()

            @BOUNDED
            @given(case=operation.as_strategy(generation_mode=mode))
            def call(case: schemathesis.Case[Any]) -> None:
                nonlocal called
                called += 1
                case.validate_response(case.call(base_url=address, headers=headers, timeout=10), checks=CHECKS)

            # An operation that takes anything has nothing that could be wrong with it.
            with contextlib.suppress(Unsatisfiable):
                call()
        return called

    assert await asyncio.to_thread(call_all) > 100
