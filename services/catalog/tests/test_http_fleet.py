"""What the read door says of resources and offerings: filters, needs, revisions, stages, impact, and who sees what."""

from typing import Any

import httpx
import pytest
from entresol_contracts import events as facts
from entresol_eventing.testing import event

from services.catalog.tests.conftest import staged, whole_lives


def applied(version: str, name: str = "database") -> Any:
    manifest = {"kind": "Offering", "metadata": {"name": name, "version": version}}
    digest = f"sha256:{version}"
    return event(facts.ManifestApplied(kind="Offering", name=name, version=version, digest=digest, manifest=manifest))


async def items(client: httpx.AsyncClient, path: str) -> list[dict[str, Any]]:
    answer = await client.get(path)
    assert answer.status_code == 200, (path, answer.text)
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def test_a_resource_shows_drift_pause_and_what_it_needs(catalog: Any) -> None:
    await catalog.project(*whole_lives())
    async with catalog.client() as client:
        orders = (await client.get("/v1/resources/shop/staging/database/orders")).json()
        assert [each["path"] for each in orders["drift"]["differences"]] == ["c.yaml"]
        assert {"since", "mode", "differences", "more", "gone"} <= set(orders["drift"])
        assert (orders["paused"]["by"], orders["paused"]["reason"]) == ("user:ada", "an audit")
        assert (orders["offering_version"], orders["snapshot"], orders["class"]) == ("1.1.0", 2, None)
        assert (orders["requires"], orders["orphaned"], orders["required_by"]) == ({}, [], [])
        queue = (await client.get("/v1/resources/shop/staging/database/queue")).json()
        assert [each["step"] for each in queue["orphaned"]] == ["bucket"]
        assert queue["required_by"] == ["bank/staging/database/ledger"]
        by_name = {each["name"]: each for each in await items(client, "/v1/resources")}
        assert (by_name["orders"], by_name["queue"]) == (orders, queue)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("drifted=true", ["ledger", "orders"]),
        ("drifted=false", ["queue"]),
        ("unobserved=true", ["ledger"]),
        ("paused=true", ["orders"]),
        ("paused=false&state=provisioned", ["ledger"]),
        ("version=1.1.0", ["orders"]),
        ("version=1.0.0&drifted=true&offering=database", ["ledger"]),
        ("version=9", []),
        ("state=deleted", ["queue"]),
    ],
)
async def test_resources_are_found_by(catalog: Any, query: str, names: list[str]) -> None:
    await catalog.project(*whole_lives())
    async with catalog.client() as client:
        assert sorted(each["name"] for each in await items(client, f"/v1/resources?{query}")) == names


@pytest.mark.parametrize("query", ["drifted=perhaps", "unobserved=2", "paused=2", f"version={'1' * 101}"])
async def test_a_filter_that_is_none_is_named(catalog: Any, query: str) -> None:
    async with catalog.client() as client:
        assert (await client.get(f"/v1/resources?{query}")).status_code == 422


async def test_revisions_are_paged_newest_first_and_hold_all_inputs(catalog: Any, traffic: type[Any]) -> None:
    made = [traffic(name="orders") for _ in range(4)]
    await catalog.project(made[0].provisioned(revision=1))
    for number, one in enumerate(made[1:], start=2):
        await catalog.project(one.changed(revision=number, inputs={"size": f"s{number}"}, action="update"))
    async with catalog.client() as client:
        path = f"/v1/resources/{made[0].resource}/revisions"
        first = (await client.get(f"{path}?limit=3")).json()
        rest = (await client.get(f"{path}?limit=3&cursor={first['next']}")).json()
        found = first["items"] + rest["items"]
        assert [(each["revision"], each["inputs"]["size"], each["request_id"]) for each in found] == [
            *((number, f"s{number}", made[number - 1].id) for number in (4, 3, 2)),
            (1, "small", made[0].id),
        ]
        assert {"revision", "at", "request_id", "action", "version", "inputs"} <= set(found[0])
        assert rest["next"] is None
        assert (await client.get("/v1/resources/shop/staging/database/none/revisions")).status_code == 404


async def test_other_projects_resources_are_not_there(catalog: Any) -> None:
    await catalog.project(*whole_lives(), applied("1.0.0"), applied("1.1.0"))
    async with catalog.client("shop") as client:
        for path in ("", "/revisions"):
            hidden = await client.get(f"/v1/resources/bank/staging/database/ledger{path}")
            missing = await client.get(f"/v1/resources/shop/staging/database/none{path}")
            assert (hidden.status_code, hidden.json()["title"]) == (404, missing.json()["title"])
        queue = (await client.get("/v1/resources/shop/staging/database/queue")).json()
        assert queue["required_by"] == []
        assert [each["name"] for each in await items(client, "/v1/resources?drifted=true")] == ["orders"]
        assert [each["name"] for each in await items(client, "/v1/offerings/database/impact")] == ["orders"]
        assert await items(client, "/v1/offerings/database/impact?project=bank") == []
        view = (await client.get("/v1/offerings/database")).json()
        assert {each["version"]: each["resources"] for each in view["versions"]} == {"1.0.0": 0, "1.1.0": 1}
        assert {each["version"]: each["resources"] for each in await items(client, "/v1/offerings")} == {
            "1.0.0": 0,
            "1.1.0": 1,
        }
        seen = {each["type"] for each in await items(client, "/v1/events?limit=500")}
        assert "dev.entresol.offering.staged.v1" in seen
        assert not [each for each in await items(client, "/v1/events?limit=500") if "ledger" in str(each)]


async def test_an_offering_shows_the_stage_of_each_version_and_who_runs_it(catalog: Any) -> None:
    await catalog.project(
        applied("1.0.0"), applied("1.1.0"), *whole_lives(), applied("1.2.0"), applied("9.0.0", "other")
    )
    async with catalog.client() as client:
        view = (await client.get("/v1/offerings/database")).json()
        assert (view["default"], view["version"], view["stage"], view["resources"]) == ("1.1.0", "1.1.0", "default", 1)
        assert view["manifest"]["metadata"]["version"] == "1.1.0"
        assert [
            (each["version"], each["stage"], each["staged_by"], each["resources"]) for each in view["versions"]
        ] == [
            ("1.2.0", None, None, 0),
            ("1.1.0", "default", "user:grace", 1),
            ("1.0.0", "deprecated", "user:grace", 1),
        ]
        older = (await client.get("/v1/offerings/database?version=1.0.0")).json()
        assert (older["manifest"]["metadata"]["version"], older["stage"]) == ("1.0.0", "deprecated")
        listed = await items(client, "/v1/offerings")
        assert [(each["name"], each["version"], each["stage"], each["resources"]) for each in listed] == [
            ("database", "1.0.0", "deprecated", 1),
            ("database", "1.1.0", "default", 1),
            ("database", "1.2.0", None, 0),
            ("other", "9.0.0", "default", 0),
        ]


async def test_the_highest_version_is_the_default_until_a_stage_says_otherwise(catalog: Any) -> None:
    await catalog.project(applied("1.0.0"), applied("2.0.0"))
    async with catalog.client() as client:

        async def default() -> tuple[str | None, str]:
            view = (await client.get("/v1/offerings/database")).json()
            return view["default"], view["version"]

        assert await default() == ("2.0.0", "2.0.0")
        await catalog.project(staged("2.0.0", "proposed"))
        assert await default() == ("1.0.0", "1.0.0")
        await catalog.project(staged("1.0.0", "default"), staged("2.0.0", "default"))
        assert await default() == ("2.0.0", "2.0.0")
        await catalog.project(staged("2.0.0", "defective"))
        assert await default() == (None, "2.0.0"), "without a default the highest is shown"


async def test_the_impact_of_an_offering_is_who_runs_it(catalog: Any, traffic: type[Any]) -> None:
    await catalog.project(*whole_lives(), applied("1.0.0"), applied("1.1.0"), applied("3.0.0"))
    removed = facts.ManifestRemoved(kind="Offering", name="database", version="1.0.0")
    await catalog.project(event(removed))
    async with catalog.client() as client:
        found = await items(client, "/v1/offerings/database/impact")
        assert [(each["id"], each["version"], each["stage"]) for each in found] == [
            ("bank/staging/database/ledger", "1.0.0", "deprecated"),
            ("shop/staging/database/orders", "1.1.0", "default"),
        ]
        assert (found[1]["paused"]["reason"], found[0]["drift"]["mode"]) == ("an audit", "ask")
        only = await items(client, "/v1/offerings/database/impact?version=1.0.0")
        assert [each["name"] for each in only] == ["ledger"], "also of a version that is not offered any more"
        assert await items(client, "/v1/offerings/database/impact?version=3.0.0") == []
        page = (await client.get("/v1/offerings/database/impact?limit=1")).json()
        assert (len(page["items"]), page["next"] is not None) == (1, True)
        view = (await client.get("/v1/offerings/database")).json()
        assert [(each["version"], each["removed"]) for each in view["versions"]] == [
            ("3.0.0", False),
            ("1.1.0", False),
            ("1.0.0", True),
        ]
        for path in ("nothing/impact", "database/impact?version=7.0.0", "database?version=1.0.0"):
            assert (await client.get(f"/v1/offerings/{path}")).status_code == 404, path


async def test_a_request_shows_what_it_waits_for_and_what_was_undone(catalog: Any, traffic: type[Any]) -> None:
    one = traffic(**{"class": "cheap"})
    await catalog.project(one.submitted(), one.allowed(), one.started(), one.suspended(resumable=True), one.resumed())
    async with catalog.client() as client:
        shown = (await client.get(f"/v1/requests/{one.id}")).json()
        (waits,) = shown["suspended"]
        assert (waits["step"], waits["reason"], waits["resumable"], waits["resumed_by"], waits["requires"]) == (
            *("database", "the job runs", True, "user:bob", None),
        )
        assert (shown["class"], shown["steps"][0]["state"]) == ("cheap", "suspended")
        (listed,) = await items(client, "/v1/requests")
        assert listed == shown
        await catalog.project(one.undone(), one.failed(left=["dns"], compensated=["database"]))
        shown = (await client.get(f"/v1/requests/{one.id}")).json()
        assert (shown["suspended"], shown["left"], shown["compensated"]) == ([], ["dns"], ["database"])
        assert shown["steps"][0]["compensation"]["state"] == "succeeded"


async def test_drivers_are_shown_as_they_were_announced_last(catalog: Any) -> None:
    settings = {"type": "object", "properties": {"beads": {"type": "integer"}}}
    await catalog.project(
        event(facts.DriverAnnounced(driver="abacus", available=False)),
        event(facts.DriverAnnounced(driver="gone", available=True)),
        event(facts.DriverWithdrawn(driver="never")),
        event(facts.DriverAnnounced(driver="abacus", available=True, summary="Counts.", settings=settings)),
        event(facts.DriverWithdrawn(driver="gone")),
    )
    async with catalog.client() as client:
        (abacus,) = await items(client, "/v1/drivers")
        assert (abacus["name"], abacus["available"], abacus["settings"]) == ("abacus", True, settings)
        assert (await client.get("/v1/drivers/abacus")).json() == abacus
        assert (await client.get("/v1/drivers/gone")).status_code == 404
