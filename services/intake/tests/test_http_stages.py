"""Stages by the door: one default at most, told once, whoever asks and however many at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Generator

import pytest
from entresol_eventing.reactions import Outcome
from entresol_eventing.service import Service
from entresol_eventing.testing import published
from entresol_intake.store import remember_resource, stages_of
from httpx import AsyncClient
from sqlmodel import Session

from services.intake.tests.conftest import Document, Enter, Make

Told = tuple[str, str, str | None]


@pytest.fixture
def stages(service: Service) -> Callable[[], Awaitable[dict[str, str]]]:
    async def look() -> dict[str, str]:
        return await service.read(lambda session: stages_of("database", session))

    return look


@pytest.fixture
def told(service: Service) -> Callable[[], Awaitable[list[Told]]]:
    async def look() -> list[Told]:
        events = [each for each in await published(service) if each.type == "dev.entresol.offering.staged.v1"]
        return [(each.data.version, each.data.stage, each.data.previous) for each in events]

    return look


def orders_of_the_first(session: Session) -> Generator[Outcome, None, None]:
    remember_resource("shop/dev/database/orders", "1.0.0", session)
    yield from ()


def at(version: str, name: str = "database") -> str:
    return f"/v1/offerings/{name}/{version}/stage"


async def test_the_highest_applied_version_is_the_default(
    admin: AsyncClient,
    make_offering: Make,
    stages: Callable[[], Awaitable[dict[str, str]]],
    told: Callable[[], Awaitable[list[Told]]],
) -> None:
    for version in ("1.0.0", "1.2.0", "1.1.0"):
        assert (await admin.post("/v1/manifests", json=[make_offering(version)])).status_code == 202
    assert (await admin.post("/v1/manifests", json=[make_offering("1.2.0")])).json()["results"][0][
        "result"
    ] == "unchanged"
    assert await stages() == {"1.2.0": "default"}
    assert await told() == [("1.0.0", "default", None), ("1.2.0", "default", "1.0.0")]


async def test_a_proposed_version_is_only_for_who_names_it(
    stocked: AsyncClient,
    make_offering: Make,
    make_ask: Make,
    stages: Callable[[], Awaitable[dict[str, str]]],
    told: Callable[[], Awaitable[list[Told]]],
) -> None:
    answer = await stocked.post("/v1/manifests?proposed=true", json=[make_offering("2.0.0"), make_offering()])
    assert answer.status_code == 202
    assert await stages() == {"1.0.0": "default", "2.0.0": "proposed"}
    assert (await stocked.post("/v1/manifests", json=[make_offering("2.0.0")])).status_code == 202
    assert (await stocked.post("/v1/requests", json=make_ask())).json()["version"] == "1.0.0"
    assert (await stocked.post("/v1/requests", json=make_ask(version="2.0.0"))).json()["version"] == "2.0.0"
    promoted = await stocked.post(at("2.0.0"), json={"stage": "default", "reason": "tried for a week"})
    assert (promoted.status_code, promoted.json()) == (
        202,
        {"name": "database", "version": "2.0.0", "stage": "default"},
    )
    assert (await stocked.post("/v1/requests", json=make_ask())).json()["version"] == "2.0.0"
    assert (await stocked.post("/v1/requests", json=make_ask(version="1.0.0"))).status_code == 202
    assert await stages() == {"2.0.0": "default"}
    assert await told() == [("1.0.0", "default", None), ("2.0.0", "proposed", None), ("2.0.0", "default", "1.0.0")]


async def test_a_stage_is_said_once_in_full(
    service: Service, stocked: AsyncClient, stages: Callable[[], Awaitable[dict[str, str]]]
) -> None:
    for _ in range(3):
        answer = await stocked.post(at("1.0.0"), json={"stage": "defective", "reason": "loses data"})
        assert answer.status_code == 202
    events = [each for each in await published(service) if each.type == "dev.entresol.offering.staged.v1"][1:]
    (event,) = events
    assert event.data.model_dump(exclude_none=True) == {
        "name": "database",
        "version": "1.0.0",
        "stage": "defective",
        "by": "user:admin",
        "reason": "loses data",
    }
    assert (event.subject, event.actor) == ("Offering/database", "user:admin")
    assert await stages() == {"1.0.0": "defective"}


async def test_nothing_is_made_with_a_defective_version_but_all_else_goes_on(
    service: Service, stocked: AsyncClient, make_ask: Make, make_offering: Make
) -> None:
    await stocked.post("/v1/manifests", json=[make_offering("1.1.0")])
    await service.transact(orders_of_the_first)
    assert (await stocked.post(at("1.0.0"), json={"stage": "defective"})).status_code == 202
    for fields in ({"version": "1.0.0"}, {"action": "update", "inputs": {}}, {"action": "apply"}):
        refused = await stocked.post("/v1/requests", json=make_ask(**fields))
        assert refused.status_code == 422, fields
        (violation,) = refused.json()["violations"]
        assert violation["pointer"] == "/version"
        assert "name another, such as 1.1.0" in violation["detail"]
    for fields, version in (
        ({"action": "delete"}, "1.0.0"),
        ({"action": "update", "version": "1.1.0"}, "1.1.0"),
        ({"action": "restart"}, "1.0.0"),
        ({"action": "extend", "lifetime": "1d"}, "1.0.0"),
    ):
        taken = await stocked.post("/v1/requests", json=make_ask(inputs={}, **fields))
        assert (taken.status_code, taken.json().get("version")) == (202, version)


async def test_a_resource_keeps_its_version_until_another_is_named(
    service: Service, stocked: AsyncClient, make_ask: Make, make_offering: Make
) -> None:
    await service.transact(orders_of_the_first)
    await stocked.post("/v1/manifests", json=[make_offering("1.1.0")])
    for action in ("update", "apply", "restart"):
        answer = await stocked.post("/v1/requests", json=make_ask(action=action, inputs={}))
        assert answer.json()["version"] == "1.0.0"
    assert (await stocked.post("/v1/requests", json=make_ask(name="other"))).json()["version"] == "1.1.0"
    upgraded = await stocked.post("/v1/requests", json=make_ask(action="update", inputs={}, version="1.1.0"))
    assert upgraded.json()["version"] == "1.1.0"


async def test_an_offering_may_have_no_default(
    stocked: AsyncClient, make_ask: Make, stages: Callable[[], Awaitable[dict[str, str]]]
) -> None:
    assert (await stocked.post(at("1.0.0"), json={"stage": "deprecated"})).status_code == 202
    assert await stages() == {"1.0.0": "deprecated"}
    refused = await stocked.post("/v1/requests", json=make_ask())
    assert [each["pointer"] for each in refused.json()["violations"]] == ["/version"]
    assert (await stocked.post("/v1/requests", json=make_ask(version="1.0.0"))).status_code == 202


async def test_a_removed_default_is_followed_by_the_highest_that_nobody_doubts(
    stocked: AsyncClient,
    make_offering: Make,
    stages: Callable[[], Awaitable[dict[str, str]]],
    told: Callable[[], Awaitable[list[Told]]],
) -> None:
    await stocked.post("/v1/manifests", json=[make_offering(f"1.{minor}.0") for minor in range(1, 5)])
    await stocked.post(at("1.3.0"), json={"stage": "defective"})
    before = len(await told())
    assert (await stocked.delete("/v1/manifests/Offering/database?version=1.4.0")).status_code == 202
    assert await stages() == {"1.2.0": "default", "1.3.0": "defective"}
    assert (await told())[before:] == [("1.2.0", "default", None)]
    refused = await stocked.post(at("1.4.0"), json={"stage": "default"})
    assert (refused.status_code, refused.json()["detail"]) == (409, "database 1.4.0 was removed; apply it again first.")
    assert (await stocked.delete("/v1/manifests/Offering/database?version=1.3.0")).status_code == 202
    assert (await stocked.post("/v1/manifests", json=[make_offering("1.3.0")])).status_code == 202
    assert await stages() == {"1.2.0": "default", "1.3.0": "defective"}
    assert (await stocked.post("/v1/manifests", json=[make_offering("1.4.0")])).status_code == 202
    assert await stages() == {"1.4.0": "default", "1.3.0": "defective"}


async def test_of_many_promotions_at_once_one_default_is_left(
    stocked: AsyncClient,
    make_offering: Make,
    stages: Callable[[], Awaitable[dict[str, str]]],
    told: Callable[[], Awaitable[list[Told]]],
) -> None:
    versions = [f"1.{minor}.0" for minor in range(20)]
    await stocked.post("/v1/manifests", json=[make_offering(version) for version in versions])
    before = len(await told())
    answers = await asyncio.gather(
        *(stocked.post(at(version), json={"stage": "default"}) for version in versions for _ in range(3))
    )
    assert {each.status_code for each in answers} == {202}
    assert list((await stages()).values()) == ["default"]
    previous = versions[-1]
    for version, _, was in (await told())[before:]:
        assert was == previous
        previous = version
    assert await stages() == {previous: "default"}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (at("1.0.0"), {"stage": "retired"}, 422),
        (at("1.0.0"), {"stage": ["default"]}, 422),
        (at("1.0.0"), {"stage": None}, 422),
        (at("1.0.0"), {}, 422),
        (at("1.0.0"), {"stage": "default", "reason": ""}, 422),
        (at("1.0.0"), {"stage": "default", "reason": "x" * 2001}, 422),
        (at("1.0.0"), {"stage": "default", "by": "user:eve"}, 422),
        (at("9.0.0"), {"stage": "default"}, 404),
        (at("latest"), {"stage": "default"}, 404),
        (at("1.0.0", "nothing"), {"stage": "default"}, 404),
        (at("1.0.0", "n" * 10_000), {"stage": "default"}, 404),
        (at("1" * 10_000 + ".0.0"), {"stage": "default"}, 404),
        (at("1.0.0", "a%00b"), {"stage": "default"}, 404),
    ],
)
async def test_what_is_no_stage_or_no_version_changes_nothing(
    stocked: AsyncClient,
    stages: Callable[[], Awaitable[dict[str, str]]],
    told: Callable[[], Awaitable[list[Told]]],
    path: str,
    body: Document,
    status: int,
) -> None:
    assert (await stocked.post(path, json=body)).status_code == status
    assert await stages() == {"1.0.0": "default"}
    assert len(await told()) == 1


async def test_only_who_may_publish_may_stage(enter: Enter, stages: Callable[[], Awaitable[dict[str, str]]]) -> None:
    for role in ("developer", "publisher", "viewer"):
        client = await enter(role, actor=f"user:{role}")
        assert (await client.post(at("1.0.0"), json={"stage": "defective"})).status_code == 403
    operator = await enter("platform", actor="user:op")
    assert (await operator.post(at("1.0.0"), json={"stage": "deprecated"})).status_code == 202
    assert await stages() == {"1.0.0": "deprecated"}
