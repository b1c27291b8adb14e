"""Applying manifests: all or none, versions that never change, references that must lead somewhere."""

import json
from collections.abc import Generator
from typing import Any

import pytest
from entresol_eventing.reactions import Outcome
from entresol_eventing.service import Service
from entresol_eventing.testing import published
from entresol_intake.store import keep_driver
from httpx import AsyncClient, Response
from sqlmodel import Session

from services.intake.tests.conftest import Document, Enter, Make

MERGED = "dev.entresol.change.merged.v1"


@pytest.fixture
def trigger(make_manifest: Make) -> Make:
    def make(name: str = "deploy", on: str = MERGED, **request: Any) -> Document:
        template = {"offering": "database", "action": "create", "project": "shop", "environment": "dev", "name": "a"}
        return make_manifest("Trigger", name, on=on, request=template | request)

    return make


async def facts(service: Service) -> list[tuple[str, str]]:
    return [(event.type.split(".", 2)[2], event.subject) for event in await published(service)][1:]


async def test_a_batch_is_applied_and_what_did_not_change_says_nothing(
    service: Service, admin: AsyncClient, make_offering: Make, make_manifest: Make
) -> None:
    batch = [
        make_offering(),
        make_manifest("Channel", "log", kind="log"),
        make_manifest("Blueprint", "Service", schema={"properties": {}}),
        make_manifest("Entity", "cart", blueprint="Service", properties={"tier": 1}),
    ]
    first = await admin.post("/v1/manifests", json=batch)
    assert first.status_code == 202
    assert first.json()["results"][0] == {
        "kind": "Offering",
        "name": "database",
        "version": "1.0.0",
        "result": "created",
    }
    batch[3]["spec"]["properties"]["tier"] = 2
    second = await admin.post("/v1/manifests", json=batch)
    assert [each["result"] for each in second.json()["results"]] == ["unchanged", "unchanged", "unchanged", "changed"]
    assert await facts(service) == [
        ("manifest.applied.v1", "Offering/database"),
        ("offering.staged.v1", "Offering/database"),
        ("manifest.applied.v1", "Channel/log"),
        ("manifest.applied.v1", "Blueprint/Service"),
        ("entity.declared.v1", "Service/cart"),
        ("entity.declared.v1", "Service/cart"),
    ]


async def test_one_bad_manifest_refuses_the_whole_batch(
    service: Service, admin: AsyncClient, make_offering: Make, make_manifest: Make
) -> None:
    answer = await admin.post("/v1/manifests", json=[make_offering(), make_manifest("Policy", "p", rules=[]), 5])
    assert answer.status_code == 422
    assert {each["pointer"].split("/")[1] for each in answer.json()["violations"]} == {"1", "2"}
    assert await facts(service) == []


SETTINGS = {
    "type": "object",
    "additionalProperties": False,
    "required": ["beads"],
    "properties": {"beads": {"type": "integer"}},
}


async def hear(
    service: Service, settings: Document | None = None, outputs: Document | None = None, name: str = "noop"
) -> None:
    def unit(session: Session) -> Generator[Outcome, None, None]:
        keep_driver(name, settings, outputs, session)
        yield from ()

    await service.transact(unit)


def strung(beads: Any, **spec: Any) -> Document:
    return {"create": {"steps": [{"name": "string", "driver": "noop", "with": {"beads": beads}, **spec}]}}


async def test_a_with_that_its_driver_does_not_take_is_refused_with_its_place(
    service: Service, admin: AsyncClient, make_offering: Make
) -> None:
    await hear(service, SETTINGS)
    batch = [make_offering(name="other", actions={"create": {}}), make_offering(actions=strung("many"))]
    for dry_run in (True, False):
        answer = await admin.post("/v1/manifests", json=batch, params={"dry_run": dry_run})
        assert answer.status_code == 422
        assert answer.json()["violations"] == [
            {"pointer": "/1/spec/actions/create/steps/0/with/beads", "detail": "must be a whole number"}
        ]
    assert await facts(service) == []
    batch[1] = make_offering(actions=strung("${inputs.size == 'small' ? 1 : 2}"))
    assert (await admin.post("/v1/manifests", json=batch)).status_code == 202


async def test_a_driver_that_nobody_has_is_refused_once_any_is_known(
    service: Service, admin: AsyncClient, make_offering: Make
) -> None:
    one = make_offering(actions=strung(1, driver="abacsu"))
    assert (await admin.post("/v1/manifests", json=[one], params={"dry_run": True})).status_code == 202
    await hear(service, SETTINGS, name="abacus")
    answer = await admin.post("/v1/manifests", json=[one])
    (violation,) = answer.json()["violations"]
    assert violation["pointer"] == "/0/spec/actions/create/steps/0/driver"
    assert violation["detail"] == "there is no driver abacsu; there are abacus; did you mean abacus?"


async def test_what_is_in_force_is_not_judged_again(service: Service, admin: AsyncClient, make_offering: Make) -> None:
    one = make_offering(actions=strung("many"))
    assert (await admin.post("/v1/manifests", json=[one])).status_code == 202
    await hear(service, SETTINGS)
    answer = await admin.post("/v1/manifests", json=[one])
    assert answer.json()["results"][0]["result"] == "unchanged"
    one["metadata"]["version"] = "1.1.0"
    assert (await admin.post("/v1/manifests", json=[one])).status_code == 422


@pytest.mark.parametrize("body", [[], {}, "text", [None], [[]]])
async def test_what_is_no_batch_is_refused(admin: AsyncClient, body: object) -> None:
    assert (await admin.post("/v1/manifests", json=body)).status_code == 422


async def test_a_dry_run_only_looks(service: Service, admin: AsyncClient, make_offering: Make) -> None:
    answer = await admin.post("/v1/manifests?dry_run=true", json=[make_offering()])
    assert (answer.status_code, answer.json()["results"][0]["result"]) == (202, "created")
    assert await facts(service) == []
    assert (await admin.post("/v1/manifests?dry_run=true", json=[{"kind": "Offering"}])).status_code == 422


async def test_a_published_version_never_changes_even_once_removed(
    service: Service, stocked: AsyncClient, make_offering: Make, make_manifest: Make
) -> None:
    other = make_offering(description="something else")
    answer = await stocked.post("/v1/manifests", json=[make_manifest("Channel", "log", kind="log"), other])
    assert answer.status_code == 409
    assert answer.json()["violations"][0]["pointer"] == "/1/metadata/version"
    assert "raise metadata.version" in answer.json()["violations"][0]["detail"]
    assert (await stocked.delete("/v1/manifests/Offering/database?version=1.0.0")).status_code == 202
    assert (await stocked.post("/v1/manifests", json=[other])).status_code == 409
    again = await stocked.post("/v1/manifests", json=[make_offering()])
    assert again.json()["results"][0]["result"] == "created"
    assert [name for name, _ in await facts(service)] == [
        "manifest.applied.v1",
        "offering.staged.v1",
        "manifest.removed.v1",
        "manifest.applied.v1",
        "offering.staged.v1",
    ]


async def test_the_same_manifest_twice_in_a_batch_is_refused(admin: AsyncClient, make_offering: Make) -> None:
    answer = await admin.post("/v1/manifests", json=[make_offering(), make_offering()])
    assert [each["pointer"] for each in answer.json()["violations"]] == ["/1/metadata/name"]


async def test_references_may_lead_into_the_batch(
    admin: AsyncClient, make_offering: Make, make_manifest: Make, trigger: Make
) -> None:
    batch = [
        make_manifest("Route", "r", on=[MERGED], channel="log"),
        trigger(),
        make_offering(),
        make_manifest("Channel", "log", kind="log"),
    ]
    assert (await admin.post("/v1/manifests", json=batch)).status_code == 202


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"offering": "nothing"}, "/0/spec/request/offering"),
        ({"version": "7.0.0"}, "/0/spec/request/version"),
        ({"action": "dance"}, "/0/spec/request/action"),
    ],
)
async def test_a_trigger_must_ask_for_something_that_exists(
    stocked: AsyncClient, trigger: Make, fields: Document, place: str
) -> None:
    answer = await stocked.post("/v1/manifests", json=[trigger(**fields)])
    assert answer.status_code == 422
    assert [each["pointer"] for each in answer.json()["violations"]] == [place]


async def test_a_trigger_may_leave_its_offering_to_the_event(stocked: AsyncClient, trigger: Make) -> None:
    answer = await stocked.post("/v1/manifests", json=[trigger(offering="${event.data.repository.name}")])
    assert answer.status_code == 202, answer.text


async def test_a_trigger_can_only_wait_for_what_intake_reads(stocked: AsyncClient, trigger: Make) -> None:
    answer = await stocked.post("/v1/manifests", json=[trigger(on="dev.entresol.request.completed.v1")])
    (violation,) = answer.json()["violations"]
    assert violation["pointer"] == "/0/spec/on"
    assert "change.*" in violation["detail"]


async def test_routes_and_entities_must_lead_somewhere(admin: AsyncClient, make_manifest: Make) -> None:
    batch = [
        make_manifest("Route", "r", on=[MERGED], channel="nowhere"),
        make_manifest("Entity", "cart", blueprint="Nothing"),
    ]
    answer = await admin.post("/v1/manifests", json=batch)
    assert [each["pointer"] for each in answer.json()["violations"]] == ["/0/spec/channel", "/1/spec/blueprint"]


LEVELS = [{"name": "bronze", "rules": [{"name": "has-team", "holds": "has(entity.team)"}]}]


async def test_a_scorecard_needs_its_blueprint(service: Service, admin: AsyncClient, make_manifest: Make) -> None:
    scorecard = make_manifest("Scorecard", "ready", blueprint="Service", levels=LEVELS)
    answer = await admin.post("/v1/manifests", json=[scorecard])
    assert [each["pointer"] for each in answer.json()["violations"]] == ["/0/spec/blueprint"]
    batch = [scorecard, make_manifest("Blueprint", "Service", schema={"properties": {}})]
    assert (await admin.post("/v1/manifests", json=batch)).status_code == 202
    removal = await admin.delete("/v1/manifests/Blueprint/Service")
    assert (removal.status_code, removal.json()["detail"]) == (
        409,
        "still needed by Scorecard ready; remove that first",
    )
    assert (await admin.delete("/v1/manifests/Scorecard/ready")).status_code == 202
    assert (await admin.delete("/v1/manifests/Blueprint/Service")).status_code == 202
    assert [name for name, _ in await facts(service)] == ["manifest.applied.v1"] * 2 + ["manifest.removed.v1"] * 2


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("Window", {"effect": "deny", "cron": "0 22 * * *", "duration": "8h", "because": "people sleep"}),
        ("Quota", {"limit": 5, "per": "resource.project"}),
    ],
)
async def test_windows_and_quotas_are_applied_and_removed_like_any_manifest(
    service: Service, enter: Enter, make_manifest: Make, kind: str, spec: Document
) -> None:
    operator = await enter("platform", actor="user:op")
    before = len(await published(service))
    assert (await operator.post("/v1/manifests", json=[make_manifest(kind, "x", **spec)])).status_code == 202
    assert (await operator.post("/v1/manifests", json=[make_manifest(kind, "x", **spec)])).status_code == 202
    assert (await operator.delete(f"/v1/manifests/{kind}/x")).status_code == 202
    said = (await published(service))[before:]
    assert [(each.type.split(".", 2)[2], each.subject) for each in said] == [
        ("manifest.applied.v1", f"{kind}/x"),
        ("manifest.removed.v1", f"{kind}/x"),
    ]


async def test_what_others_need_can_not_be_removed(stocked: AsyncClient, make_offering: Make, trigger: Make) -> None:
    await stocked.post("/v1/manifests", json=[trigger(), make_offering("2.0.0")])
    several = await stocked.delete("/v1/manifests/Offering/database")
    assert several.status_code == 409
    assert "1.0.0, 2.0.0" in several.json()["detail"]
    assert (await stocked.delete("/v1/manifests/Offering/database?version=2.0.0")).status_code == 202
    last = await stocked.delete("/v1/manifests/Offering/database")
    assert (last.status_code, last.json()["detail"]) == (409, "still needed by Trigger deploy; remove that first")
    assert (await stocked.delete("/v1/manifests/Trigger/deploy")).status_code == 202
    assert (await stocked.delete("/v1/manifests/Offering/database")).status_code == 202
    assert (await stocked.delete("/v1/manifests/Offering/database")).status_code == 404


async def test_an_entity_is_withdrawn_by_its_whole_name(
    service: Service, admin: AsyncClient, make_manifest: Make
) -> None:
    name = "team/Cart@1"
    await admin.post(
        "/v1/manifests",
        json=[
            make_manifest("Blueprint", "Service", schema={"properties": {}}),
            make_manifest("Entity", name, blueprint="Service"),
        ],
    )
    assert (await admin.delete(f"/v1/manifests/Entity/{name}")).status_code == 202
    assert (await facts(service))[-1] == ("entity.withdrawn.v1", f"Service/{name}")


async def test_a_removed_offering_can_still_be_deleted_from(stocked: AsyncClient, make_ask: Make) -> None:
    await stocked.delete("/v1/manifests/Offering/database")
    create = await stocked.post("/v1/requests", json=make_ask())
    assert create.json()["violations"][0]["pointer"] == "/offering"
    delete = await stocked.post("/v1/requests", json=make_ask(action="delete", inputs={}))
    assert delete.status_code == 202


async def test_a_schema_that_reaches_outside_or_can_not_be_compiled_is_refused(
    admin: AsyncClient, make_offering: Make
) -> None:
    for inputs in ({"$ref": "http://127.0.0.1:1/x.json"}, {"properties": {"a": {"pattern": "(?=a)b"}}}):
        answer = await admin.post("/v1/manifests", json=[make_offering(inputs={"type": "object", **inputs})])
        assert answer.status_code == 422, inputs
        assert answer.json()["violations"][0]["pointer"].startswith("/0/spec/inputs")


async def test_manifests_too_large_for_an_event_are_refused(admin: AsyncClient, make_offering: Make) -> None:
    answer = await admin.post("/v1/manifests", json=[make_offering(description="x" * 300_000)])
    assert answer.status_code == 422
    assert "256 KiB" in answer.json()["violations"][0]["detail"]


async def test_a_number_beyond_every_float_is_refused(admin: AsyncClient, make_offering: Make) -> None:
    body = json.dumps([make_offering(outputs={"a": "number"})]).replace('"number"', "1e400")
    answer = await admin.post("/v1/manifests", content=body)
    assert 400 <= answer.status_code < 500


def narrower(make_offering: Make, version: str = "1.1.0") -> Document:
    inputs = make_offering()["spec"]["inputs"]
    return make_offering(version, inputs=inputs | {"properties": {"size": {"enum": ["small"]}}})


async def test_a_new_version_takes_what_its_major_version_takes(
    service: Service, stocked: AsyncClient, make_offering: Make, make_manifest: Make
) -> None:
    before = len(await published(service))
    for query in ("", "?dry_run=true", "?proposed=true"):
        batch = [make_manifest("Channel", "log", kind="log"), narrower(make_offering)]
        answer = await stocked.post(f"/v1/manifests{query}", json=batch)
        assert answer.status_code == 409, answer.text
        told = {each["pointer"]: each["detail"] for each in answer.json()["violations"]}
        assert set(told) == {"/1/spec/inputs/properties/size/enum", "/1/spec/inputs/properties/backups"}
        assert all(", which breaks who uses 1.0.0: publish it as 2.0.0" in each for each in told.values())
    assert len(await published(service)) == before
    assert (await stocked.post("/v1/manifests", json=[narrower(make_offering, "2.0.0")])).status_code == 202


async def test_a_version_is_held_against_the_highest_below_it_also_in_its_batch(
    stocked: AsyncClient, make_offering: Make
) -> None:
    wider = make_offering()["spec"]["inputs"]
    wider = wider | {"properties": wider["properties"] | {"gb": {"type": "integer"}}}
    await stocked.post("/v1/manifests", json=[make_offering("1.5.0", inputs=wider)])
    assert (await stocked.post("/v1/manifests", json=[make_offering("1.4.9")])).status_code == 202
    above = await stocked.post("/v1/manifests", json=[make_offering("1.10.0")])
    assert [each["pointer"] for each in above.json()["violations"]] == ["/0/spec/inputs/properties/gb"]
    both = [narrower(make_offering, "3.1.0"), make_offering("3.0.0")]
    assert (await stocked.post("/v1/manifests", json=both)).status_code == 409


async def test_a_version_that_comes_back_is_not_judged_again(stocked: AsyncClient, make_offering: Make) -> None:
    await stocked.post("/v1/manifests", json=[make_offering("0.9.0"), narrower(make_offering, "0.5.0")])
    assert (await stocked.delete("/v1/manifests/Offering/database?version=0.9.0")).status_code == 202
    assert (await stocked.post("/v1/manifests", json=[make_offering("0.9.0")])).status_code == 202


async def test_a_version_with_numbers_of_any_length_is_refused(admin: AsyncClient, make_offering: Make) -> None:
    answer = await admin.post("/v1/manifests", json=[make_offering(f"1.0.{'9' * 5000}")])
    assert [each["pointer"] for each in answer.json()["violations"]] == ["/0/metadata/version"]


@pytest.mark.parametrize(
    ("required", "place", "word"),
    [
        ({"offering": "nothing"}, "/0/spec/requires/0/offering", "no offering nothing"),
        ({"version": "7.0.0"}, "/0/spec/requires/0/version", "no version 7.0.0"),
        ({"version": "1.0.0", "inputs": {}}, "/0/spec/requires/0/inputs/size", "is missing"),
        ({"version": "1.0.0", "inputs": {"size": "small", "x": 1}}, "/0/spec/requires/0/inputs/x", "no such input"),
    ],
)
async def test_what_is_required_must_be_offered(
    stocked: AsyncClient, make_offering: Make, required: Document, place: str, word: str
) -> None:
    requires = [{"name": "db", "offering": "database"} | required]
    answer = await stocked.post("/v1/manifests", json=[make_offering(name="app", requires=requires)])
    assert answer.status_code == 422, answer.text
    (violation,) = answer.json()["violations"]
    assert violation["pointer"] == place
    assert word in violation["detail"]


def requiring(make_offering: Make, name: str, *others: str, version: str = "1.0.0", **required: Any) -> Any:
    requires = [
        {"name": f"the-{other}", "offering": other, "inputs": {"size": "small"}, **required} for other in others
    ]
    return make_offering(version, name=name, requires=requires)


def circles(answer: Response) -> list[tuple[str, str]]:
    assert answer.status_code == 422, answer.text
    return [(each["pointer"], each["detail"].split(": ")[-1]) for each in answer.json()["violations"]]


async def test_offerings_that_require_each_other_in_a_circle_are_refused(
    admin: AsyncClient, make_offering: Make
) -> None:
    batch = [
        requiring(make_offering, "a", "c", "b"),
        requiring(make_offering, "b", "c"),
        requiring(make_offering, "c", "d", "a"),
        requiring(make_offering, "d"),
    ]
    expected = [
        ("/0/spec/requires", "a 1.0.0 → c 1.0.0 → a 1.0.0"),
        ("/1/spec/requires", "b 1.0.0 → c 1.0.0 → a 1.0.0 → b 1.0.0"),
    ]
    assert circles(await admin.post("/v1/manifests", json=batch)) == expected
    assert circles(await admin.post("/v1/manifests?dry_run=true", json=batch)) == expected
    itself = requiring(make_offering, "a", "a", id="base")
    assert circles(await admin.post("/v1/manifests", json=[itself])) == [("/0/spec/requires", "a 1.0.0 → a 1.0.0")]


async def test_a_circle_is_found_by_the_versions_that_would_be_chosen(admin: AsyncClient, make_offering: Make) -> None:
    async def apply(*offerings: Any, query: str = "") -> Response:
        return await admin.post(f"/v1/manifests{query}", json=list(offerings))

    plain, on_b = requiring(make_offering, "a"), requiring(make_offering, "b", "a")
    assert (await apply(plain, on_b)).status_code == 202
    back = requiring(make_offering, "a", "b", version="2.0.0")
    assert circles(await apply(back)) == [("/0/spec/requires", "a 2.0.0 → b 1.0.0 → a 2.0.0")]
    assert circles(await apply(back, query="?dry_run=true")) == circles(await apply(back))
    assert (await apply(back, query="?dry_run=true&proposed=true")).status_code == 202
    assert (await apply(back, query="?proposed=true")).status_code == 202
    promoted = await admin.post("/v1/offerings/a/2.0.0/stage", json={"stage": "default"})
    assert promoted.status_code == 409
    assert "a 2.0.0 → b 1.0.0 → a 2.0.0" in promoted.json()["detail"]
    named = requiring(make_offering, "b", "a", version="1.1.0")
    named["spec"]["requires"][0]["version"] = "1.0.0"
    assert (await apply(named)).status_code == 202
    assert (await admin.post("/v1/offerings/a/2.0.0/stage", json={"stage": "default"})).status_code == 202


async def test_a_removal_that_would_close_a_circle_is_refused(admin: AsyncClient, make_offering: Make) -> None:
    on_b, plain = requiring(make_offering, "a", "b", version="1.0.0"), requiring(make_offering, "a", version="2.0.0")
    back = requiring(make_offering, "b", "a")
    for one in ([on_b, plain, make_offering(name="b", version="0.1.0")], [back]):
        assert (await admin.post("/v1/manifests", json=one)).status_code == 202
    refused = await admin.delete("/v1/manifests/Offering/a?version=2.0.0")
    assert (refused.status_code, refused.json()["detail"]) == (
        409,
        "1.0.0 would be the default then, and require itself in a circle: a 1.0.0 → b 1.0.0 → a 1.0.0; "
        "promote another version first",
    )
    assert (await admin.delete("/v1/manifests/Offering/a?version=1.0.0")).status_code == 202
    assert (await admin.delete("/v1/manifests/Offering/a?version=2.0.0")).status_code == 409


async def test_a_requirement_on_a_condition_may_end_the_circle(admin: AsyncClient, make_offering: Make) -> None:
    batch = [
        requiring(make_offering, "a", "b"),
        requiring(make_offering, "b", "a", when='environment == "prod"'),
    ]
    assert (await admin.post("/v1/manifests", json=batch)).status_code == 202


async def test_what_is_required_can_not_be_removed(stocked: AsyncClient, make_offering: Make) -> None:
    requires = [{"name": "db", "offering": "database", "version": "1.0.0", "inputs": {"size": "small"}}]
    batch = [make_offering(name="app", requires=requires), make_offering("1.1.0")]
    assert (await stocked.post("/v1/manifests", json=batch)).status_code == 202
    refused = await stocked.delete("/v1/manifests/Offering/database?version=1.0.0")
    assert refused.json()["detail"] == "still needed by Offering app 1.0.0; remove that first"
    assert (await stocked.delete("/v1/manifests/Offering/database?version=1.1.0")).status_code == 202
    assert (await stocked.delete("/v1/manifests/Offering/app")).status_code == 202
    assert (await stocked.delete("/v1/manifests/Offering/database")).status_code == 202
