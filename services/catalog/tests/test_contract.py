"""The door against its own description: whatever is sent, the answer is one that was described, and never a 500."""

import asyncio
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

ENDLESS = ("/v1/stream",)


@pytest.mark.timeout(120)
async def test_the_door_answers_as_it_is_described(catalog: Any, traffic: type[Any]) -> None:
    one, two = traffic(), traffic(name="two")
    entity = {"blueprint": "Resource", "identifier": "orders", "properties": {}, "relations": {}}
    await catalog.project(*one.whole(entity), two.submitted(), two.asked())
    await asyncio.to_thread(attack, catalog.url, catalog.bearer("admin"))


def attack(url: str, headers: dict[str, str]) -> None:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    tried = 0
    for found in schema.get_all_operations():
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
    assert tried >= 16
