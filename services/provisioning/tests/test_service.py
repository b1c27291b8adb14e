"""The whole service on a real nats-server: events in by the log, effects done, facts out by the log."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from entresol_contracts import Payload
from entresol_contracts.events import Actor, ManifestApplied, RequestAllowed, RequestCancelled, RequestSubmitted
from entresol_eventing.envelope import encode, log_subject, new_id, types_by_model
from entresol_eventing.log import connect
from entresol_eventing.nats_server import NatsServer
from entresol_eventing.service import Service
from entresol_eventing.testing import assert_migrations_match, event, eventually, nats_server, published, running
from entresol_eventing.testing.postgres import PostgresServer, binaries
from entresol_manifests.digest import digest
from entresol_provisioning import app
from entresol_provisioning.drivers.noop import Noop
from entresol_provisioning.settings import Settings
from entresol_provisioning.store import Base
from entresol_provisioning.workers import StepWorker

ENDS = ("RunSucceeded", "RunFailed", "RunCancelled")


async def git(place: Path, *arguments: str) -> str:
    done = await asyncio.to_thread(subprocess.run, ["git", *arguments], cwd=place, capture_output=True, check=True)
    return done.stdout.decode()


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[NatsServer]:
    with nats_server(tmp_path / "nats") as server:
        yield server


@pytest.fixture
def settings(settings: Settings, bus: NatsServer) -> Settings:
    return settings.model_copy(update={"nats_url": bus.url})


class Platform:
    """The rest of the platform: says what intake and policy would say, and listens."""

    def __init__(self, service: Service, connection: Any) -> None:
        self.service = service
        self._log = connection.jetstream()

    async def say(self, data: Payload) -> None:
        known = types_by_model()[type(data)]
        envelope = event(data)
        await self._log.publish(log_subject(known.publisher, known, envelope.subject), encode(envelope))

    async def apply(self, manifest: dict[str, Any]) -> None:
        metadata = manifest["metadata"]
        fact = ManifestApplied(
            kind=manifest["kind"],
            name=metadata["name"],
            version=metadata.get("version"),
            digest=digest(manifest),
            manifest=manifest,
        )
        await self.say(fact)

    async def submit(self, action: str = "create", name: str = "orders", **attributes: Any) -> str:
        request_id = new_id()
        fact = {
            "request_id": request_id,
            "resource_id": f"shop/dev/database/{name}",
            "project": "shop",
            "offering": "database",
            "offering_version": "1.0.0",
            "action": action,
            "environment": "dev",
            "name": name,
            "inputs": {},
            "actor": Actor(id="user:ada", groups=[]),
        }
        await self.say(RequestSubmitted(**(fact | attributes)))
        return request_id

    async def ask(self, action: str = "create", name: str = "orders", **attributes: Any) -> str:
        request_id = await self.submit(action, name, **attributes)
        names = {"request_id": request_id, "resource_id": f"shop/dev/database/{name}", "project": "shop"}
        await self.say(RequestAllowed(**names, verdicts=[]))
        return request_id

    async def cancel(self, request_id: str, name: str = "orders") -> None:
        names = {"request_id": request_id, "resource_id": f"shop/dev/database/{name}", "project": "shop"}
        await self.say(RequestCancelled(**names, by="user:ada"))

    async def facts(self, request_id: str) -> list[str]:
        return [type(one.data).__name__ for one in await self.about(request_id)]

    async def about(self, request_id: str) -> list[Any]:
        return [one for one in await published(self.service) if getattr(one.data, "request_id", None) == request_id]

    async def heard(self, request_id: str, *names: str) -> Any:
        """The first fact about the request with one of the names, as soon as it is there."""

        async def look() -> Any:
            return next((one for one in await self.about(request_id) if type(one.data).__name__ in names), None)

        return (await eventually(look, seconds=20)).data

    async def ended(self, request_id: str) -> Any:
        return await self.heard(request_id, *ENDS)


@asynccontextmanager
async def platform_on(service: Service) -> AsyncIterator[Platform]:
    connection = await connect(service.settings, "intake", "test")
    try:
        async with running(service):
            yield Platform(service, connection)
    finally:
        await connection.close()


@pytest.fixture
async def platform(settings: Settings) -> AsyncIterator[Platform]:
    async with platform_on(app.create(settings)) as made:
        yield made


def gitops(template: str, **with_: Any) -> dict[str, Any]:
    step = {"repository": "infra", "create": True, "files": {"db.yaml": template}, **with_}
    return {"create": {"steps": [{"name": "files", "driver": "gitops", "with": step}]}}


def noop(**with_: Any) -> dict[str, Any]:
    return {"create": {"steps": [{"name": "only", "driver": "noop", "with": with_}]}}


async def test_create_update_and_delete_reach_the_repository(
    platform: Platform, offering: Callable[..., Any], settings: Settings
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


async def test_steps_wait_for_what_they_need_and_see_its_outputs(
    platform: Platform, offering: Callable[..., Any]
) -> None:
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
    platform: Platform, offering: Callable[..., Any], step: dict[str, Any], reason: str
) -> None:
    whole = {"name": "only", "driver": "noop", "retries": 0, **step}
    await platform.apply(offering(actions={"create": {"steps": [whole]}}))
    failed = await platform.ended(await platform.ask())
    assert failed.step == "only"
    assert reason in failed.reason


async def test_a_passing_failure_is_retried_as_often_as_the_step_says(
    platform: Platform, offering: Callable[..., Any]
) -> None:
    step = {"name": "only", "driver": "noop", "retries": 2, "with": {"fail": "busy", "retryable": True}}
    await platform.apply(offering(actions={"create": {"steps": [step]}}))
    request_id = await platform.ask()
    assert (await platform.ended(request_id)).reason.startswith("busy")
    attempts = [one.data.attempt for one in await platform.about(request_id) if hasattr(one.data, "attempt")]
    assert attempts == [1, 2]


async def test_a_second_request_waits_for_the_first(platform: Platform, offering: Callable[..., Any]) -> None:
    await platform.apply(offering(actions=noop(seconds=0.2, outputs={"size": "${inputs.size}"})))
    first = await platform.ask(inputs={"size": 1})
    second = await platform.ask("update", inputs={"size": 2})
    await platform.ended(second)
    said = [(one.data.request_id, type(one.data).__name__) for one in await published(platform.service)]
    assert said.index((first, "RunSucceeded")) < said.index((second, "RunStarted"))


async def test_a_request_can_be_cancelled_in_each_state(
    platform: Platform, offering: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
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


async def test_a_resource_expires_and_can_be_extended(platform: Platform, offering: Callable[..., Any]) -> None:
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


async def test_a_dry_run_touches_nothing(platform: Platform, offering: Callable[..., Any], settings: Settings) -> None:
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
        {"name": "last", "driver": "noop", "needs": ["base"], "with": {"x": "${steps.base.outputs.host}"}},
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
    settings: Settings, offering: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
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
    async with platform_on(app.create(settings)) as platform:
        await platform.apply(offering())
        request_id = await platform.ask()
        await eventually(lambda: applied)
    async with platform_on(app.create(settings)) as platform:
        await platform.ended(request_id)
        assert (await platform.facts(request_id)).count("RunSucceeded") == 1
    assert applied == [False, True]


async def test_an_effect_that_was_not_recorded_is_found_and_not_repeated(
    settings: Settings, offering: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = asyncio.Event()

    async def never(*_: Any) -> None:
        reached.set()
        await asyncio.sleep(3600)

    monkeypatch.setattr("entresol_provisioning.workers.FINISH_SECONDS", 0.01)
    with monkeypatch.context() as patch:
        patch.setattr(StepWorker, "_record", never)
        async with platform_on(app.create(settings)) as platform:
            await platform.apply(offering(actions=gitops("one\n")))
            request_id = await platform.ask()
            await asyncio.wait_for(reached.wait(), 20)
    async with platform_on(app.create(settings)) as platform:
        await platform.ended(request_id)
        progressed = await platform.heard(request_id, "RunProgressed")
    assert progressed.message == "committed by an earlier attempt"
    assert await git(settings.repositories / "infra.git", "rev-list", "--count", "main") == "1\n"


async def test_a_hundred_requests_all_end_once(platform: Platform, offering: Callable[..., Any]) -> None:
    await platform.apply(offering(actions=noop(outputs={"a": 1})))
    asked = [await platform.ask(name=f"db-{number}") for number in range(100)]
    for request_id in asked:
        await platform.ended(request_id)
    names = [type(one.data).__name__ for one in await published(platform.service)]
    assert (names.count("RunSucceeded"), names.count("ResourceProvisioned")) == (100, 100)


@pytest.mark.skipif(binaries() is None, reason="PostgreSQL is not installed")
async def test_a_resources_life_on_postgresql(settings: Settings, offering: Callable[..., Any]) -> None:
    steps = [{"name": "one", "driver": "noop"}, {"name": "two", "driver": "noop", "needs": ["one"]}]
    with PostgresServer() as server:
        chosen = settings.model_copy(update={"database_url": server.database("provisioning")})
        async with platform_on(app.create(chosen)) as platform:
            await platform.apply(offering(actions={"create": {"steps": steps}}, lifetime={"default": "1h"}))
            asked = [await platform.ask(), await platform.ask("update"), await platform.ask("delete")]
            ends = [type(await platform.ended(one)).__name__ for one in asked]
            assert ends == ["RunSucceeded"] * 3
            assert (await platform.facts(asked[2]))[-2:] == ["ResourceDeleted", "RunSucceeded"]


def test_migrations_make_what_the_models_say(tmp_path: Path) -> None:
    assert_migrations_match(app.MIGRATIONS, Base.metadata, tmp_path)
