"""Locks and waivers: who may place and end them, what they may name, and what is said."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from entresol_eventing.envelope import Event, now
from entresol_eventing.service import Service
from entresol_eventing.testing import published
from httpx import AsyncClient

from services.intake.tests.conftest import Document, Enter, Make

FUTURE = "2099-01-01T00:00:00Z"


def lock(**fields: Any) -> Document:
    return {"scope": {"project": "shop", "environment": "prod"}, "reason": "the ledger is being migrated"} | fields


def waiver(**fields: Any) -> Document:
    sane = {
        "waives": "Policy/sensible-sizes",
        "scope": {"project": "shop"},
        "reason": "load test",
        "ticket": "OPS-812",
        "for": "2d",
    }
    return {name: value for name, value in (sane | fields).items() if value != "absent"}


@pytest.fixture
async def ruled(stocked: AsyncClient, make_manifest: Make) -> AsyncClient:
    """The admin's client, with a policy, a quota and a window in force."""
    rules = [
        {"deny": 'request.inputs.size == "large"', "because": "too large"},
        {"approve": {"from": ["group:sre"]}},
        {"breakGlass": {"by": ["group:sre"], "review": {"from": ["group:managers"]}}},
    ]
    manifests = [
        make_manifest("Policy", "sensible-sizes", rules=rules),
        make_manifest("Quota", "databases", limit=5),
        make_manifest("Window", "nights", effect="deny", cron="0 22 * * *", duration="8h", because="people sleep"),
    ]
    answer = await stocked.post("/v1/manifests", json=manifests)
    assert answer.status_code == 202, answer.text
    return stocked


async def said(service: Service, fact: str) -> list[Event[Any]]:
    return [each for each in await published(service) if each.type == f"dev.entresol.{fact}.v1"]


async def test_a_lock_is_said_in_a_chain_of_its_own(service: Service, enter: Enter) -> None:
    ada = await enter(projects=["shop"])
    body = lock(exempt=["group:sre", "user:grace", "ci:github/shop/cart"], until="2099-01-01T01:00:00+01:00")
    answer = await ada.post("/v1/locks", json=body)
    assert answer.status_code == 201, answer.text
    lock_id = answer.json()["id"]
    assert answer.json() == {"id": lock_id, "until": "2099-01-01T00:00:00+00:00"}
    (placed,) = await said(service, "lock.placed")
    assert placed.subject == placed.correlationid == placed.partitionkey == placed.data.lock_id == lock_id
    assert (placed.actor, placed.data.by, placed.causationid) == ("user:ada", "user:ada", None)
    assert placed.data.scope.model_dump(exclude_none=True) == {"project": "shop", "environment": "prod"}
    assert placed.data.exempt == ["group:sre", "user:grace", "ci:github/shop/cart"]
    assert (placed.data.reason, placed.data.until) == (body["reason"], datetime(2099, 1, 1, tzinfo=UTC))
    assert (await ada.request("DELETE", f"/v1/locks/{lock_id}", json={"reason": "done"})).status_code == 202
    (lifted,) = await said(service, "lock.lifted")
    assert (lifted.subject, lifted.correlationid, lifted.partitionkey) == (lock_id, lock_id, lock_id)
    assert (lifted.data.by, lifted.data.reason) == ("user:ada", "done")


async def test_a_lock_may_have_no_end_or_one_that_is_counted_from_now(service: Service, enter: Enter) -> None:
    ada = await enter()
    before = now()
    assert (await ada.post("/v1/locks", json=lock())).json()["until"] is None
    until = datetime.fromisoformat((await ada.post("/v1/locks", json=lock(**{"for": "4h"}))).json()["until"])
    assert before + timedelta(hours=4) <= until <= now() + timedelta(hours=4)
    assert [each.data.until for each in await said(service, "lock.placed")] == [None, until]


WRONG_LOCKS: list[tuple[Document, str]] = [
    ({"scope": "absent"}, "/scope"),
    ({"scope": None}, "/scope"),
    ({"scope": []}, "/scope"),
    ({"scope": {"project": None}}, "/scope/project"),
    ({"scope": {"project": "Shop"}}, "/scope/project"),
    ({"scope": {"project": "shop\n"}}, "/scope/project"),
    ({"scope": {"environment": "*"}}, "/scope/environment"),
    ({"scope": {"offering": 5}}, "/scope/offering"),
    ({"scope": {"action": ""}}, "/scope/action"),
    ({"scope": {"resource": "shop/prod/database"}}, "/scope/resource"),
    ({"scope": {"resource": "shop/prod/database/a/b"}}, "/scope/resource"),
    ({"scope": {"resource": "shop/prod/../x"}}, "/scope/resource"),
    ({"scope": {"resource": ["shop"]}}, "/scope/resource"),
    ({"scope": {"resource": "shop/prod/database/a", "project": "bank"}}, "/scope/resource"),
    ({"scope": {"resource": "shop/prod/database/a", "offering": "bucket"}}, "/scope/resource"),
    ({"scope": {"request": "r-1", "project": "shop"}}, "/scope/request"),
    ({"scope": {"team": "a"}}, "/scope/team"),
    ({"reason": "absent"}, "/reason"),
    ({"reason": None}, "/reason"),
    ({"reason": ""}, "/reason"),
    ({"reason": " \t"}, "/reason"),
    ({"reason": "x" * 2001}, "/reason"),
    ({"exempt": "user:ada"}, "/exempt"),
    ({"exempt": ["ada"]}, "/exempt/0"),
    ({"exempt": ["user:grace", "user:a b"]}, "/exempt/1"),
    ({"exempt": ["group:"]}, "/exempt/0"),
    ({"exempt": ["group:a\x1b[2J"]}, "/exempt/0"),
    ({"exempt": [5]}, "/exempt/0"),
    ({"exempt": ["group:" + "x" * 255]}, "/exempt/0"),
    ({"exempt": ["user:a"] * 101}, "/exempt"),
    ({"until": "2020-01-01T00:00:00Z"}, "/until"),
    ({"until": "2099-01-01T00:00:00"}, "/until"),
    ({"until": "2099-01-01"}, "/until"),
    ({"until": "2099-13-01T00:00:00Z"}, "/until"),
    ({"until": "9999-12-31T23:59:59-14:00"}, "/until"),
    ({"until": "0001-01-01T00:00:00+14:00"}, "/until"),
    ({"until": "٢٠٩٩-01-01T00:00:00Z"}, "/until"),
    ({"until": 4070908800}, "/until"),
    ({"for": "soon"}, "/for"),
    ({"for": "0s"}, "/for"),
    ({"for": "-1h"}, "/for"),
    ({"for": "9" * 39 + "w"}, "/for"),
    ({"for": 4}, "/for"),
    ({"until": FUTURE, "for": "4h"}, "/for"),
    ({"by": "user:grace"}, "/by"),
]


async def test_what_is_wrong_with_a_lock_is_refused_with_its_place(
    service: Service, enter: Enter, subtests: pytest.Subtests
) -> None:
    ada = await enter()
    for fields, pointer in WRONG_LOCKS:
        with subtests.test(fields=fields):
            body = {name: value for name, value in lock(**fields).items() if value != "absent"}
            answer = await ada.post("/v1/locks", json=body)
            assert answer.status_code == 422, answer.text
            assert pointer in [each["pointer"] for each in answer.json()["violations"]]
    assert await said(service, "lock.placed") == []


@pytest.mark.parametrize(
    ("role", "projects", "scope", "status"),
    [
        ("developer", ["shop"], {"project": "shop"}, 201),
        ("developer", ["shop"], {"resource": "shop/dev/database/orders", "action": "delete"}, 201),
        ("developer", ["shop"], {"project": "bank"}, 404),
        ("developer", ["shop"], {"resource": "bank/dev/database/orders"}, 404),
        ("developer", ["shop"], {"environment": "prod"}, 403),
        ("developer", ["shop"], {}, 403),
        ("developer", ["*"], {"environment": "prod"}, 201),
        ("developer", ["*"], {}, 403),
        ("platform", ["shop"], {}, 403),
        ("platform", ["*"], {}, 201),
        ("admin", ["*"], {}, 201),
    ],
)
async def test_a_lock_reaches_no_further_than_its_owner(
    service: Service, enter: Enter, role: str, projects: list[str], scope: Document, status: int
) -> None:
    client = await enter(role, projects=projects)
    assert (await client.post("/v1/locks", json=lock(scope=scope))).status_code == status
    assert len(await said(service, "lock.placed")) == (status == 201)


async def test_only_the_owner_or_who_may_lock_everything_lifts_a_lock(service: Service, enter: Enter) -> None:
    ada, grace = await enter(projects=["shop"]), await enter(actor="user:grace", projects=["shop"])
    operator = await enter("platform", actor="user:op")
    stranger = await enter("platform", actor="user:eve", projects=["bank"])
    path = f"/v1/locks/{(await ada.post('/v1/locks', json=lock())).json()['id']}"
    refused = await grace.delete(path)
    assert refused.status_code == 403
    assert "user:ada placed it" in refused.json()["detail"]
    assert (await stranger.delete(path)).status_code == 404
    assert (await operator.delete(path)).status_code == 202
    assert [each.data.by for each in await said(service, "lock.lifted")] == ["user:op"]


async def test_a_lock_of_no_one_project_is_there_only_for_who_reaches_all(service: Service, enter: Enter) -> None:
    ada, grace = await enter(), await enter("platform", actor="user:grace", projects=["shop"])
    path = f"/v1/locks/{(await ada.post('/v1/locks', json=lock(scope={'environment': 'prod'}))).json()['id']}"
    assert (await grace.delete(path)).status_code == 404
    assert (await ada.delete(path)).status_code == 202


@pytest.mark.parametrize("kind", ["locks", "waivers"])
async def test_what_has_ended_can_not_be_ended_again(
    service: Service, ruled: AsyncClient, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = lock(**{"for": "4h"}) if kind == "locks" else waiver()
    first, second = [(await ruled.post(f"/v1/{kind}", json=body)).json()["id"] for _ in range(2)]
    at_once = await asyncio.gather(*(ruled.delete(f"/v1/{kind}/{first}") for _ in range(5)))
    assert sorted(answer.status_code for answer in at_once) == [202, 409, 409, 409, 409]
    monkeypatch.setattr("entresol_intake.http.standing.now", lambda: now() + timedelta(days=3))
    assert (await ruled.delete(f"/v1/{kind}/{second}")).status_code == 409
    for unknown in ("unknown", "x" * 500, "a%00b"):
        assert (await ruled.delete(f"/v1/{kind}/{unknown}")).status_code == 404
    assert (await ruled.request("DELETE", f"/v1/{kind}/{first}", json={"why": 1})).status_code == 422
    assert len(await said(service, "lock.lifted" if kind == "locks" else "waiver.revoked")) == 1


async def test_a_waiver_is_said_in_a_chain_of_its_own(service: Service, enter: Enter, ruled: AsyncClient) -> None:
    grace = await enter("platform", actor="user:grace", projects=["shop"])
    answer = await grace.post("/v1/waivers", json=waiver(rule=1))
    assert answer.status_code == 201, answer.text
    waiver_id = answer.json()["id"]
    (granted,) = await said(service, "waiver.granted")
    assert granted.subject == granted.correlationid == granted.partitionkey == granted.data.waiver_id == waiver_id
    assert (granted.data.waives, granted.data.rule, granted.data.by) == ("Policy/sensible-sizes", 1, "user:grace")
    assert (granted.data.reason, granted.data.ticket) == ("load test", "OPS-812")
    assert granted.data.scope.model_dump(exclude_none=True) == {"project": "shop"}
    assert answer.json()["until"] == granted.data.until.isoformat()
    stranger = await enter("platform", actor="user:eve", projects=["bank"])
    assert (await stranger.delete(f"/v1/waivers/{waiver_id}")).status_code == 404
    revoked = await grace.request("DELETE", f"/v1/waivers/{waiver_id}", json={"reason": "the test is over"})
    assert (revoked.status_code, revoked.json()) == (202, {"id": waiver_id})
    (told,) = await said(service, "waiver.revoked")
    assert (told.subject, told.correlationid) == (waiver_id, waiver_id)
    assert (told.data.by, told.data.reason) == ("user:grace", "the test is over")


WRONG_WAIVERS: list[tuple[Document, str, str]] = [
    ({"waives": "absent"}, "/waives", "missing"),
    ({"waives": "Policy"}, "/waives", "one of Policy, Quota, Window"),
    ({"waives": "Route/x"}, "/waives", "one of Policy, Quota, Window"),
    ({"waives": "Policy/A b"}, "/waives", "one of Policy, Quota, Window"),
    ({"waives": "Policy/sensible-size"}, "/waives", "did you mean sensible-sizes?"),
    ({"waives": "Quota/sensible-sizes"}, "/waives", "no Quota sensible-sizes"),
    ({"waives": "Policy/unheard-of"}, "/waives", "no Policy unheard-of"),
    ({"rule": 3}, "/rule", "the last is 2"),
    ({"rule": 10**30}, "/rule", "the last is 2"),
    ({"rule": 2}, "/rule", "break glass"),
    ({"rule": -1}, "/rule", "counted from 0"),
    ({"rule": True}, "/rule", "counted from 0"),
    ({"rule": "0"}, "/rule", "counted from 0"),
    ({"waives": "Quota/databases", "rule": 0}, "/rule", "a Quota has no rules"),
    ({"waives": "Window/nights", "rule": 0}, "/rule", "a Window has no rules"),
    ({"scope": "absent"}, "/scope", "missing"),
    ({"scope": {"request": None}}, "/scope/request", ""),
    ({"scope": {"request": "unknown"}}, "/scope/request", "no such request"),
    ({"scope": {"request": "a\x1bb"}}, "/scope/request", "the id of a request"),
    ({"reason": "absent"}, "/reason", "missing"),
    ({"ticket": "absent"}, "/ticket", "missing"),
    ({"ticket": ""}, "/ticket", ""),
    ({"ticket": "\u3000"}, "/ticket", "not only blanks"),
    ({"ticket": "OPS-1\nOPS-2"}, "/ticket", "one line"),
    ({"ticket": "x" * 256}, "/ticket", ""),
    ({"for": "absent"}, "/until", "missing"),
    ({"for": "367d"}, "/for", "366 days"),
    ({"for": "absent", "until": FUTURE}, "/until", "366 days"),
    ({"until": FUTURE}, "/for", "beside until"),
    ({"exempt": []}, "/exempt", "not known"),
]


async def test_what_is_wrong_with_a_waiver_is_refused_with_its_place(
    service: Service, ruled: AsyncClient, subtests: pytest.Subtests
) -> None:
    for fields, pointer, words in WRONG_WAIVERS:
        with subtests.test(fields=fields):
            answer = await ruled.post("/v1/waivers", json=waiver(**fields))
            assert answer.status_code == 422, answer.text
            (detail,) = [each["detail"] for each in answer.json()["violations"] if each["pointer"] == pointer]
            assert words in detail
    assert await said(service, "waiver.granted") == []


async def test_a_manifest_that_was_removed_can_not_be_waived(ruled: AsyncClient) -> None:
    for kind, name in (("Policy", "sensible-sizes"), ("Quota", "databases"), ("Window", "nights")):
        body = waiver(waives=f"{kind}/{name}")
        assert (await ruled.post("/v1/waivers", json=body)).status_code == 201
        assert (await ruled.delete(f"/v1/manifests/{kind}/{name}")).status_code == 202
        assert (await ruled.post("/v1/waivers", json=body)).status_code == 422


async def test_a_waiver_reaches_no_further_than_who_grants_it(ruled: AsyncClient, enter: Enter, make_ask: Make) -> None:
    in_shop, in_bank = [
        (await ruled.post("/v1/requests", json=make_ask(project=project))).json()["id"] for project in ("shop", "bank")
    ]
    grace = await enter("platform", actor="user:grace", projects=["shop"])
    for scope, status in (
        ({"request": in_shop}, 201),
        ({"request": in_shop, "project": "shop", "action": "create"}, 201),
        ({"request": in_shop, "project": "bank"}, 422),
        ({"request": in_bank}, 422),
        ({"project": "bank"}, 404),
        ({"environment": "prod"}, 403),
        ({}, 403),
    ):
        assert (await grace.post("/v1/waivers", json=waiver(scope=scope))).status_code == status, scope
    assert (await ruled.post("/v1/waivers", json=waiver(scope={}))).status_code == 201


@pytest.mark.parametrize("kind", ["locks", "waivers"])
async def test_the_same_key_and_body_stand_once(
    service: Service, ruled: AsyncClient, enter: Enter, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = lock(until=(now() + timedelta(hours=1)).isoformat()) if kind == "locks" else waiver()
    call: dict[str, Any] = {"json": body, "headers": {"Idempotency-Key": "k-1"}}
    answers = await asyncio.gather(*(ruled.post(f"/v1/{kind}", **call) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotency-replayed" in answer.headers for answer in answers) == 9
    monkeypatch.setattr("entresol_intake.http.standing.now", lambda: now() + timedelta(hours=2))
    assert (await ruled.post(f"/v1/{kind}", **call)).content == answers[0].content
    assert (await ruled.post(f"/v1/{kind}", **(call | {"json": body | {"reason": "other"}}))).status_code == 422
    other = await enter("admin", actor="user:other")
    monkeypatch.undo()
    assert (await other.post(f"/v1/{kind}", **call)).content != answers[0].content
    assert len(await said(service, "lock.placed" if kind == "locks" else "waiver.granted")) == 2


async def test_a_key_is_not_used_up_by_a_waiver_that_was_refused(ruled: AsyncClient, make_manifest: Make) -> None:
    call: dict[str, Any] = {"json": waiver(waives="Window/weekends"), "headers": {"Idempotency-Key": "k-1"}}
    assert (await ruled.post("/v1/waivers", **call)).status_code == 422
    weekends = make_manifest("Window", "weekends", effect="deny", cron="0 0 * * 6", duration="2d", because="rest")
    assert (await ruled.post("/v1/manifests", json=[weekends])).status_code == 202
    assert (await ruled.post("/v1/waivers", **call)).status_code == 201
