"""A bus that lost its disk: nothing is published before the outboxes have refilled it, causes before effects, once."""

import asyncio
import shutil
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from entresol_eventing.envelope import decode, now
from entresol_eventing.log import connect
from entresol_eventing.nats_server import NatsServer
from entresol_eventing.permissions import EVENTS
from entresol_eventing.reactions import Emit
from entresol_eventing.refilling import Kept, NotNeeded, Refill, refill
from entresol_eventing.refilling import merged as merge
from entresol_eventing.replay import replay
from entresol_eventing.service import Service
from entresol_eventing.settings import RuntimeSettings
from entresol_eventing.store import Database
from entresol_eventing.testing import eventually, make_streams, published, running

from libs.eventing.tests.counting import Counting, merged

NOW = now()


def kept(service: str, position: int, key: str, cause: str | None = None, *, after_seconds: float = 0) -> Kept:
    at = NOW + timedelta(seconds=after_seconds)
    return Kept(service, position, key, key, f"/entresol/{service}", cause, at)


def test_an_effect_follows_its_cause_whatever_the_clocks_say() -> None:
    outboxes = {
        "intake": [kept("intake", 1, "a", after_seconds=50), kept("intake", 2, "b", after_seconds=60)],
        "policy": [kept("policy", 1, "a-allowed", "a"), kept("policy", 2, "b-allowed", "b")],
        "provisioning": [kept("provisioning", 1, "b-started", "b-allowed", after_seconds=-9)],
    }
    order = [one.id for one in merge(outboxes, [])]
    assert order == ["a", "a-allowed", "b", "b-allowed", "b-started"]


def test_what_was_seen_keeps_the_order_in_which_it_was_seen() -> None:
    outboxes = {
        "intake": [kept("intake", 1, "a"), kept("intake", 2, "cancelled")],
        "policy": [kept("policy", 1, "allowed", "a", after_seconds=1), kept("policy", 2, "unseen", "a")],
    }
    seen = [("a", "/entresol/intake"), ("allowed", "/entresol/policy"), ("cancelled", "/entresol/intake")]
    assert [one.id for one in merge(outboxes, seen)] == ["a", "allowed", "cancelled", "unseen"]


def test_a_cause_that_no_outbox_has_any_more_holds_nothing_back() -> None:
    outboxes = {"policy": [kept("policy", 1, "allowed", "long ago")]}
    assert [one.id for one in merge(outboxes, [])] == ["allowed"]


def test_outboxes_that_wait_for_each_other_are_put_back_all_the_same() -> None:
    outboxes = {
        "intake": [kept("intake", 1, "a", "d"), kept("intake", 2, "b")],
        "policy": [kept("policy", 1, "c", "b"), kept("policy", 2, "d")],
    }
    assert sorted(one.id for one in merge(outboxes, [])) == ["a", "b", "c", "d"]


async def lose_disk(nats: NatsServer) -> None:
    nats.kill()
    shutil.rmtree(nats.data / "jetstream")
    await asyncio.to_thread(nats.start)
    await asyncio.to_thread(asyncio.run, make_streams(nats))


async def say(service: Service, names: Sequence[str]) -> None:
    def unit(_: Any) -> Any:
        for name in names:
            yield Emit(merged(name), subject=name)

    await service.transact(unit)


async def on_log(nats: NatsServer) -> list[str]:
    connection = await connect(RuntimeSettings(nats_url=nats.url), "admin", "test")
    try:
        info = await connection.jetstream().stream_info(EVENTS)
        return [
            decode(entry.body).id
            async for entries in replay(connection, EVENTS, "test", 0, info.state.last_seq)
            for entry in entries
        ]
    finally:
        await connection.close()


async def put_back(nats: NatsServer, url: str, **options: Any) -> Refill:
    connection = await connect(RuntimeSettings(nats_url=nats.url), "admin", "refill")
    database = Database(url)
    try:
        return await refill(connection, {"policy": database}, **options)
    finally:
        database.close()
        await connection.close()


async def test_nothing_is_published_into_a_lost_log_before_it_is_refilled(
    tmp_path: Path, nats: NatsServer, database_url: str
) -> None:
    service = Counting().service(tmp_path / "data", nats.url, database_url=database_url)
    async with running(service):
        await say(service, [f"before-{number}" for number in range(450)])
        await eventually(partial(counted_log, nats, 450))
        await lose_disk(nats)
        await say(service, ["after"])
        await eventually(lambda: any("refill" in one for one in service.health()["problems"]), seconds=30)
        assert await on_log(nats) == []
        done = await put_back(nats, database_url)
        assert (done.published, done.complete) == (451, True)
        await eventually(lambda: service.health()["ready"], seconds=30)
        await say(service, ["later"])
        said = [event.id for event in await published(service)]
        await eventually(partial(counted_log, nats, 452), seconds=30)
        assert await on_log(nats) == said
        with pytest.raises(NotNeeded):
            await put_back(nats, database_url)


async def test_a_lost_log_shows_although_nothing_is_to_be_said(tmp_path: Path, nats: NatsServer) -> None:
    async with running(Counting().service(tmp_path, nats.url)) as service:
        await say(service, ["before"])
        await eventually(partial(counted_log, nats, 1))
        await lose_disk(nats)
        await eventually(lambda: any("refill" in one for one in service.health()["problems"]), seconds=30)


async def test_a_refill_that_was_interrupted_goes_on_where_it_ended(
    tmp_path: Path, nats: NatsServer, database_url: str
) -> None:
    service = Counting().service(tmp_path / "data", nats.url, database_url=database_url)
    async with running(service):
        await say(service, [f"before-{number}" for number in range(450)])
        await eventually(partial(counted_log, nats, 450))
        said = [event.id for event in await published(service)]
    await lose_disk(nats)

    def interrupt(_: int, __: int) -> None:
        raise KeyboardInterrupt

    assert (await put_back(nats, database_url, preview=True)).missing == {"policy": 450}
    with pytest.raises(KeyboardInterrupt):
        await put_back(nats, database_url, progress=interrupt)
    assert await on_log(nats) == said[:200]
    assert (await put_back(nats, database_url, preview=True)).missing == {"policy": 250}
    assert (await put_back(nats, database_url)).published == 250
    assert await on_log(nats) == said
    async with running(service := Counting().service(tmp_path / "data", nats.url, database_url=database_url)):
        await say(service, ["later"])
        await eventually(partial(counted_log, nats, 451), seconds=30)
    assert (await on_log(nats))[:-1] == said


async def test_a_service_that_nobody_has_met_takes_any_log_for_its_own(tmp_path: Path, nats: NatsServer) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    service = Counting().service(tmp_path / "data", nats.url, database_url=url)
    async with running(service):
        await say(service, ["first"])
        await eventually(partial(counted_log, nats, 1))
    with pytest.raises(NotNeeded):
        await put_back(nats, url)


async def counted_log(nats: NatsServer, count: int) -> bool:
    found = await on_log(nats)
    assert len(found) <= count
    return len(found) == count


async def test_two_senders_may_give_the_same_id(tmp_path: Path, nats: NatsServer) -> None:
    url = f"sqlite:///{tmp_path / 'one.db'}"
    service = Counting().service(tmp_path / "data", nats.url, database_url=url)

    def unit(_: Any) -> Any:
        for source in ("https://one.example", "https://other.example"):
            yield Emit(merged("cart"), subject="cart", id="ünique", source=source)

    async with running(service):
        await service.transact(unit)
        await eventually(partial(counted_log, nats, 2))
