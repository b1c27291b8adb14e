"""Least privilege on a real server: a service can do its work and nothing else."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import pytest
from entresol_eventing.envelope import encode
from entresol_eventing.nats_server import NatsServer
from entresol_eventing.permissions import SERVICES, inbox_prefix, permissions
from entresol_eventing.testing import event, eventually, make_streams, running
from nats.aio.client import Client

from libs.eventing.tests.counting import Counting, counted, merged


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[NatsServer]:
    import asyncio

    with NatsServer(tmp_path / "nats", [*SERVICES, "admin", "subscriber", "ingest-ci"]) as server:
        asyncio.run(make_streams(server))
        yield server


@asynccontextmanager
async def connected(server: NatsServer, user: str) -> AsyncIterator[tuple[Client, list[str]]]:
    refused: list[str] = []

    async def note(error: Exception) -> None:
        refused.append(str(error))

    connection = await nats.connect(
        server.url, user=user, password=server.passwords[user], inbox_prefix=inbox_prefix(user), error_cb=note
    )
    try:
        yield connection, refused
    finally:
        await connection.close()


async def test_a_service_works_with_its_own_rights_only(tmp_path: Path, guarded: NatsServer) -> None:
    service = Counting().service(tmp_path, guarded.url, nats_password=guarded.passwords["policy"])
    async with running(service), connected(guarded, "intake") as (intake, _):
        subject = "entresol.intake.change.merged.x"
        await intake.jetstream().publish(subject, encode(event(merged("cart"))))
        await eventually(lambda: counted(service))


@pytest.mark.parametrize(
    "subject",
    [
        "entresol.intake.request.submitted.x",
        "entresol.ingest.ci.x",
        "$JS.API.STREAM.DELETE.EVENTS",
        "$JS.API.STREAM.PURGE.EVENTS",
        "$JS.API.STREAM.UPDATE.EVENTS",
        "$JS.API.CONSUMER.DELETE.EVENTS.catalog",
        "$JS.API.CONSUMER.CREATE.EVENTS.catalog",
        "$JS.API.CONSUMER.MSG.NEXT.EVENTS.catalog",
        "$JS.ACK.EVENTS.catalog.1.1.1.1.0",
        "_INBOX_catalog.x",
    ],
)
async def test_a_service_may_publish_nothing_of_anothers(guarded: NatsServer, subject: str) -> None:
    async with connected(guarded, "policy") as (policy, refused):
        await policy.publish(subject, b"{}")
        await policy.flush()
        await eventually(lambda: any("permissions violation" in one.lower() for one in refused), seconds=3)


async def test_a_service_may_not_listen_to_anothers_answers(guarded: NatsServer) -> None:
    async with connected(guarded, "policy") as (policy, refused):
        await policy.subscribe("_INBOX_catalog.>")
        await policy.flush()
        await eventually(lambda: any("permissions violation" in one.lower() for one in refused), seconds=3)


@pytest.mark.parametrize("name", ["policy", "catalog"])
async def test_a_subscriber_reads_everything_but_leaves_the_services_consumers_alone(
    guarded: NatsServer, name: str
) -> None:
    async with connected(guarded, "intake") as (intake, _):
        await intake.jetstream().publish("entresol.intake.change.merged.x", encode(event(merged("cart"))))
    async with connected(guarded, "subscriber") as (subscriber, refused):
        prefix = inbox_prefix("subscriber").encode()
        streams = subscriber.jetstream()
        reader = await streams.pull_subscribe(
            "entresol.>", durable="dashboard", stream="EVENTS", inbox_prefix=prefix + b"."
        )
        (message,) = await reader.fetch(1, timeout=5)
        await message.ack()
        await subscriber.publish(f"$JS.API.CONSUMER.DELETE.EVENTS.{name}", b"")
        await subscriber.publish("entresol.policy.request.allowed.x", b"{}")
        await subscriber.flush()
        await eventually(lambda: sum("permissions violation" in one.lower() for one in refused) == 2, seconds=3)


def test_an_unknown_user_has_no_rights() -> None:
    with pytest.raises(ValueError, match="no such NATS user"):
        permissions("mallory")
