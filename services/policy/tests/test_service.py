"""The whole service on a real bus, and its migrations."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import pytest
from entresol_contracts.events import (
    Actor,
    AnswerCounted,
    AnswerRefused,
    ApprovalAnswered,
    ApprovalExpired,
    ApprovalGranted,
    ApprovalRequested,
    ManifestApplied,
    RequestAllowed,
    RequestDenied,
    RequestSubmitted,
)
from entresol_eventing.envelope import Event, encode, log_subject, new_id, types_by_model
from entresol_eventing.nats_server import NatsServer
from entresol_eventing.service import Service
from entresol_eventing.testing import assert_migrations_match, event, eventually, nats_server, published, running
from entresol_eventing.testing.postgres import PostgresServer, binaries
from entresol_policy.app import MIGRATIONS, create
from entresol_policy.settings import Settings
from entresol_policy.store import Base
from nats.aio.client import Client


class Platform:
    """The service under test, and a stand-in for intake."""

    def __init__(self, service: Service, intake: Client) -> None:
        self.service = service
        self._stream = intake.jetstream()

    async def say(self, *said: Event[Any]) -> None:
        for one in said:
            known = types_by_model()[type(one.data)]
            await self._stream.publish(log_subject("intake", known, one.subject), encode(one))

    async def heard(self, *kinds: type, number: int = 1) -> list[Event[Any]]:
        async def enough() -> list[Event[Any]]:
            found = [one for one in await published(self.service) if isinstance(one.data, kinds)]
            return found if len(found) >= number else []

        return await eventually(enough, seconds=20)


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[NatsServer]:
    with nats_server(tmp_path / "nats") as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A store of each kind; empty means SQLite in the data directory."""
    if request.param == "sqlite":
        yield ""
        return
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    with PostgresServer() as server:
        yield server.database("store")


@asynccontextmanager
async def platform(bus: NatsServer, data: Path, database_url: str = "") -> AsyncIterator[Platform]:
    intake = await nats.connect(bus.url)
    try:
        async with running(create(Settings(data=data, nats_url=bus.url, database_url=database_url))) as service:
            yield Platform(service, intake)
    finally:
        await intake.close()


def policy(name: str, *rules: dict[str, Any], **spec: Any) -> Event[ManifestApplied]:
    manifest = {
        "apiVersion": "entresol.dev/v1",
        "kind": "Policy",
        "metadata": {"name": name},
        "spec": {"rules": list(rules), **spec},
    }
    applied = ManifestApplied(kind="Policy", name=name, digest=f"sha256:{name}", manifest=manifest)
    return event(applied, subject=f"Policy/{name}")


def request(name: str, environment: str = "prod") -> Event[RequestSubmitted]:
    return event(
        RequestSubmitted(
            request_id=new_id(),
            resource_id=f"shop/{environment}/database/{name}",
            project="shop",
            offering="database",
            offering_version="1.0.0",
            action="create",
            environment=environment,
            name=name,
            inputs={"size": "small"},
            actor=Actor(id="user:ada", groups=[]),
        )
    )


def answer(approval: ApprovalRequested, by: str) -> Event[ApprovalAnswered]:
    said = ApprovalAnswered(
        approval_id=approval.approval_id,
        request_id=approval.request_id,
        project="shop",
        answer="granted",
        by=by,
        groups=["sre"],
    )
    return event(said, subject=approval.approval_id, partitionkey=approval.resource_id)


def test_the_migrations_make_what_the_models_say(tmp_path: Path) -> None:
    assert_migrations_match(MIGRATIONS, Base.metadata, tmp_path)


async def test_people_are_asked_and_their_answers_decide(bus: NatsServer, tmp_path: Path, database_url: str) -> None:
    async with platform(bus, tmp_path, database_url) as entresol:
        rule = {"approve": {"from": ["group:sre"]}, "because": "production"}
        await entresol.say(policy("production", rule, when='request.environment == "prod"'))
        asked, free = request("orders"), request("orders", "dev")
        await entresol.say(asked, free)
        (allowed,) = await entresol.heard(RequestAllowed)
        assert allowed.data.request_id == free.data.request_id
        assert (allowed.causationid, allowed.correlationid, allowed.actor) == (free.id, free.correlationid, "user:ada")
        (waiting,) = await entresol.heard(ApprovalRequested)
        assert waiting.partitionkey == asked.data.resource_id
        gauge = entresol.service.telemetry.metrics.approvals.labels("policy")
        await eventually(lambda: gauge._value.get() == 1, seconds=30)
        await entresol.say(answer(waiting.data, "user:ada"), answer(waiting.data, "user:bob"))
        _, allowed = await entresol.heard(RequestAllowed, number=2)
        assert allowed.data.approvals == [waiting.data.approval_id]
        said = [type(one.data) for one in await published(entresol.service)]
        answers = [AnswerRefused, AnswerCounted, ApprovalGranted]
        assert said == [ApprovalRequested, RequestAllowed, *answers, RequestAllowed]


async def test_an_approval_that_nobody_answers_expires(bus: NatsServer, tmp_path: Path) -> None:
    async with platform(bus, tmp_path) as entresol:
        await entresol.say(policy("quick", {"approve": {"from": ["group:sre"], "within": "50ms"}}))
        asked = request("orders")
        await entresol.say(asked)
        (expired,) = await entresol.heard(ApprovalExpired)
        assert (expired.data.request_id, expired.actor) == (asked.data.request_id, "system:policy")
        assert expired.correlationid == asked.correlationid


async def test_hostile_policies_deny_and_the_service_decides_on(bus: NatsServer, tmp_path: Path) -> None:
    async with platform(bus, tmp_path) as entresol:
        hostile = [
            "(" * 2048 + ")" * 2048,
            "!" * 4095 + "x",
            "request.inputs.nope",
            "request.inputs.size > 1",
            "[" * 4096,
        ]
        for number, source in enumerate(hostile):
            await entresol.say(policy(f"hostile-{number}", {"deny": source, "because": "x"}))
        await entresol.say(*(request(f"orders-{number}") for number in range(20)))
        denied = await entresol.heard(RequestDenied, number=20)
        assert all(len(one.data.because) == len(hostile) for one in denied)
        assert entresol.service.health()["ready"]
        for number in range(len(hostile)):
            await entresol.say(policy(f"hostile-{number}", {"deny": "false", "because": "x"}))
        await entresol.say(request("orders"))
        await entresol.heard(RequestAllowed)
