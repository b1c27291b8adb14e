"""Asking: what is taken, what is refused and where it says so, and what happens when somebody asks twice."""

import asyncio
from typing import Any

import pytest
from entresol_eventing.service import Service
from entresol_eventing.testing import published
from httpx import AsyncClient

from services.intake.tests.conftest import Document, Enter, Make


async def submitted(service: Any) -> list[Any]:
    return [event for event in await published(service) if event.type == "dev.entresol.request.submitted.v1"]


async def test_an_ask_is_stored_and_said_before_it_is_answered(
    service: Service, stocked: AsyncClient, make_ask: Make
) -> None:
    answer = await stocked.post("/v1/requests", json=make_ask(reason="for the shop", lifetime="5d"))
    assert answer.status_code == 202
    body = answer.json()
    assert body == {
        "id": body["id"],
        "resource": "shop/dev/database/orders",
        "offering": "database",
        "version": "1.0.0",
        "action": "create",
        "links": {"self": f"https://entresol.example/catalog/v1/requests/{body['id']}"},
    }
    (event,) = await submitted(service)
    assert event.subject == event.correlationid == event.data.request_id == body["id"]
    assert event.partitionkey == "shop/dev/database/orders"
    assert event.actor == event.data.actor.id == "user:admin"
    assert event.data.inputs == {"size": "small", "backups": True}
    assert event.data.lifetime_seconds == 5 * 86400
    assert event.data.reason == "for the shop"
    assert event.causationid is None


WRONG: list[tuple[Document, str]] = [
    ({"offering": "nothing"}, "/offering"),
    ({"offering": None}, "/offering"),
    ({"offering": "Data Base"}, "/offering"),
    ({"version": "9.9.9"}, "/version"),
    ({"version": "latest"}, "/version"),
    ({"action": "dance"}, "/action"),
    ({"environment": "moon"}, "/environment"),
    ({"environment": "../dev"}, "/environment"),
    ({"name": "a" * 64}, "/name"),
    ({"name": ""}, "/name"),
    ({"project": "a/b"}, "/project"),
    ({"inputs": {"size": "huge"}}, "/inputs/size"),
    ({"inputs": {}}, "/inputs/size"),
    ({"inputs": {"size": "small", "colour": "red"}}, "/inputs/colour"),
    ({"inputs": []}, "/inputs"),
    ({"action": "update", "inputs": {"size": 1}}, "/inputs/size"),
    ({"action": "restart", "inputs": {"size": 1}}, "/inputs/size"),
    ({"action": "delete"}, "/inputs"),
    ({"action": "extend", "inputs": {}}, "/lifetime"),
    ({"action": "delete", "inputs": {}, "lifetime": "5d"}, "/lifetime"),
    ({"action": "update", "inputs": {}, "lifetime": "5d"}, "/lifetime"),
    ({"action": "update", "inputs": {}, "class": "cheap"}, "/class"),
    ({"lifetime": "91d"}, "/lifetime"),
    ({"lifetime": "soon"}, "/lifetime"),
    ({"lifetime": "1ms"}, "/lifetime"),
    ({"lifetime": 5}, "/lifetime"),
    ({"dry_run": "yes"}, "/dry_run"),
    ({"reason": ""}, "/reason"),
    ({"break_glass": ""}, "/break_glass"),
    ({"break_glass": " \n"}, "/break_glass"),
    ({"break_glass": "the shop is down", "dry_run": True}, "/break_glass"),
    ({"break_glass": True}, "/break_glass"),
    ({"break_glass": "x" * 2001}, "/break_glass"),
    ({"colour": "red"}, "/colour"),
    ({"class": "Cheap One"}, "/class"),
    ({"class": "c" * 10_000}, "/class"),
    ({"class": 1}, "/class"),
    ({"action": "restart", "inputs": {}, "class": "cheap"}, "/class"),
    ({"snapshot": {"revision": 3}}, "/snapshot"),
    ({"snapshot": 3}, "/snapshot"),
    ({"orphan": True}, "/orphan"),
    ({"orphan": "yes", "action": "delete", "inputs": {}}, "/orphan"),
    ({"action": "update", "inputs": {}, "orphan": True}, "/orphan"),
    ({"action": "pause", "inputs": {}, "lifetime": "1d"}, "/reason"),
    ({"action": "pause", "inputs": {}, "reason": "a freeze"}, "/lifetime"),
    ({"action": "pause", "inputs": {}, "reason": "a freeze", "lifetime": "200000d"}, "/lifetime"),
    ({"action": "pause", "reason": "a freeze", "lifetime": "1d"}, "/inputs"),
    ({"action": "unpause"}, "/inputs"),
    ({"action": "unpause", "inputs": {}, "lifetime": "1d"}, "/lifetime"),
    ({"action": "reconcile"}, "/inputs"),
    ({"action": "reconcile", "inputs": {}, "class": "cheap"}, "/class"),
    ({"action": "adopt", "inputs": {}}, "/inputs/size"),
    ({"action": "adopt", "lifetime": "91d"}, "/lifetime"),
    ({"action": "rollback", "version": "1.0.0"}, "/snapshot"),
    ({"action": "rollback", "snapshot": {"revision": 1}}, "/version"),
    ({"action": "rollback", "version": "1.0.0", "snapshot": {"revision": 1}, "inputs": {}}, "/inputs/size"),
    ({"action": "rollback", "version": "1.0.0", "snapshot": {}}, "/snapshot/revision"),
    ({"action": "rollback", "version": "1.0.0", "snapshot": {"revision": 0}}, "/snapshot/revision"),
    ({"action": "rollback", "version": "1.0.0", "snapshot": {"revision": True}}, "/snapshot/revision"),
    ({"action": "rollback", "version": "1.0.0", "snapshot": {"revision": 1.5}}, "/snapshot/revision"),
    ({"action": "rollback", "version": "1.0.0", "snapshot": {"revision": 10**30}}, "/snapshot/revision"),
    (
        {"action": "rollback", "version": "1.0.0", "snapshot": {"revision": 1, "request_id": "a\nb"}},
        "/snapshot/request_id",
    ),
    ({"action": "rollback", "version": "1.0.0", "snapshot": {"revision": 1, "at": 1}}, "/snapshot/at"),
    (
        {"action": "rollback", "version": "1.0.0", "snapshot": {"revision": 1}, "lifetime": "5d"},
        "/lifetime",
    ),
]


async def test_what_is_wrong_is_refused_with_its_place(
    service: Service, stocked: AsyncClient, make_ask: Make, subtests: pytest.Subtests
) -> None:
    for fields, pointer in WRONG:
        with subtests.test(fields=fields):
            answer = await stocked.post("/v1/requests", json=make_ask(**fields))
            assert answer.status_code == 422
            assert answer.headers["content-type"] == "application/problem+json"
            assert pointer in [each["pointer"] for each in answer.json()["violations"]]
    assert await submitted(service) == []


async def test_refusals_never_repeat_the_value(stocked: AsyncClient, make_ask: Make) -> None:
    answer = await stocked.post(
        "/v1/requests", json=make_ask(inputs={"size": "canary-secret", "backups": "canary-too"})
    )
    assert answer.status_code == 422
    assert "canary" not in answer.text


async def test_why_a_glass_is_broken_is_said_with_the_request(
    service: Service, stocked: AsyncClient, make_ask: Make
) -> None:
    assert (await stocked.post("/v1/requests", json=make_ask(break_glass="the shop is down"))).status_code == 202
    assert (await stocked.post("/v1/requests", json=make_ask())).status_code == 202
    assert [each.data.break_glass for each in await submitted(service)] == ["the shop is down", None]


@pytest.mark.parametrize(
    ("fields", "inputs"),
    [
        ({"action": "update", "inputs": {"backups": False}}, {"backups": False}),
        ({"action": "update", "inputs": {}}, {}),
        ({"action": "delete", "inputs": {}}, {}),
        ({"action": "extend", "inputs": {}, "lifetime": "10d"}, {}),
        ({"action": "restart", "inputs": {}}, {}),
        ({"dry_run": True}, {"size": "small", "backups": True}),
        ({"class": "cheap"}, {"size": "small", "backups": True}),
        ({"action": "adopt", "lifetime": "5d", "class": "cheap"}, {"size": "small", "backups": True}),
        ({"action": "apply", "lifetime": "5d", "class": "cheap"}, {"size": "small", "backups": True}),
        ({"action": "reconcile", "inputs": {}}, {}),
        ({"action": "pause", "inputs": {}, "reason": "a freeze", "lifetime": "200d"}, {}),
        ({"action": "unpause", "inputs": {}}, {}),
        ({"action": "rollback", "version": "1.0.0", "snapshot": {"revision": 1}}, {"size": "small"}),
        ({"action": "delete", "inputs": {}, "orphan": True}, {}),
    ],
)
async def test_each_action_has_its_own_rule_for_inputs(
    service: Service, stocked: AsyncClient, make_ask: Make, fields: Document, inputs: Document
) -> None:
    answer = await stocked.post("/v1/requests", json=make_ask(**fields))
    assert answer.status_code == 202, answer.text
    (event,) = await submitted(service)
    assert event.data.inputs == inputs
    assert event.data.action == fields.get("action", "create").replace("apply", "create")
    assert event.data.dry_run is fields.get("dry_run", False)


async def test_the_default_version_is_meant_unless_one_is_named(
    service: Service, stocked: AsyncClient, make_ask: Make, make_offering: Make
) -> None:
    await stocked.post("/v1/manifests", json=[make_offering("1.10.0"), make_offering("1.9.0")])
    assert (await stocked.post("/v1/requests", json=make_ask())).json()["version"] == "1.10.0"
    assert (await stocked.post("/v1/requests", json=make_ask(version="1.0.0"))).json()["version"] == "1.0.0"


async def test_what_an_ask_says_besides_is_said_with_the_request(
    service: Service, stocked: AsyncClient, make_ask: Make
) -> None:
    snapshot = {"revision": 3, "request_id": "r-3"}
    for fields in (
        {"class": "cheap"},
        {"action": "rollback", "version": "1.0.0", "snapshot": snapshot},
        {"action": "delete", "inputs": {}, "orphan": True},
        {"class": None, "snapshot": None},
    ):
        assert (await stocked.post("/v1/requests", json=make_ask() | fields)).status_code == 202
    said = [each.data.model_dump(by_alias=True) for each in await submitted(service)]
    assert [each["class"] for each in said] == ["cheap", None, None, None]
    assert [each["snapshot"] for each in said] == [None, snapshot, None, None]
    assert [each["orphan"] for each in said] == [False, False, True, False]
    assert all(each["requirement"] is each["question"] is None for each in said)


async def test_a_pause_is_not_bound_by_the_lifetime_of_what_it_pauses(
    service: Service, stocked: AsyncClient, make_ask: Make, make_offering: Make
) -> None:
    eternal = make_offering(name="eternal")
    del eternal["spec"]["lifetime"]
    await stocked.post("/v1/manifests", json=[eternal])
    pause = make_ask(offering="eternal", action="pause", inputs={}, reason="a freeze", lifetime="1w")
    assert (await stocked.post("/v1/requests", json=pause)).status_code == 202
    assert (await submitted(service))[-1].data.lifetime_seconds == 7 * 86_400


async def test_an_offering_without_lifetime_can_not_be_given_one(
    stocked: AsyncClient, make_ask: Make, make_offering: Make
) -> None:
    eternal = make_offering(name="eternal")
    del eternal["spec"]["lifetime"]
    await stocked.post("/v1/manifests", json=[eternal])
    answer = await stocked.post("/v1/requests", json=make_ask(offering="eternal", lifetime="5d"))
    assert [each["pointer"] for each in answer.json()["violations"]] == ["/lifetime"]


async def test_a_project_out_of_reach_is_not_found(service: Service, enter: Enter, make_ask: Make) -> None:
    ada = await enter(projects=["shop"])
    assert (await ada.post("/v1/requests", json=make_ask(project="bank"))).status_code == 404
    assert (await ada.post("/v1/requests", json=make_ask())).status_code == 202
    assert len(await submitted(service)) == 1


async def test_the_same_key_and_body_get_the_same_answer(
    service: Service, stocked: AsyncClient, make_ask: Make
) -> None:
    headers = {"Idempotency-Key": "k-1"}
    first = await stocked.post("/v1/requests", json=make_ask(), headers=headers)
    again = await stocked.post("/v1/requests", json=make_ask(), headers=headers)
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.content == again.content
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert len(await submitted(service)) == 1


async def test_a_repeated_ask_is_answered_even_if_the_offering_is_gone(stocked: AsyncClient, make_ask: Make) -> None:
    headers = {"Idempotency-Key": "k-1"}
    first = await stocked.post("/v1/requests", json=make_ask(), headers=headers)
    assert (await stocked.delete("/v1/manifests/Offering/database")).status_code == 202
    again = await stocked.post("/v1/requests", json=make_ask(), headers=headers)
    assert again.content == first.content


async def test_the_same_key_with_another_body_is_refused(
    service: Service, stocked: AsyncClient, make_ask: Make
) -> None:
    headers = {"Idempotency-Key": "k-1"}
    await stocked.post("/v1/requests", json=make_ask(), headers=headers)
    other = await stocked.post("/v1/requests", json=make_ask(name="other"), headers=headers)
    assert other.status_code == 422
    assert len(await submitted(service)) == 1


async def test_keys_belong_to_the_actor_and_the_project(
    service: Service, stocked: AsyncClient, enter: Enter, make_ask: Make
) -> None:
    headers = {"Idempotency-Key": "k-1"}
    ada = await enter()
    for client, project in ((stocked, "shop"), (ada, "shop"), (ada, "bank")):
        answer = await client.post("/v1/requests", json=make_ask(project=project), headers=headers)
        assert "idempotency-replayed" not in answer.headers
    assert len(await submitted(service)) == 3


async def test_fifty_at_once_with_one_key_make_one_request(
    service: Service, stocked: AsyncClient, make_ask: Make
) -> None:
    headers = {"Idempotency-Key": "storm"}
    answers = await asyncio.gather(*(stocked.post("/v1/requests", json=make_ask(), headers=headers) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("idempotency-replayed" in answer.headers for answer in answers) == 49
    assert len(await submitted(service)) == 1


@pytest.mark.parametrize("key", ["", "k" * 256, "with\ttab"])
async def test_an_unusable_key_is_refused(stocked: AsyncClient, make_ask: Make, key: str) -> None:
    answer = await stocked.post("/v1/requests", json=make_ask(), headers={"Idempotency-Key": key})
    assert answer.status_code == 400


async def test_a_request_can_be_asked_to_stop(
    service: Service, stocked: AsyncClient, enter: Enter, make_ask: Make
) -> None:
    request_id = (await stocked.post("/v1/requests", json=make_ask())).json()["id"]
    ada = await enter(projects=["shop"])
    assert (await ada.post(f"/v1/requests/{request_id}/cancel")).status_code == 202
    answer = await ada.post(f"/v1/requests/{request_id}/cancel", json={"reason": "changed my mind"})
    assert answer.status_code == 202
    event = (await published(service))[-1]
    assert event.type == "dev.entresol.request.cancelled.v1"
    assert (event.subject, event.correlationid, event.partitionkey) == (request_id, request_id, event.data.resource_id)
    assert (event.data.by, event.actor, event.data.reason) == ("user:ada", "user:ada", "changed my mind")


async def test_what_can_not_be_stopped_says_nothing(
    service: Service, stocked: AsyncClient, enter: Enter, make_ask: Make
) -> None:
    request_id = (await stocked.post("/v1/requests", json=make_ask())).json()["id"]
    grace = await enter(actor="user:grace", projects=["bank"])
    before = len(await published(service))
    for identifier in (request_id, "unknown", "x" * 500, "a%00b"):
        assert (await grace.post(f"/v1/requests/{identifier}/cancel")).status_code == 404
    assert (await stocked.post(f"/v1/requests/{request_id}/cancel", json={"why": 1})).status_code == 422
    assert len(await published(service)) == before


async def test_a_held_request_can_be_asked_to_begin(
    service: Service, stocked: AsyncClient, enter: Enter, make_ask: Make
) -> None:
    request_id = (await stocked.post("/v1/requests", json=make_ask())).json()["id"]
    ada = await enter(groups=["sre"], projects=["shop"])
    answer = await ada.post(f"/v1/requests/{request_id}/override", json={"reason": "the fix can't wait"})
    event = (await published(service))[-1]
    assert (answer.status_code, answer.json()) == (202, {"id": request_id, "by": event.actor, "event": event.id})
    assert event.type == "dev.entresol.hold.overridden.v1"
    assert (event.subject, event.correlationid, event.partitionkey) == (request_id, request_id, event.data.resource_id)
    assert (event.data.by, event.data.groups, event.data.reason) == ("user:ada", ["sre"], "the fix can't wait")


async def test_an_override_needs_a_reason_and_a_request_within_reach(
    service: Service, stocked: AsyncClient, enter: Enter, make_ask: Make
) -> None:
    path = f"/v1/requests/{(await stocked.post('/v1/requests', json=make_ask())).json()['id']}/override"
    grace = await enter(actor="user:grace", projects=["bank"])
    before = len(await published(service))
    for body in (
        {},
        {"reason": ""},
        {"reason": None},
        {"reason": 1},
        {"reason": "x" * 2001},
        {"reason": "x", "now": 1},
    ):
        assert (await stocked.post(path, json=body)).status_code == 422
    for unreachable in (path, "/v1/requests/unknown/override", "/v1/requests/a%00b/override"):
        assert (await grace.post(unreachable, json={"reason": "now"})).status_code == 404
    assert len(await published(service)) == before


async def test_a_step_that_waits_can_be_let_go_on(
    service: Service, stocked: AsyncClient, enter: Enter, make_ask: Make
) -> None:
    request_id = (await stocked.post("/v1/requests", json=make_ask())).json()["id"]
    ada = await enter(projects=["shop"])
    path = f"/v1/requests/{request_id}/resume"
    assert (await ada.post(path)).json()["id"] == request_id
    whole = {"step": "migrate", "reason": "checked by hand", "answer": {"rows": 12}}
    assert (await ada.post(path, json=whole)).status_code == 202
    bare, full = [each for each in await published(service) if each.type == "dev.entresol.resume.requested.v1"]
    assert bare.data.model_dump(exclude_none=True) == {
        "request_id": request_id,
        "resource_id": "shop/dev/database/orders",
        "project": "shop",
        "by": "user:ada",
    }
    assert full.data.model_dump(include=set(whole)) == whole
    assert (full.subject, full.correlationid, full.partitionkey) == (request_id, request_id, full.data.resource_id)
    assert full.actor == "user:ada"


async def test_what_can_not_be_resumed_says_nothing(
    service: Service, stocked: AsyncClient, enter: Enter, make_ask: Make
) -> None:
    path = f"/v1/requests/{(await stocked.post('/v1/requests', json=make_ask())).json()['id']}/resume"
    grace = await enter(actor="user:grace", projects=["bank"])
    before = len(await published(service))
    wrong: tuple[object, ...] = (
        {"step": "Not A Step"},
        {"step": "s" * 10_000},
        {"step": 1},
        {"answer": "yes"},
        {"answer": []},
        {"reason": ""},
        {"now": True},
        [],
    )
    for body in wrong:
        assert (await stocked.post(path, json=body)).status_code == 422, body
    assert (await stocked.post(path, json={"answer": {"a": "x" * 300_000}})).status_code == 413
    for unreachable in (path, "/v1/requests/unknown/resume", "/v1/requests/a%00b/resume"):
        assert (await grace.post(unreachable)).status_code == 404
    assert len(await published(service)) == before


async def test_a_full_outbox_is_answered_with_try_again(
    service: Service, stocked: AsyncClient, make_ask: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.settings, "outbox_limit", 1)
    answer = await stocked.post("/v1/requests", json=make_ask())
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
