"""The door against its own description: whatever is sent, the answer is one that was described, and never a 500."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import schemathesis
import schemathesis.specs.openapi.schemas  # else later, in a thread: CPython's gh-106905
from entresol_contracts import events as facts
from entresol_eventing.testing import event
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from services.catalog.tests.conftest import whole_lives
from services.catalog.tests.graded import scorecard, service

ENDLESS = ("/v1/stream",)


@pytest.mark.timeout(120)
async def test_the_door_answers_as_it_is_described(catalog: Any, traffic: type[Any]) -> None:
    one, two = traffic(), traffic(name="two")
    entity = {"blueprint": "Resource", "identifier": "orders", "properties": {}, "relations": {}}
    scope = facts.Scope(project="shop", environment="prod")
    until = one.at + timedelta(days=1)
    lock = facts.LockPlaced(lock_id="l", scope=scope, reason="r", by="user:ada", exempt=[], until=until)
    waiver = facts.WaiverGranted(
        waiver_id="w", waives="Policy/p", scope=scope, reason="r", ticket="t", until=until, by="user:ada"
    )
    outline = facts.PlanOutline(digest="sha256:one", adds=1, changes=0, destroys=0)
    await catalog.project(*one.whole(entity), two.submitted(), two.plan_wanted(), two.planned())
    await catalog.project(two.asked(plan=outline, remind_at=until), two.held(until, None), two.broken())
    await catalog.project(event(lock), event(waiver), service("cart"), scorecard())
    database = facts.ManifestApplied(kind="Offering", name="database", version="1.0.0", digest="d", manifest={})
    await catalog.project(event(database), *whole_lives())
    await asyncio.to_thread(attack, catalog.url, catalog.bearer("admin"))


def attack(url: str, headers: dict[str, str]) -> None:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    tried = 0
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        if operation.path in ENDLESS:
            continue
        tried += 1

        @settings(max_examples=20, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def check(case: Any) -> None:
            response = case.call(headers=headers)
            checks = [not_a_server_error, content_type_conformance, response_schema_conformance]
            case.validate_response(response, checks=checks)

        check()
    assert tried >= 22
