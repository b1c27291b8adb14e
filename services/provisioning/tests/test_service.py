"""The whole service on a real nats-server: events in by the log, effects done, facts out by the log."""

import asyncio
import subprocess
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from entresol_eventing.testing import assert_migrations_match, eventually, published
from entresol_eventing.testing.postgres import PostgresServer, binaries
from entresol_provisioning import app
from entresol_provisioning.drivers.noop import Noop
from entresol_provisioning.settings import Settings
from entresol_provisioning.tables import Base
from entresol_provisioning.workers import StepWorker

Serving = Callable[..., AbstractAsyncContextManager[Any]]


async def git(place: Path, *arguments: str) -> str:
    done = await asyncio.to_thread(subprocess.run, ["git", *arguments], cwd=place, capture_output=True, check=True)
    return done.stdout.decode()


def gitops(template: str, **with_: Any) -> dict[str, Any]:
    step = {"repository": "infra", "create": True, "files": {"db.yaml": template}, **with_}
    return {"create": {"steps": [{"name": "files", "driver": "gitops", "with": step}]}}


def noop(**with_: Any) -> dict[str, Any]:
    return {"create": {"steps": [{"name": "only", "driver": "noop", "with": with_}]}}


async def test_drivers_are_announced_once_with_what_they_take(connected: Settings, serving: Serving) -> None:
    for _ in range(2):
        async with serving(app.create(connected)) as platform:
            service = platform.service
            said = {one.data.driver: one.data for one in await published(service) if one.type.endswith("announced.v1")}
            assert said.keys() == {"exec", "gitops", "http", "kubernetes", "noop", "scaffold", "terraform"}
            assert said["noop"].settings["properties"]["fail"]["type"] == "string"
            assert said["gitops"].outputs["properties"].keys() >= {"commit", "files"}
            assert len([one for one in await published(service) if ".driver." in one.type]) == len(said)


async def test_create_update_and_delete_reach_the_repository(
    platform: Any, offering: Callable[..., Any], settings: Settings
) -> None:
    await platform.apply(
        offering(actions=gitops("size: {{ inputs.size | tojson }}\n"), outputs={"at": "${steps.files.outputs.path}"})
    )
    created = await platform.ask(inputs={"size": "small"})
    assert (await platform.ended(created)).outputs == {"at": "shop/dev/database/orders"}
    assert await platform.facts(created) == ["RunStarted", "RunProgressed", "ResourceProvisioned", "RunSucceeded"]
    updated = await platform.ask("update", inputs={"size": "large"})
    await platform.ended(updated)
    repository = settings.repositories / "infra.git"
    assert await git(repository, "show", "main:shop/dev/database/orders/db.yaml") == 'size: "large"\n'
    deleted = await platform.ask("delete")
    await platform.ended(deleted)
    assert (await platform.facts(deleted))[-2:] == ["ResourceDeleted", "RunSucceeded"]
    assert await git(repository, "ls-tree", "-r", "main") == ""
    assert await git(repository, "rev-list", "--count", "main") == "3\n"


async def test_steps_wait_for_what_they_need_and_see_its_outputs(platform: Any, offering: Callable[..., Any]) -> None:
    steps = [
        {"name": "base", "driver": "noop", "with": {"outputs": {"host": "db-${request.name}", "port": 5432}}},
        {"name": "never", "driver": "noop", "when": "inputs.size == 'huge'"},
        {
            "name": "top",
            "driver": "noop",
            "needs": ["base", "never"],
            "with": {"outputs": {"url": "${steps.base.outputs.host}:${steps.base.outputs.port}"}},
        },
    ]
    await platform.apply(offering(actions={"create": {"steps": steps}}, outputs={"url": "${steps.top.outputs.url}"}))
    request_id = await platform.ask(inputs={"size": "small"})
    assert (await platform.ended(request_id)).outputs == {"url": "db-orders:5432"}
    states = {one.data.step: one.data.state for one in await platform.about(request_id) if hasattr(one.data, "state")}
    assert states == {"base": "succeeded", "never": "skipped", "top": "succeeded"}


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ({"with": {"fail": "the disk is full"}}, "the disk is full"),
        ({"with": {"outputs": {"a": "${steps.nowhere.outputs.b}"}}}, "nowhere"),
        ({"when": "inputs.missing == 1"}, "missing"),
        ({"when": "inputs"}, "must be true or false"),
        ({"with": {"seconds": 30}, "timeout": "50ms"}, "not done within 0.05 s"),
        ({"driver": "gitops", "with": {"destination": "nowhere", "files": {"a": "b"}}}, "no destination nowhere"),
    ],
)
async def test_a_step_that_cannot_be_done_fails_the_run_with_the_reason(
    platform: Any, offering: Callable[..., Any], step: dict[str, Any], reason: str
) -> None:
    whole = {"name": "only", "driver": "noop", "retries": 0, **step}
    await platform.apply(offering(actions={"create": {"steps": [whole]}}))
    failed = await platform.ended(await platform.ask())
    assert failed.step == "only"
    assert reason in failed.reason


@pytest.mark.parametrize(
    "wrong",
    [
        {"path": "shared"},
        {"sise": 1},
        {"path": "../${inputs.size}"},
        {"files": {"{{ '.git' }}/config": "x"}},
        {"files": {"a.txt": "{{ nothing }}"}},
        {"branch": "--force"},
        {"repository": "nowhere", "create": False},
        {"repository": None, "create": None, "destination": "away"},
    ],
)
async def test_what_was_refused_before_anything_was_done_leaves_nothing_to_delete(
    platform: Any, offering: Callable[..., Any], settings: Settings, wrong: dict[str, Any]
) -> None:
    def step(text: str, **more: Any) -> dict[str, Any]:
        with_ = {"repository": "infra", "create": True, "files": {"a.txt": text}, "path": "shared", **more}
        return {"create": {"steps": [{"name": "only", "driver": "gitops", "with": with_, "retries": 1}]}}

    away = {"kind": "Destination", "metadata": {"name": "away"}, "spec": {"repository": "https://127.0.0.1:9/x.git"}}
    await platform.apply(away)
    await platform.apply(offering(actions=step("theirs")))
    await platform.ended(await platform.ask())
    await platform.apply(offering(version="2.0.0", actions=step("mine", **wrong)))
    failed = await platform.ended(await platform.ask(name="other", offering_version="2.0.0"))
    assert (failed.step, failed.left) == ("only", None)
    await platform.ended(await platform.ask("delete", name="other", offering_version="2.0.0"))
    assert await git(settings.repositories / "infra.git", "show", "main:shared/a.txt") == "theirs"


async def test_a_passing_failure_is_retried_as_often_as_the_step_says(
    platform: Any, offering: Callable[..., Any]
) -> None:
    step = {"name": "only", "driver": "noop", "retries": 2, "with": {"fail": "busy", "retryable": True}}
    await platform.apply(offering(actions={"create": {"steps": [step]}}))
    request_id = await platform.ask()
    assert (await platform.ended(request_id)).reason.startswith("busy")
    attempts = [one.data.attempt for one in await platform.about(request_id) if hasattr(one.data, "attempt")]
    assert attempts == [1, 2]


async def test_a_second_request_waits_for_the_first(platform: Any, offering: Callable[..., Any]) -> None:
    await platform.apply(offering(actions=noop(seconds=0.2, outputs={"size": "${inputs.size}"})))
    first = await platform.ask(inputs={"size": 1})
    second = await platform.ask("update", inputs={"size": 2})
    await platform.ended(second)
    everything = await published(platform.service)
    said = [(one.data.request_id, type(one.data).__name__) for one in everything if hasattr(one.data, "request_id")]
    assert said.index((first, "RunSucceeded")) < said.index((second, "RunStarted"))


async def test_a_request_can_be_cancelled_in_each_state(
    platform: Any, offering: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    acting, going_on, whole = asyncio.Event(), asyncio.Event(), Noop.apply

    async def apply(self: Noop, work: Any) -> Any:
        acting.set()
        await going_on.wait()
        return await whole(self, work)

    monkeypatch.setattr(Noop, "apply", apply)
    steps = [
        {"name": "first", "driver": "noop"},
        {"name": "second", "driver": "noop", "needs": ["first"]},
    ]
    await platform.apply(offering(actions={"create": {"steps": steps}}))
    submitted = await platform.submit(name="a")
    await platform.cancel(submitted, "a")
    assert (await platform.ended(submitted)).steps_done == []
    begun = await platform.ask()
    queued = await platform.ask("update")
    await asyncio.wait_for(acting.wait(), 20)
    await platform.cancel(queued)
    await platform.ended(queued)
    assert await platform.facts(queued) == ["RunCancelled"]
    await platform.cancel(begun)
    late = await platform.submit(name="b")
    await platform.cancel(late, "b")
    await platform.ended(late)  # by then the cancellation before it has been read too
    assert "RunCancelled" not in await platform.facts(begun)
    going_on.set()
    assert (await platform.ended(begun)).steps_done == ["first"]
    assert (await platform.facts(begun))[-1] == "RunCancelled"


async def test_a_resource_expires_and_can_be_extended(platform: Any, offering: Callable[..., Any]) -> None:
    await platform.apply(offering(actions=noop(), lifetime={"default": "1s", "max": "1h"}))
    await platform.ended(await platform.ask())
    extended = await platform.ask("extend", lifetime_seconds=2)
    await platform.ended(extended)
    assert await platform.facts(extended) == ["RunStarted", "ResourceExtended", "RunSucceeded"]

    async def names() -> list[str]:
        return [type(one.data).__name__ for one in await published(platform.service)]

    async def expired() -> bool:
        return "ResourceExpired" in await names()

    await eventually(expired)
    assert "ResourceExpiring" in await names()
    assert (await names()).count("ResourceExpired") == 1
    last = (await published(platform.service))[-1]
    assert last.actor == "system:expiry"
    await platform.ended(await platform.ask("delete"))
    assert "ResourceDeleted" in await names()


async def test_a_dry_run_touches_nothing(platform: Any, offering: Callable[..., Any], settings: Settings) -> None:
    steps = [
        {"name": "base", "driver": "noop", "with": {"outputs": {"host": "h"}}},
        {
            "name": "files",
            "driver": "gitops",
            "needs": ["base"],
            "with": {"repository": "infra", "create": True, "files": {"a": "{{ inputs.size }}"}},
        },
        {
            "name": "after",
            "driver": "gitops",
            "needs": ["base"],
            "with": {"repository": "infra", "create": True, "files": {"b": "{{ steps.base.outputs.host }}"}},
        },
        {"name": "last", "driver": "noop", "needs": ["base"], "with": {"outputs": {"x": "${steps.base.outputs.host}"}}},
    ]
    await platform.apply(offering(actions={"create": {"steps": steps}}))
    request_id = await platform.ask(inputs={"size": 1}, dry_run=True)
    assert (await platform.ended(request_id)).dry_run
    planned = await platform.heard(request_id, "RunPlanned")
    summaries = {one.name: one.summary for one in planned.steps}
    assert planned.adds == 4
    assert summaries["files"] == ["+ shop/dev/database/orders/a"]
    assert summaries["after"] == summaries["last"] == ["known after apply: it needs the outputs of base"]
    assert not settings.repositories.exists()


async def test_a_step_that_was_cut_short_is_taken_up_after_a_restart(
    connected: Settings, serving: Serving, offering: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    applied: list[bool] = []
    whole = Noop.apply

    async def apply(self: Noop, work: Any) -> Any:
        applied.append(work.attempted)
        if len(applied) == 1:
            await asyncio.sleep(3600)
        return await whole(self, work)

    monkeypatch.setattr(Noop, "apply", apply)
    monkeypatch.setattr("entresol_provisioning.workers.FINISH_SECONDS", 0.01)
    async with serving(app.create(connected)) as platform:
        await platform.apply(offering())
        request_id = await platform.ask()
        await eventually(lambda: applied)
    async with serving(app.create(connected)) as platform:
        await platform.ended(request_id)
        assert (await platform.facts(request_id)).count("RunSucceeded") == 1
    assert applied == [False, True]


async def test_an_effect_that_was_not_recorded_is_found_and_not_repeated(
    connected: Settings, serving: Serving, offering: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = asyncio.Event()

    async def never(*_: Any) -> None:
        reached.set()
        await asyncio.sleep(3600)

    monkeypatch.setattr("entresol_provisioning.workers.FINISH_SECONDS", 0.01)
    with monkeypatch.context() as patch:
        patch.setattr(StepWorker, "_record", never)
        async with serving(app.create(connected)) as platform:
            await platform.apply(offering(actions=gitops("one\n")))
            request_id = await platform.ask()
            await asyncio.wait_for(reached.wait(), 20)
    async with serving(app.create(connected)) as platform:
        await platform.ended(request_id)
        progressed = await platform.heard(request_id, "RunProgressed")
    assert progressed.message == "committed by an earlier attempt"
    assert await git(connected.repositories / "infra.git", "rev-list", "--count", "main") == "1\n"


async def test_a_hundred_requests_all_end_once(platform: Any, offering: Callable[..., Any]) -> None:
    await platform.apply(offering(actions=noop(outputs={"a": 1})))
    asked = [await platform.ask(name=f"db-{number}") for number in range(100)]
    for request_id in asked:
        await platform.ended(request_id)
    names = [type(one.data).__name__ for one in await published(platform.service)]
    assert (names.count("RunSucceeded"), names.count("ResourceProvisioned")) == (100, 100)


@pytest.mark.skipif(binaries() is None, reason="PostgreSQL is not installed")
async def test_a_resources_life_on_postgresql(
    connected: Settings, serving: Serving, offering: Callable[..., Any]
) -> None:
    steps = [{"name": "one", "driver": "noop"}, {"name": "two", "driver": "noop", "needs": ["one"]}]
    with PostgresServer() as server:
        chosen = connected.model_copy(update={"database_url": server.database("provisioning")})
        async with serving(app.create(chosen)) as platform:
            await platform.apply(offering(actions={"create": {"steps": steps}}, lifetime={"default": "1h"}))
            asked = [await platform.ask(), await platform.ask("update"), await platform.ask("delete")]
            ends = [type(await platform.ended(one)).__name__ for one in asked]
            assert ends == ["RunSucceeded"] * 3
            assert (await platform.facts(asked[2]))[-2:] == ["ResourceDeleted", "RunSucceeded"]


def test_migrations_make_what_the_models_say(tmp_path: Path) -> None:
    assert_migrations_match(app.MIGRATIONS, Base.metadata, tmp_path)
