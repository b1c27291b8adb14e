"""The live stream, over real HTTP: in order, resumed without a gap, filtered, scoped, and ended with its token."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from entresol_catalog.http import tail
from entresol_contracts import events as facts
from entresol_eventing.testing import event

Item = tuple[int, str, dict[str, Any]]


class Reader:
    """Reads server-sent events one by one."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()
        self.comments: list[str] = []

    async def next(self, seconds: float = 5) -> Item:
        return await asyncio.wait_for(self._next(), seconds)

    async def take(self, count: int) -> list[Item]:
        return [await self.next() for _ in range(count)]

    async def _next(self) -> Item:
        fields: dict[str, str] = {}
        async for line in self._lines:
            name, _, value = line.partition(": ")
            if not line and fields:
                return int(fields["id"]), fields["event"], json.loads(fields["data"])
            if line.startswith(":"):
                self.comments.append(line)
            elif line:
                fields[name] = value
        raise EOFError


@asynccontextmanager
async def streaming(catalog: Any, query: str = "", who: str = "admin", **headers: str) -> AsyncIterator[Reader]:
    async with catalog.live(who) as client, client.stream("GET", f"/v1/stream{query}", headers=headers) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Reader(response)


async def test_a_stream_tells_what_happens_from_now_on(catalog: Any, traffic: type[Any]) -> None:
    before, after = traffic(), traffic()
    await catalog.project(before.submitted())
    async with streaming(catalog) as reader:
        submitted = after.submitted()
        await catalog.project(submitted)
        _, kind, envelope = await reader.next()
        assert (kind, envelope["id"], envelope["data"]["request_id"]) == (submitted.type, submitted.id, after.id)


async def test_a_stream_goes_on_where_it_was_cut(catalog: Any, traffic: type[Any]) -> None:
    one = traffic()
    chain = one.whole()
    await catalog.project(*chain[:2])
    async with streaming(catalog, f"?after=0&request={one.id}") as reader:
        first = await reader.take(2)
    await catalog.project(*chain[2:4])
    async with streaming(catalog, f"?after=0&request={one.id}", **{"Last-Event-ID": str(first[-1][0])}) as reader:
        second = await reader.take(2)
        await catalog.project(*chain[4:])
        third = await reader.take(3)
    items = first + second + third
    assert [item[2]["id"] for item in items][:6] == [item.id for item in chain]
    assert items[6][1] == "dev.entresol.request.completed.v1"
    assert [item[0] for item in items] == sorted({item[0] for item in items})


async def test_a_stream_is_filtered_by_type_and_project(catalog: Any, traffic: type[Any]) -> None:
    mine, other = traffic("shop"), traffic("bank")
    async with streaming(catalog, "?type=request.denied&type=request.allowed&project=shop") as reader:
        await catalog.project(mine.submitted(), other.submitted(), other.allowed(), mine.denied())
        _, kind, envelope = await reader.next()
        assert (kind, envelope["data"]["project"]) == ("dev.entresol.request.denied.v1", "shop")


async def test_a_stream_shows_only_projects_in_reach(catalog: Any, traffic: type[Any]) -> None:
    mine, other = traffic("shop"), traffic("bank")
    async with streaming(catalog, who="shop") as live, streaming(catalog, "?after=0", who="shop") as replayed:
        await catalog.project(other.submitted(), mine.submitted(), event(facts.TokenRevoked(token_id="x")))
        for reader in (live, replayed):
            assert (await reader.next())[2]["data"]["request_id"] == mine.id


async def test_a_stream_shows_locks_of_projects_in_reach_and_of_all(catalog: Any) -> None:
    def placed(lock_id: str, **scope: str) -> Any:
        return facts.LockPlaced(lock_id=lock_id, scope=facts.Scope(**scope), reason="r", by="user:ada", exempt=[])

    locks = [placed("other", project="bank"), placed("all", environment="prod"), placed("mine", project="shop")]
    async with streaming(catalog, who="shop") as live, streaming(catalog, "?after=0", who="shop") as replayed:
        await catalog.project(*map(event, locks), event(facts.LockLifted(lock_id="other", by="user:ada")))
        await catalog.project(event(facts.LockLifted(lock_id="all", by="user:ada")))
        for reader in (live, replayed):
            assert [item[2]["data"]["lock_id"] for item in await reader.take(3)] == ["all", "mine", "all"]


async def test_a_silent_stream_says_that_it_is_alive_and_ends_with_its_token(catalog: Any) -> None:
    async with streaming(catalog, "?type=request.denied", who="viewer") as reader:
        await catalog.project(event(facts.TokenRevoked(token_id="viewer")))
        try:
            await reader.next()
        except EOFError:
            ended = True
        assert ended
    assert reader.comments[0] == ": connected"


async def test_a_follower_that_fell_behind_misses_nothing(catalog: Any, traffic: type[Any], monkeypatch: Any) -> None:
    monkeypatch.setattr(tail, "KEPT_EVENTS", 20)
    chains = [traffic(name=f"n{number}") for number in range(150)]
    events = [chain.submitted() for chain in chains]
    async with streaming(catalog, "?type=request.submitted") as reader:
        for start in range(0, len(events), 10):
            await catalog.project(*events[start : start + 10])
        assert [item[2]["id"] for item in await reader.take(len(events))] == [one.id for one in events]


async def test_streams_end_when_the_service_does(catalog: Any, traffic: type[Any]) -> None:
    one = traffic()
    async with streaming(catalog) as reader:
        await catalog.project(one.submitted())
        await reader.next()
        await catalog.service.stop()
        try:
            await reader.next()
        except EOFError:
            ended = True
        assert ended
    await catalog.service.start()
