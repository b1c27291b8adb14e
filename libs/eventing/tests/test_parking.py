"""The park: what can't be handled is kept and told of, waits for nobody forever, and does what operators say."""

import asyncio
import logging
import threading
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any

import nats as client
import pytest
from entresol_contracts.events import (
    DiscardRequested,
    MessageDiscarded,
    MessageParked,
    MessageQuarantined,
    MessageRedriven,
    MessageReleased,
    RedriveRequested,
)
from entresol_eventing import parking
from entresol_eventing.consumer import BatchJob, Message, RetryJob
from entresol_eventing.envelope import MAX_HOPS, encode
from entresol_eventing.nats_server import NatsServer
from entresol_eventing.reactions import Outcome
from entresol_eventing.service import Service
from entresol_eventing.store import parked
from entresol_eventing.testing import event, eventually, published, running
from sqlalchemy import select, text, update
from sqlmodel import Session

from libs.eventing.tests.counting import Counting, counted, merged

SUBJECT = "entresol.intake.change.merged.x"


async def publish(server: NatsServer, *bodies: bytes, subject: str = SUBJECT) -> None:
    connection = await client.connect(server.url)
    for body in bodies:
        await connection.jetstream().publish(subject, body)
    await connection.close()


async def say(server: NatsServer, order: RedriveRequested | DiscardRequested) -> None:
    fact = "redrive" if isinstance(order, RedriveRequested) else "discard"
    await publish(server, encode(event(order)), subject=f"entresol.intake.{fact}.requested.x")


async def said(service: Service, kind: type) -> list[Any]:
    return [one.data for one in await published(service) if isinstance(one.data, kind)]


async def has_counted(service: Service, number: int) -> bool:
    return len(await counted(service)) >= number


def message(name: str, key: str, position: int) -> Message:
    return Message(SUBJECT, None, encode(event(merged(name, position), partitionkey=key)), position)


def hurry(session: Session) -> Generator[Outcome, None, None]:
    session.execute(update(parked).where(parked.c.state == "retrying").values(retry_at=parked.c.parked_at))
    yield from ()


async def rows(service: Service) -> list[Any]:
    query = select(parked.c.state, parked.c.attempts, parked.c.partitionkey, parked.c.id).order_by(parked.c.position)
    return await service.read(lambda session: list(session.execute(query)))


def _poison() -> dict[str, bytes]:
    good = event(merged("cart", 7))

    def but(**changes: Any) -> bytes:
        return encode(good.model_copy(update=changes))

    long = "".join(chr(0x4E00 + number) for number in range(2000))
    return {
        "a type that is a list": b'{"type": []}',
        "a type that is an object": b'{"type": {}}',
        "NUL in a key": but(partitionkey="a\0b"),
        "NUL in an id": but(id="a\0b"),
        "an empty key": but(partitionkey=""),
        "an id too long for an index": but(id=long),
        "a key too long for an index": but(partitionkey=long),
        "a source too long for an index": but(source=long),
    }


@pytest.mark.parametrize("kind", _poison())
async def test_what_no_database_takes_becomes_a_dead_letter_and_blocks_nobody(
    tmp_path: Path, nats: NatsServer, database_url: str, kind: str
) -> None:
    async with running(Counting().service(tmp_path, nats.url, database_url=database_url)) as service:
        await publish(nats, _poison()[kind], encode(event(merged("cart", 1))))
        await eventually(lambda: has_counted(service, 1))
        (dead,) = await eventually(lambda: said(service, MessageQuarantined))
        assert dead.size_bytes == len(_poison()[kind])
        assert await counted(service) == ["cart#1"]


async def test_a_reason_that_no_database_takes_is_kept_in_plain_text(
    tmp_path: Path, nats: NatsServer, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)  # a report of the test run can't hold such text either
    counting = Counting()
    counting.fail_with = "a\0\ud800b is broken"
    counting.broken.add("cart")
    async with running(counting.service(tmp_path, nats.url, database_url=database_url, max_attempts=1)) as service:
        await publish(nats, encode(event(merged("cart", 1))), encode(event(merged("orders", 1))))
        await eventually(lambda: has_counted(service, 1))
        (dead,) = await eventually(lambda: said(service, MessageQuarantined))
        assert dead.reason == "RuntimeError: a\\0\\ud800b is broken"


async def test_a_statement_that_the_database_refuses_is_not_an_outage(
    tmp_path: Path, nats: NatsServer, database_url: str
) -> None:
    """A key that no index takes and a table that is not there are called operational errors, too."""
    async with running(Counting().service(tmp_path, nats.url, database_url=database_url)) as service:

        def unit(statement: str, session: Session) -> Generator[Outcome, None, None]:
            session.execute(text(statement))
            yield from ()

        with pytest.raises(Exception, match="nowhere"):
            await service.transact(partial(unit, "SELECT * FROM nowhere"))
        if "postgresql" in database_url:
            await service.transact(partial(unit, "CREATE TABLE narrow (key text PRIMARY KEY)"))
            long = "INSERT INTO narrow SELECT string_agg(md5(n::text), '') FROM generate_series(1, 500) n"
            with pytest.raises(Exception, match="index row"):
                await service.transact(partial(unit, long))
        await service.transact(partial(unit, "SELECT 1"))


async def test_a_message_that_comes_while_its_key_is_released_is_not_left_behind(
    tmp_path: Path, nats: NatsServer, database_url: str
) -> None:
    """Release and newcomer share a transaction: nobody is left to call the newcomer."""
    async with running(Counting().service(tmp_path, nats.url, database_url=database_url)) as service:
        held = threading.Event()
        handling = service._handling
        await service._submit(_Parking(service, message("cart", "k", 1)))

        def hold(session: Session) -> Generator[Outcome, None, None]:
            held.wait(10)
            yield from ()

        first = asyncio.ensure_future(service.transact(hold))
        await asyncio.sleep(0)
        ((position,),) = await service.read(lambda session: list(session.execute(select(parked.c.position))))
        together = asyncio.gather(
            service._submit(RetryJob(handling, position)),
            service._submit(BatchJob(handling, (message("cart", "k", 2),), "test")),
        )
        await asyncio.sleep(0)
        held.set()
        await first
        await together
        await eventually(lambda: has_counted(service, 2))
        assert await counted(service) == ["cart#1", "cart#2"]
        assert await rows(service) == []


class _Parking:
    """Parks one message that would not fail."""

    def __init__(self, service: Service, parked_message: Message) -> None:
        self.service, self.message = service, parked_message

    def run(self, session: Session, recorded: Any) -> None:
        parking.park(self.message, "k", RuntimeError("no"), session, recorded, self.service._handling)

    def split(self) -> Any:
        return (self,)

    def failed(self, error: Exception, *_: Any) -> None:
        raise error


async def test_what_keeps_failing_is_told_of_and_so_is_its_end(
    tmp_path: Path, nats: NatsServer, database_url: str
) -> None:
    counting = Counting()
    counting.broken.add("cart")
    async with running(counting.service(tmp_path, nats.url, database_url=database_url, max_attempts=4)) as service:
        await publish(nats, *(encode(event(merged("cart", number), partitionkey="k")) for number in range(3)))
        await eventually(lambda: calls_and_hurry(service, counting, 2))
        (told,) = await eventually(lambda: said(service, MessageParked))
        assert (told.attempts, told.behind, told.event_partitionkey) == (2, 2, "k")
        assert told.reason == "RuntimeError: cart is broken"
        counting.broken.clear()
        await service.transact(hurry)
        await eventually(lambda: has_counted(service, 3))
        (released,) = await said(service, MessageReleased)
        assert (released.message_id, released.attempts) == (told.message_id, 3)


async def calls_and_hurry(service: Service, counting: Counting, calls: int) -> bool:
    if counting.calls < calls:
        await service.transact(hurry)
    return bool(counting.calls >= calls)


async def test_an_operator_tries_a_parked_message_now_or_gives_it_up(
    tmp_path: Path, nats: NatsServer, database_url: str
) -> None:
    counting = Counting()
    counting.broken |= {"cart", "orders"}
    async with running(counting.service(tmp_path, nats.url, database_url=database_url)) as service:
        await publish(nats, encode(event(merged("cart", 1), partitionkey="k")))
        await publish(nats, encode(event(merged("orders", 1), partitionkey="l")))
        found = await eventually(lambda: two(service))
        await service.transact(far)
        counting.broken.discard("cart")
        await say(nats, RedriveRequested(service="policy", message_id=found["k"], by="user:ada"))
        await eventually(lambda: has_counted(service, 1))
        await publish(nats, encode(event(merged("good", 2), partitionkey="l")))
        order = DiscardRequested(service="policy", message_id=found["l"], by="user:ada", reason="a test")
        await say(nats, order)
        await eventually(lambda: has_counted(service, 2))
        assert await counted(service) == ["cart#1", "good#2"]
        assert [one.message_id for one in await said(service, MessageRedriven)] == [found["k"]]
        assert [one.message_id for one in await said(service, MessageDiscarded)] == [found["l"]]


async def two(service: Service) -> dict[str, str]:
    found = {one.partitionkey: one.id for one in await rows(service)}
    return found if len(found) == 2 else {}


def far(session: Session) -> Generator[Outcome, None, None]:
    from datetime import timedelta

    from entresol_eventing.envelope import now

    session.execute(update(parked).values(retry_at=now() + timedelta(hours=1)))
    yield from ()


async def test_orders_by_type_reach_dead_letters_of_that_type_only(
    tmp_path: Path, nats: NatsServer, database_url: str
) -> None:
    async with running(Counting().service(tmp_path, nats.url, database_url=database_url)) as service:
        await publish(nats, b"{", b"[]")
        await publish(nats, b"}", subject="entresol.intake.change.pushed.x")
        assert await eventually(lambda: dead(service, 2))
        merged_type = "dev.entresol.change.merged.v1"
        await say(nats, DiscardRequested(service="policy", event_type=merged_type, by="user:ada", reason="noise"))
        await eventually(lambda: len_of(service, MessageDiscarded, 2))
        await say(nats, DiscardRequested(service="policy", by="user:ada", reason="the rest"))
        await eventually(lambda: dead(service, 0))


async def dead(service: Service, number: int) -> bool:
    return len([one for one in await rows(service) if one.state == "dead"]) == number


async def len_of(service: Service, kind: type, number: int) -> bool:
    return len(await said(service, kind)) == number


async def test_a_dead_letter_that_can_be_read_by_now_is_handled_once(
    tmp_path: Path, nats: NatsServer, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bug was in the reader: after its end the letter is redriven, and a copy of it comes by the log."""
    import entresol_eventing.consumer as consumer
    from entresol_eventing.envelope import Malformed

    def buggy(_: bytes) -> Any:
        raise Malformed("a bug")

    body = encode(event(merged("cart", 1)))
    async with running(Counting().service(tmp_path, nats.url, database_url=database_url)) as service:
        monkeypatch.setattr(consumer, "decode", buggy)
        await publish(nats, body)
        (dead_letter,) = await eventually(lambda: said(service, MessageQuarantined))
        monkeypatch.undo()
        await say(nats, RedriveRequested(service="policy", message_id=dead_letter.message_id, by="user:ada"))
        await eventually(lambda: has_counted(service, 1))
        await publish(nats, body, encode(event(merged("cart", 2))))
        await eventually(lambda: has_counted(service, 2))
        assert await counted(service) == ["cart#1", "cart#2"]


@pytest.mark.parametrize("hops", [33, 10**30])
async def test_a_loop_is_told_of_although_its_chain_is_too_long(
    tmp_path: Path, nats: NatsServer, database_url: str, hops: int
) -> None:
    """What is said about it belongs to the chain, and must not be taken for another turn of the loop."""
    async with running(Counting().service(tmp_path, nats.url, database_url=database_url)) as service:
        await publish(nats, encode(event(merged("cart", 1), hopcount=hops)))
        await eventually(lambda: said(service, MessageQuarantined))
        (told,) = [one for one in await published(service) if isinstance(one.data, MessageQuarantined)]
        assert told.hopcount <= MAX_HOPS
