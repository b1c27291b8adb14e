"""Delivery through a real nats-server: once, in order, parked where it fails, healed where it breaks."""

import asyncio
import base64
from pathlib import Path
from typing import Any

import nats
import pytest
from entresol_contracts.events import (
    DiscardRequested,
    MessageDiscarded,
    MessageQuarantined,
    MessageRedriven,
    RedriveRequested,
    RequestCancelled,
)
from entresol_eventing.envelope import encode
from entresol_eventing.nats_server import NatsServer
from entresol_eventing.service import Service
from entresol_eventing.testing import event, eventually, make_streams, published, running

from libs.eventing.tests.counting import Counting, counted, merged


async def publish(server: NatsServer, *bodies: bytes, subject: str = "entresol.intake.change.merged.x") -> None:
    connection = await nats.connect(server.url)
    for body in bodies:
        await connection.jetstream().publish(subject, body)
    await connection.close()


async def has_counted(service: Service, number: int) -> bool:
    return len(await counted(service)) >= number


async def said(service: Service, kind: type) -> list[Any]:
    return [one.data for one in await published(service) if isinstance(one.data, kind)]


async def test_an_event_is_handled_once_however_often_it_comes(
    tmp_path: Path, nats: NatsServer, database_url: str
) -> None:
    async with running(Counting().service(tmp_path, nats.url, database_url=database_url)) as service:
        bodies = [encode(event(merged("cart", number), subject="shop/cart")) for number in range(50)]
        await publish(nats, *bodies, *bodies, bodies[0])
        await eventually(lambda: has_counted(service, 50))
        await publish(nats, *bodies)
        last = encode(event(merged("cart", 99), subject="shop/cart"))
        await publish(nats, last)
        await eventually(lambda: has_counted(service, 51))
        assert await counted(service) == [f"cart#{number}" for number in [*range(50), 99]]


async def test_answers_are_published_in_order_and_name_their_cause(
    tmp_path: Path, nats: NatsServer, database_url: str
) -> None:
    import nats as client

    async with running(Counting().service(tmp_path, nats.url, database_url=database_url)) as service:
        events = [event(merged("cart", number), subject="shop/cart") for number in range(300)]
        await publish(nats, *map(encode, events))
        await eventually(lambda: has_counted(service, 300))
        connection = await client.connect(nats.url)
        reader = await connection.jetstream().pull_subscribe("entresol.policy.>", stream="EVENTS")
        answers: list[Any] = []
        while len(answers) < 300:
            answers += await reader.fetch(300 - len(answers), timeout=5)
        await connection.close()
        from entresol_eventing.envelope import decode

        assert [decode(one.data).causationid for one in answers] == [one.id for one in events]
        assert decode(answers[0].data).hopcount == 1
        assert decode(answers[0].data).correlationid == events[0].correlationid


async def test_a_failing_message_is_parked_and_its_key_keeps_its_order(
    tmp_path: Path, nats: NatsServer, database_url: str
) -> None:
    counting = Counting()
    counting.broken.add("cart")
    async with running(counting.service(tmp_path, nats.url, database_url=database_url)) as service:
        carts = [encode(event(merged("cart", number), partitionkey="cart")) for number in range(3)]
        orders = [encode(event(merged("orders", number), partitionkey="orders")) for number in range(3)]
        await publish(nats, carts[0], orders[0], carts[1], orders[1], carts[2], orders[2])
        await eventually(lambda: has_counted(service, 3))
        assert await counted(service) == ["orders#0", "orders#1", "orders#2"], "other keys flow on"
        counting.broken.clear()
        await eventually(lambda: has_counted(service, 6))
        assert (await counted(service))[3:] == ["cart#0", "cart#1", "cart#2"]


async def test_the_last_attempt_makes_a_dead_letter_that_can_be_redriven(
    tmp_path: Path, nats: NatsServer, database_url: str
) -> None:
    counting = Counting()
    counting.broken.add("cart")
    async with running(counting.service(tmp_path, nats.url, database_url=database_url, max_attempts=2)) as service:
        body = encode(event(merged("cart", 1), partitionkey="cart"))
        await publish(nats, body, encode(event(merged("cart", 2), partitionkey="cart")))
        (dead,) = await eventually(lambda: said(service, MessageQuarantined))
        assert dead.attempts == 2
        assert "cart is broken" in dead.reason
        assert base64.b64decode(dead.body) == body
        assert await counted(service) == []
        counting.broken.clear()
        order = event(RedriveRequested(service="policy", message_id=dead.message_id, by="user:ada"))
        await publish(nats, encode(order), subject="entresol.intake.redrive.requested.x")
        await eventually(lambda: has_counted(service, 2))
        assert await counted(service) == ["cart#1", "cart#2"], "what waited behind it follows"
        (redriven,) = await said(service, MessageRedriven)
        assert redriven.message_id == dead.message_id


async def test_a_discarded_dead_letter_lets_its_followers_go(
    tmp_path: Path, nats: NatsServer, database_url: str
) -> None:
    counting = Counting()
    counting.broken.add("cart")
    async with running(counting.service(tmp_path, nats.url, database_url=database_url, max_attempts=1)) as service:
        await publish(nats, encode(event(merged("cart", 1), partitionkey="k")))
        (dead,) = await eventually(lambda: said(service, MessageQuarantined))
        await publish(nats, encode(event(merged("orders", 2), partitionkey="k")))
        order = event(DiscardRequested(service="policy", message_id=dead.message_id, by="user:ada", reason="a test"))
        await publish(nats, encode(order), subject="entresol.intake.discard.requested.x")
        await eventually(lambda: has_counted(service, 1))
        assert await counted(service) == ["orders#2"]
        (discarded,) = await said(service, MessageDiscarded)
        assert discarded.reason == "a test"


@pytest.mark.parametrize(
    "poison",
    [b"", b"{", b"[]", b"null", b'{"type": 1}', b'{"type":"dev.entresol.change.merged.v1"}', b"\xff\xfe", b"[" * 5000],
    ids=["empty", "cut", "array", "null", "type", "bare", "bytes", "deep"],
)
async def test_poison_becomes_a_dead_letter_and_blocks_nobody(
    tmp_path: Path, nats: NatsServer, database_url: str, poison: bytes
) -> None:
    async with running(Counting().service(tmp_path, nats.url, database_url=database_url)) as service:
        await publish(nats, poison, encode(event(merged("cart", 1))))
        await eventually(lambda: has_counted(service, 1))
        (dead,) = await eventually(lambda: said(service, MessageQuarantined))
        assert dead.size_bytes == len(poison)
        assert base64.b64decode(dead.body or "") == poison


async def test_a_chain_that_loops_is_stopped(tmp_path: Path, nats: NatsServer, database_url: str) -> None:
    async with running(Counting().service(tmp_path, nats.url, database_url=database_url)) as service:
        await publish(nats, encode(event(merged("cart", 1), hopcount=33)))
        (dead,) = await eventually(lambda: said(service, MessageQuarantined))
        assert "loop" in dead.reason


async def test_a_bus_that_dies_and_comes_back_is_caught_up_with(
    tmp_path: Path, nats: NatsServer, database_url: str
) -> None:
    async with running(Counting().service(tmp_path, nats.url, database_url=database_url)) as service:
        await publish(nats, *(encode(event(merged("cart", number))) for number in range(20)))
        await eventually(lambda: has_counted(service, 20))
        await asyncio.to_thread(nats.kill)
        await asyncio.to_thread(nats.start)
        await publish(nats, *(encode(event(merged("cart", number))) for number in range(20, 40)))
        await eventually(lambda: has_counted(service, 40), seconds=20)
        assert await counted(service) == [f"cart#{number}" for number in range(40)]


async def test_a_bus_that_loses_its_disk_gets_new_streams_and_is_read_from_its_start(
    tmp_path: Path, nats: NatsServer, database_url: str
) -> None:
    import shutil

    async with running(Counting().service(tmp_path, nats.url, database_url=database_url)) as service:
        await publish(nats, *(encode(event(merged("cart", number))) for number in range(20)))
        await eventually(lambda: has_counted(service, 20))
        await asyncio.to_thread(nats.kill)
        shutil.rmtree(nats.data / "jetstream")
        await asyncio.to_thread(nats.start)
        await make_streams(nats)
        await publish(nats, *(encode(event(merged("cart", number))) for number in range(20, 25)))
        await eventually(lambda: has_counted(service, 25), seconds=20)


async def test_a_deleted_consumer_heals_itself(tmp_path: Path, nats: NatsServer, database_url: str) -> None:
    import nats as client

    async with running(Counting().service(tmp_path, nats.url, database_url=database_url)) as service:
        await publish(nats, *(encode(event(merged("cart", number))) for number in range(5)))
        await eventually(lambda: has_counted(service, 5))
        connection = await client.connect(nats.url)
        await connection.jetstream().delete_consumer("EVENTS", "policy")
        await connection.close()
        await publish(nats, *(encode(event(merged("cart", number))) for number in range(5, 10)))
        await eventually(lambda: has_counted(service, 10), seconds=15)
        assert await counted(service) == [f"cart#{number}" for number in range(10)]


async def test_a_restart_goes_on_where_it_stopped(tmp_path: Path, nats: NatsServer, database_url: str) -> None:
    counting = Counting()
    async with running(counting.service(tmp_path, nats.url, database_url=database_url)) as service:
        await publish(nats, *(encode(event(merged("cart", number))) for number in range(5)))
        await eventually(lambda: has_counted(service, 5))
    await publish(nats, *(encode(event(merged("cart", number))) for number in range(5, 10)))
    async with running(counting.service(tmp_path, nats.url, database_url=database_url)) as service:
        await eventually(lambda: has_counted(service, 10))
        assert await counted(service) == [f"cart#{number}" for number in range(10)]
        assert counting.calls == 10, "nothing was read twice"
        assert len(await said(service, RequestCancelled)) == 10


async def test_a_service_that_starts_before_the_bus_attaches_when_it_is_there(
    tmp_path: Path, database_url: str
) -> None:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    service = Counting().service(tmp_path, f"nats://127.0.0.1:{port}", database_url=database_url)
    await service.start()
    try:
        assert not service.health()["ready"]
        assert service.live
        with NatsServer(tmp_path / "nats", port=port) as server:
            await make_streams(server)
            await eventually(lambda: service.health()["ready"], seconds=15)
            await publish(server, encode(event(merged("cart"))))
            await eventually(lambda: has_counted(service, 1))
    finally:
        await service.stop()


async def test_only_one_instance_runs_on_a_database(tmp_path: Path, nats: NatsServer, database_url: str) -> None:
    async with running(Counting().service(tmp_path, nats.url, database_url=database_url)):
        with pytest.raises(RuntimeError, match="another policy is running"):
            await Counting().service(tmp_path, nats.url, database_url=database_url).start()
