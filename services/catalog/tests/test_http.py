"""The read door: lists, single things, who sees what, and what a caller may get wrong."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from entresol_catalog.http.app import PUBLIC
from entresol_catalog.settings import Settings
from entresol_catalog.workers import watch
from entresol_contracts import events as facts
from entresol_eventing.testing import event, eventually, published
from fastapi.routing import APIRoute

from services.catalog.tests.graded import scorecard, service

PORTAL = Path(__file__).parents[4] / "shared" / "data" / "portal"
ENTITY = {"blueprint": "Resource", "identifier": "orders", "properties": {"type": "postgres"}, "relations": {}}


def applied(kind: str, name: str, version: str | None = None, **manifest: Any) -> Any:
    return event(facts.ManifestApplied(kind=kind, name=name, version=version, digest="sha256:aa", manifest=manifest))


def blueprint(identifier: str, **spec: Any) -> Any:
    whole = {"schema": {"properties": {}, "required": []}, "relations": {}} | spec
    return applied("Blueprint", identifier, metadata={"name": identifier, "title": identifier}, spec=whole)


def declared(blueprint: str, identifier: str, **rest: Any) -> Any:
    whole = {"properties": {}, "relations": {}} | rest
    return event(facts.EntityDeclared(blueprint=blueprint, identifier=identifier, **whole))


def routes(app: Any) -> list[APIRoute]:
    return [one for one in app.routes if isinstance(one, APIRoute)]


async def test_a_request_is_shown_with_everything_known_of_it(catalog: Any, traffic: type[Any]) -> None:
    one = traffic()
    await catalog.project(one.submitted(), one.asked())
    async with catalog.client() as client:
        shown = (await client.get(f"/v1/requests/{one.id}")).json()
        assert (shown["state"], shown["actor"], shown["resource"]) == ("waiting-for-approval", "user:ada", one.resource)
        assert shown["waiting_for"].startswith("approval by group:sre until ")
        (approval,) = (await client.get("/v1/approvals?state=pending")).json()["items"]
        assert approval == shown["approvals"][0]
        await catalog.project(one.allowed(), one.started(), one.succeeded(), one.provisioned(ENTITY))
        shown = (await client.get(f"/v1/requests/{one.id}")).json()
        assert (shown["state"], shown["outputs"], shown["waiting_for"]) == ("succeeded", {"host": "db"}, None)
        resource = (await client.get(f"/v1/resources/{one.resource}")).json()
        assert resource["entity"] == {"blueprint": "Resource", "identifier": "orders"}
        entity = (await client.get("/v1/entities/Resource/orders")).json()
        assert entity["resources"] == [one.resource]


async def test_what_policy_said_last_is_shown_with_the_request(catalog: Any, traffic: type[Any]) -> None:
    one, other = traffic(), traffic(name="other")
    verdict = facts.Verdict(policy="sizes", version="v", rule=0, effect="deny", mode="enforce", matched=True)
    quota = facts.QuotaUse(quota="databases", used=2, asked=1, limit=2, exceeded=True)
    hold = facts.Hold(kind="lock", name="lock-1", because="the ledger moves", until=one.at)
    denied = facts.RequestDenied(
        **other.about, because=["too large"], verdicts=[verdict], quotas=[quota], unconcerned=["windows"], policies=2
    )
    await catalog.project(one.submitted(), one.plan_wanted(), one.planned(), one.allowed(plan_digest="sha256:one"))
    await catalog.project(one.planned("sha256:two", replaces="sha256:one"), other.submitted(), other.say(denied))
    async with catalog.client() as client:
        shown = (await client.get(f"/v1/requests/{one.id}")).json()
        assert (shown["state"], shown["decision"]["plan_digest"]) == ("planned", "sha256:one")
        allowed = one.allowed(plan_digest="sha256:two", verdicts=[verdict], overridden=[hold], approvals=["a"])
        await catalog.project(allowed)
        (second, first) = (await client.get("/v1/requests")).json()["items"]
        assert first == (await client.get(f"/v1/requests/{one.id}")).json()
        assert first["decision"] == {
            "outcome": "allowed",
            "at": first["since"],
            "verdicts": [verdict.model_dump(exclude_none=True)],
            "policies": None,
            "glass_broken": False,
            "plan_digest": "sha256:two",
            "unconcerned": [],
            "approvals": ["a"],
            "quotas": [],
            "overridden": [hold.model_dump(mode="json", exclude_none=True)],
        }
        assert [second["decision"][name] for name in ("outcome", "unconcerned", "policies", "quotas")] == [
            *("denied", ["windows"], 2),
            [{"quota": "databases", "used": 2, "asked": 1, "limit": 2, "exceeded": True}],
        ]
        await catalog.project(traffic(name="new").submitted())
        assert (await client.get("/v1/requests?limit=1")).json()["items"][0]["decision"] is None


async def test_reviews_are_found_among_the_approvals(catalog: Any, traffic: type[Any]) -> None:
    one, other = traffic(), traffic(name="other")
    await catalog.project(one.submitted(), one.allowed(), one.asked("review-1", review=True, plan=None))
    outline = facts.PlanOutline(digest="sha256:one", adds=1, changes=0, destroys=0)
    await catalog.project(other.submitted(), other.plan_wanted(), other.planned(), other.asked(plan=outline, all=True))
    async with catalog.client() as client:

        async def found(query: str) -> list[str]:
            return [item["id"] for item in (await client.get(f"/v1/approvals?{query}")).json()["items"]]

        assert await found("state=pending") == ["approval-1", "review-1"]
        assert await found("state=pending&review=true") == ["review-1"]
        assert await found("review=false") == ["approval-1"]
        await catalog.project(
            one.succeeded(),
            *one.heard("review-1"),
            one.ended(facts.ApprovalGranted, "granted", "review-1", review=True),
        )
        assert await found("state=pending&review=true") == []
        assert (await client.get("/v1/approvals/review-1")).json()["state"] == "granted"
        assert (await client.get("/v1/approvals/review-2")).status_code == 404
        (signed,) = (await client.get(f"/v1/requests/{one.id}")).json()["approvals"]
        assert (signed["state"], signed["answers"][0]["by"]) == ("granted", "user:bob")
        (asked,) = (await client.get("/v1/approvals?state=pending")).json()["items"]
        assert (asked["plan"]["digest"], asked["all"]) == ("sha256:one", True)


async def test_the_chain_holds_the_catalogs_own_facts_too(catalog: Any, traffic: type[Any]) -> None:
    one = traffic()
    await catalog.project(*one.whole(ENTITY))
    async with catalog.client() as client:

        async def whole() -> list[dict[str, Any]]:
            items: list[dict[str, Any]] = (await client.get(f"/v1/requests/{one.id}/events")).json()["items"]
            return items if len(items) == 8 else []

        chain = await eventually(whole)
        assert {one["type"].split(".")[2] + "." + one["type"].split(".")[3] for one in chain[-2:]} == {
            "request.completed",
            "entity.changed",
        }
        assert [item["position"] for item in chain] == sorted(item["position"] for item in chain)
        assert {item["correlationid"] for item in chain} == {one.id}
        first = (await client.get(f"/v1/requests/{one.id}/events?limit=3")).json()
        rest = (await client.get(f"/v1/requests/{one.id}/events", params={"cursor": first["next"]})).json()
        assert first["items"] + rest["items"] == chain
    assert [type(item.data).__name__ for item in await published(catalog.service)] == [
        "RequestCompleted",
        "EntityChanged",
    ]


async def test_waiting_ends_with_the_request(catalog: Any, traffic: type[Any]) -> None:
    one = traffic()
    await catalog.project(one.submitted())
    async with catalog.client() as client:
        at_once = await client.get(f"/v1/requests/{one.id}?wait=0.05")
        assert at_once.json()["state"] == "submitted"
        waiting = asyncio.create_task(client.get(f"/v1/requests/{one.id}?wait=30"))
        await catalog.project(one.allowed())
        await catalog.project(one.denied())
        answer = await asyncio.wait_for(waiting, 5)
        assert answer.json()["state"] == "denied"


async def test_other_projects_do_not_exist(catalog: Any, traffic: type[Any]) -> None:
    mine, other = traffic("shop"), traffic("bank")
    notified = facts.NotificationFailed(
        delivery_id="d", channel="c", route="r", event_id="e", event_type="t", attempts=1, reason="gone"
    )
    waiting = traffic("bank", name="waiting")
    await catalog.project(*mine.whole(), *other.whole(), mine.asked(), other.say(notified))
    await catalog.project(traffic("bank").submitted(), declared("System", "Cart"))
    await catalog.project(waiting.submitted(), waiting.asked("theirs"))
    own = f"/v1/requests/{other.id}", f"/v1/requests/{other.id}/events", f"/v1/resources/{other.resource}"
    async with catalog.client() as client:
        assert (await client.get("/v1/approvals/theirs")).json()["project"] == "bank"
    async with catalog.client("shop") as client:
        for path in ("/v1/requests", "/v1/resources"):
            items = (await client.get(path)).json()["items"]
            assert [item["project"] for item in items] == ["shop"], path
            assert (await client.get(path, params={"project": "bank"})).json()["items"] == []
        assert (await client.get("/v1/notifications")).json()["items"] == []
        for path in (*own, "/v1/approvals/theirs"):
            answer = await client.get(path)
            assert answer.status_code == 404, path
            assert answer.headers["content-type"] == "application/problem+json"
            nothing = path.replace(other.id, "nothing").replace("orders", "nothing").replace("theirs", "nothing")
            missing = await client.get(nothing)
            assert missing.json()["title"] == answer.json()["title"]
        seen = (await client.get("/v1/events?limit=500")).json()["items"]
        assert {item["data"].get("project") for item in seen} == {"shop", None}
        assert all(item["type"].startswith("dev.entresol.entity.") for item in seen if "project" not in item["data"])
        assert (await client.get("/v1/stream?project=bank")).status_code == 404
        assert len((await client.get("/v1/entities")).json()["items"]) == 1


def locked(lock_id: str, **scope: str) -> Any:
    whole = facts.LockPlaced(
        lock_id=lock_id, scope=facts.Scope(**scope), reason="the ledger moves", by="user:ada", exempt=[]
    )
    return event(whole)


def waived(waiver_id: str, **scope: str) -> Any:
    whole = facts.WaiverGranted(
        waiver_id=waiver_id,
        waives="Policy/sizes",
        scope=facts.Scope(**scope),
        reason="a sale",
        ticket="OPS-1",
        until=datetime(2030, 1, 1, tzinfo=UTC),
        by="user:ada",
    )
    return event(whole)


@pytest.mark.parametrize(("path", "make"), [("locks", locked), ("waivers", waived)])
async def test_locks_and_waivers_of_a_project_and_of_all_are_seen_there(catalog: Any, path: str, make: Any) -> None:
    await catalog.project(
        make("all", environment="prod"),
        make("mine", project="shop"),
        make("other", project="bank"),
        make("thing", resource="bank/prod/database/orders"),
        make("lost", request="unknown"),
    )
    async with catalog.client("shop") as client, catalog.client() as admin:

        async def seen(by: Any, query: str = "") -> list[str]:
            return [item["id"] for item in (await by.get(f"/v1/{path}{query}")).json()["items"]]

        assert await seen(client) == ["mine", "all"]
        assert await seen(client, "?project=bank") == ["all"]
        assert await seen(admin) == ["lost", "thing", "other", "mine", "all"]
        assert await seen(admin, "?project=bank") == ["thing", "other", "all"]
        history = (await client.get("/v1/events")).json()["items"]
        assert len(history) == 2
        page = (await admin.get(f"/v1/{path}?limit=2")).json()
        assert [item["id"] for item in page["items"]] == ["lost", "thing"]
        rest = (await admin.get(f"/v1/{path}?limit=3&cursor={page['next']}")).json()
        assert ([item["id"] for item in rest["items"]], rest["next"]) == (["other", "mine", "all"], None)


async def test_what_has_ended_is_listed_by_its_state(catalog: Any) -> None:
    await catalog.project(
        locked("old", project="shop"), locked("new"), event(facts.LockLifted(lock_id="old", by="user:bob"))
    )
    await catalog.project(waived("old"), waived("new"), event(facts.WaiverRevoked(waiver_id="old", by="user:bob")))
    async with catalog.client() as client:
        for path in ("locks", "waivers"):
            for state, name in (("active", "new"), ("ended", "old")):
                items = (await client.get(f"/v1/{path}?state={state}")).json()["items"]
                assert [(item["id"], item["state"]) for item in items] == [(name, state)]
            assert items[0]["ended_by"] == "user:bob"
            assert (await client.get(f"/v1/{path}?state=odd")).status_code == 422


async def test_administration_is_for_administrators(catalog: Any) -> None:
    letter = facts.MessageQuarantined(
        message_id="m", service="policy", reason="no", attempts=8, log_subject="s", size_bytes=1, digest="d"
    )
    await catalog.project(event(letter))
    async with catalog.client() as client:
        tokens = (await client.get("/v1/tokens")).json()["items"]
        assert [one["id"] for one in tokens] == ["shop", "viewer", "admin"]
        assert "hash" not in json.dumps(tokens)
        assert [one["id"] for one in (await client.get("/v1/dead-letters?service=policy")).json()["items"]] == ["m"]
    async with catalog.client("viewer") as client:
        assert (await client.get("/v1/tokens")).status_code == 403
        assert (await client.get("/v1/dead-letters")).status_code == 403
        assert (await client.get("/v1/events")).json()["items"] == []


async def test_nobody_gets_in_without_a_valid_token(catalog: Any) -> None:
    async with catalog.client("nobody") as client:
        answer = await client.get("/v1/requests")
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert (await client.get("/health/ready")).status_code == 200
    await catalog.project(event(facts.TokenRevoked(token_id="viewer")))
    async with catalog.client("viewer") as client:
        assert (await client.get("/v1/requests")).status_code == 401


async def test_every_route_names_a_permission(catalog: Any) -> None:
    app = catalog.service.http
    found = routes(app)
    for route in found:
        permissions = [getattr(one.call, "permission", None) for one in route.dependant.dependencies]
        assert any(permissions), route.path
    described = set(app.openapi()["paths"])
    assert {route.path.replace(":path", "") for route in found} == described
    assert {route.path for route in app.routes if not isinstance(route, APIRoute)} == PUBLIC
    async with catalog.client("nobody") as client:
        for path in described:
            assert (await client.get(path)).status_code == 401, path


async def test_what_is_known_is_not_sent_again(catalog: Any, traffic: type[Any]) -> None:
    one = traffic()
    await catalog.project(*one.whole(ENTITY), blueprint("Resource"), applied("Offering", "database", "1.0.0"))
    async with catalog.client() as client:
        paths = (f"/v1/requests/{one.id}", f"/v1/resources/{one.resource}", "/v1/entities/Resource/orders")
        for path in (*paths, "/v1/offerings/database"):
            first = await client.get(path)
            again = await client.get(path, headers={"If-None-Match": first.headers["etag"]})
            assert (again.status_code, again.content) == (304, b""), path
        known = (await client.get("/v1/entities/Resource/orders")).headers["etag"]
        await catalog.project(
            declared("System", "Cart"), blueprint("Resource", schema={"properties": {}, "required": ["x"]})
        )
        again = await client.get("/v1/entities/Resource/orders", headers={"If-None-Match": known})
        assert again.status_code == 200


async def test_pages_neither_repeat_nor_miss_while_more_arrives(catalog: Any, traffic: type[Any]) -> None:
    chains = [traffic(name=f"n{number}") for number in range(7)]
    await catalog.project(*(chain.submitted() for chain in chains))
    async with catalog.client() as client:
        seen: list[str] = []
        cursor = None
        while True:
            page = (
                await client.get("/v1/requests", params={"limit": 3} | ({"cursor": cursor} if cursor else {}))
            ).json()
            seen += [item["name"] for item in page["items"]]
            cursor = page["next"]
            if cursor is None:
                break
            await catalog.project(traffic(name="later").submitted())
        assert seen == [f"n{number}" for number in reversed(range(7))]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("state=succeeded", ["b"]),
        ("state=submitted&state=denied", ["c", "a"]),
        ("resource=shop/staging/database/a", ["a"]),
        ("offering=database&project=shop", ["c", "b", "a"]),
        ("offering=nothing", []),
    ],
)
async def test_requests_are_found_by(catalog: Any, traffic: type[Any], query: str, names: list[str]) -> None:
    a, b, c = (traffic(name=name) for name in "abc")
    await catalog.project(a.submitted(), b.submitted(), b.allowed(), b.succeeded(), c.submitted(), c.denied())
    async with catalog.client() as client:
        assert [item["name"] for item in (await client.get(f"/v1/requests?{query}")).json()["items"]] == names


@pytest.mark.parametrize(
    "path", ["requests?limit=0", "requests?limit=501", "requests?state=odd", "requests?cursor=x", "events?after=-1"]
)
async def test_a_wrong_parameter_is_named(catalog: Any, path: str) -> None:
    async with catalog.client() as client:
        answer = await client.get(f"/v1/{path}")
    assert answer.status_code == 422
    assert answer.json()["violations"][0]["pointer"].startswith("/query/")


async def test_entities_show_their_relations_both_ways_and_what_is_wrong(catalog: Any) -> None:
    system = {"system": {"target": "System", "required": True, "many": False}}
    typed = {"properties": {"type": {"enum": ["service"]}}, "required": ["type"]}
    await catalog.project(
        blueprint("Component", schema=typed, relations=system | {"parts": {"target": "Component", "many": True}}),
        blueprint("System"),
        declared("System", "a/b"),
        declared("Component", "good", properties={"type": "service"}, relations={"system": "a/b", "parts": ["bad"]}),
        declared("Component", "bad", properties={"type": "odd"}, relations={"parts": ["gone"]}),
        declared("Unknown", "thing"),
    )
    async with catalog.client() as client:
        good = (await client.get("/v1/entities/Component/good")).json()
        assert (good["problems"], good["dangling"]) == ([], [])
        assert (await client.get("/v1/entities/System/a%2Fb")).json()["relatedBy"] == [
            {"blueprint": "Component", "identifier": "good", "relation": "system"}
        ]
        bad = (await client.get("/v1/entities/Component/bad")).json()
        assert [one["identifier"] for one in bad["relatedBy"]] == ["good"]
        missing = {"relation": "parts", "blueprint": "Component", "target": "gone", "exists": False}
        assert bad["dangling"] == [missing]
        assert [one.split(":")[0] for one in bad["problems"]] == ["/properties/type", "/relations/system"]
        assert (await client.get("/v1/entities/Unknown/thing")).json()["problems"] == [
            "/blueprint: there is no blueprint Unknown"
        ]
        listed = (await client.get("/v1/entities?blueprint=Component")).json()["items"]
        assert [(one["identifier"], one["dangling"]) for one in listed] == [("good", []), ("bad", [missing])]


async def test_entities_show_their_scorecards_and_scorecards_their_entities(catalog: Any) -> None:
    await catalog.project(service("cart"), service("shop", "team-shop", tier="gold"), scorecard())
    async with catalog.client("shop") as client:

        async def standings(query: str = "") -> list[tuple[str, str | None, int]]:
            items = (await client.get(f"/v1/scorecards/maturity{query}")).json()["items"]
            return [(item["identifier"], item["level"], item["rank"]) for item in items]

        async def settled(expected: list[tuple[str, str | None, int]]) -> None:
            async def check() -> bool:
                return await standings() == expected

            await eventually(check)

        await settled([("cart", None, 0), ("shop", "silver", 2)])
        assert await standings("?level=silver") == [("shop", "silver", 2)]
        page = (await client.get("/v1/scorecards/maturity?limit=1")).json()
        assert await standings(f"?cursor={page['next']}") == [("shop", "silver", 2)]
        (item,) = page["items"]
        assert [rule["passed"] for rule in item["rules"]] == [False, False]
        shown = (await client.get("/v1/entities/Service/shop")).json()["scorecards"]
        assert shown == {
            "maturity": {
                "level": "silver",
                "rank": 2,
                "rules": [
                    {"name": "bronze-rule", "level": "bronze", "passed": True, "because": None},
                    {"name": "silver-rule", "level": "silver", "passed": True, "because": None},
                ],
            }
        }
        listed = (await client.get("/v1/entities?blueprint=Service")).json()["items"]
        assert [one["scorecards"]["maturity"]["rank"] for one in listed] == [0, 2]
        await catalog.project(service("cart", "team-cart"))
        await settled([("cart", "bronze", 1), ("shop", "silver", 2)])
        changed = (await client.get("/v1/events?type=scorecard.changed")).json()["items"]
        assert [one["data"]["rank"] for one in changed] == [0, 2, 1]
        await catalog.project(event(facts.ManifestRemoved(kind="Scorecard", name="maturity")))
        assert (await client.get("/v1/scorecards/maturity")).status_code == 404

        async def gone() -> bool:
            return not (await client.get("/v1/entities/Service/shop")).json()["scorecards"]

        await eventually(gone)


async def test_an_offering_is_shown_in_its_highest_version(catalog: Any) -> None:
    versions = ("1.9.0", "1.10.0", "2.0.0-rc.1")
    await catalog.project(*(applied("Offering", "database", version) for version in versions))
    async with catalog.client() as client:

        async def shown(query: str = "") -> str:
            version: str = (await client.get(f"/v1/offerings/database{query}")).json()["version"]
            return version

        assert await shown() == "2.0.0-rc.1"
        await catalog.project(applied("Offering", "database", "2.0.0"))
        assert await shown() == "2.0.0"
        await catalog.project(event(facts.ManifestRemoved(kind="Offering", name="database", version="2.0.0")))
        assert await shown("?version=1.9.0") == "1.9.0"
        assert (await client.get("/v1/offerings/database?version=2.0.0")).status_code == 404
        assert [one["version"] for one in (await client.get("/v1/offerings")).json()["items"]] == list(versions)
        assert len((await client.get("/v1/manifests?kind=Offering")).json()["items"]) == 3
        assert len((await client.get("/v1/manifests?kind=Offering&name=database")).json()["items"]) == 3
        assert not (await client.get("/v1/manifests?name=cart")).json()["items"]


@pytest.mark.skipif(not PORTAL.exists(), reason="the portal's seed (../shared/data/portal) is not here")
async def test_what_came_from_a_portal_goes_back_unchanged(catalog: Any) -> None:
    blueprints = json.loads((PORTAL / "blueprints.json").read_text())
    entities = json.loads((PORTAL / "entities.json").read_text())
    for one in blueprints:
        spec = {key: value for key, value in one.items() if key not in ("identifier", "title")}
        metadata = {"name": one["identifier"], "title": one["title"]}
        await catalog.project(applied("Blueprint", one["identifier"], metadata=metadata, spec=spec))
    await catalog.project(*(event(facts.EntityDeclared(**one)) for one in entities))
    async with catalog.client() as client:
        exported = (await client.get("/v1/export?format=port")).json()

    def canonical(value: Any) -> str:
        return json.dumps(value, sort_keys=True, separators=(",", ":"))

    assert canonical(exported) == canonical({"blueprints": blueprints, "entities": entities})


async def test_a_request_that_stalls_is_told_of(catalog: Any, traffic: type[Any]) -> None:
    one = traffic()
    await catalog.project(one.submitted(), one.allowed())
    watching = asyncio.create_task(watch(catalog.service, 0.05, Settings().patience_seconds))
    async with catalog.client() as client:

        async def stalled() -> Any:
            return (await client.get(f"/v1/requests/{one.id}")).json()["stalled_since"]

        assert await eventually(stalled)
        (item,) = (await client.get("/v1/events?type=request.stalled")).json()["items"]
        assert (item["data"]["expected"], item["actor"]) == ("provisioning", "system:catalog")
    watching.cancel()


async def test_nothing_stalls_while_the_picture_is_behind_the_log(
    catalog: Any, traffic: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an outage, or while a projection is rebuilt, most requests look as if nobody had moved them."""
    one = traffic()
    await catalog.project(one.submitted())
    looks = 0

    def behind() -> dict[str, Any]:
        nonlocal looks
        looks += 1
        return {"ready": True, "lag_messages": 1 if looks < 5 else 0}

    monkeypatch.setattr(catalog.service, "health", behind)
    watching = asyncio.create_task(watch(catalog.service, 0.01, Settings().patience_seconds))
    async with catalog.client() as client:

        async def stalled() -> Any:
            return (await client.get(f"/v1/requests/{one.id}")).json()["stalled_since"]

        assert await eventually(stalled)
    assert looks >= 6
    gauge = catalog.service.telemetry.metrics.stalled.labels("catalog")
    await eventually(lambda: gauge._value.get() == 1)
    watching.cancel()


async def test_what_is_held_and_what_is_to_be_reviewed_is_counted(catalog: Any, traffic: type[Any]) -> None:
    one, other = traffic(), traffic(name="other")
    await catalog.project(one.submitted(), one.held(None), other.submitted(), other.allowed())
    await catalog.project(other.asked("late", hours=-1, review=True), other.asked("due", hours=10**5, review=True))
    watching = asyncio.create_task(watch(catalog.service, 0.05, Settings().patience_seconds))
    metrics = catalog.service.telemetry.metrics
    gauges = (metrics.held, metrics.reviews, metrics.reviews_overdue)
    await eventually(lambda: [gauge.labels("catalog")._value.get() for gauge in gauges] == [1, 2, 1])
    watching.cancel()
