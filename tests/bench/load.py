"""The load: requests by HTTP, each timed until its terminal fact is stored on the log."""

import asyncio
import json
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Self

from tests.bench.client import Client
from tests.bench.ends import Ends
from tests.fleet import Fleet

PATIENCE_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class Result:
    seconds: float
    """From the first request to the last end."""
    latencies: list[float]
    """Seconds from when a request was to be sent until its terminal fact was stored, in order of size."""
    accepted: list[float]
    """Seconds until the door had answered, in order of size."""

    @property
    def count(self) -> int:
        return len(self.latencies)

    @property
    def per_second(self) -> float:
        return self.count / self.seconds


class Load:
    """Submits requests under names of its own and sees them end. One run at a time."""

    def __init__(self, fleet: Fleet, name: str) -> None:
        self._fleet = fleet
        self._name = name
        self._number = 0
        self._ends = Ends(fleet.nats.url, "admin", fleet.nats.passwords["admin"], self._on_end)
        self._began: dict[str, float] = {}
        self._early: dict[str, float] = {}
        """Ends that were seen before the door's answer."""
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._all_ended = asyncio.Event()
        self._latencies: list[float] = []
        self._accepted: list[float] = []
        self._last_end = 0.0

    async def __aenter__(self) -> Self:
        await self._ends.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ends.close()

    @property
    def ended(self) -> int:
        """How many requests of the present run have ended."""
        return len(self._latencies)

    def _on_end(self, request_id: str) -> None:
        moment = time.perf_counter()
        began = self._began.pop(request_id, None)
        if began is None:
            self._early[request_id] = moment
        else:
            self._count(began, moment)
            if (waiting := self._waiting.pop(request_id, None)) is not None:
                waiting.set_result(None)

    def _count(self, began: float, ended: float) -> None:
        self._latencies.append(ended - began)
        self._last_end = max(self._last_end, ended)
        if not self._began:
            self._all_ended.set()

    async def _submit(self, client: Client, began: float, *, await_end: bool = False) -> None:
        self._number += 1
        ask = {
            "offering": "thing",
            "project": "bench",
            "environment": "dev",
            "name": f"{self._name}-{self._number:07d}",
            "inputs": {"size": "small"},
        }
        status, body = await client.post("/v1/requests", ask)
        self._accepted.append(time.perf_counter() - began)
        if status != 202:
            raise RuntimeError(f"{status} {body.decode()}")
        request_id: str = json.loads(body)["id"]
        if (early := self._early.pop(request_id, None)) is not None:
            self._count(began, early)
            return
        self._began[request_id] = began
        self._all_ended.clear()
        if await_end:
            self._waiting[request_id] = asyncio.get_running_loop().create_future()
            await self._waiting[request_id]

    async def closed(self, clients: int, count: int, *, await_ends: bool) -> Result:
        """Clients that each send again as soon as the door has answered, or as soon as their request has ended."""
        left = count

        async def work(client: Client) -> None:
            nonlocal left
            while left > 0:
                left -= 1
                await self._submit(client, time.perf_counter(), await_end=await_ends)

        connections = await self._connect(clients)
        return await self._run(time.perf_counter(), connections, [work(client) for client in connections])

    async def open(self, arrivals: Sequence[float], connections: int) -> Result:
        """Requests at times fixed in advance, whatever becomes of earlier ones; timed from when each was to be sent."""
        free: asyncio.LifoQueue[Client] = asyncio.LifoQueue()
        clients = await self._connect(connections)
        for client in clients:
            free.put_nowait(client)
        began = time.perf_counter()

        async def send(client: Client, at: float) -> None:
            await self._submit(client, at)
            free.put_nowait(client)

        async def keep_time() -> None:
            async with asyncio.TaskGroup() as tasks:
                for arrival in arrivals:
                    if (ahead := began + arrival - time.perf_counter()) > 0:
                        await asyncio.sleep(ahead)
                    tasks.create_task(send(await free.get(), began + arrival))

        return await self._run(began, clients, [keep_time()])

    async def _connect(self, count: int) -> list[Client]:
        clients = [Client("127.0.0.1", self._fleet.ports["intake"], self._fleet.token) for _ in range(count)]
        await asyncio.gather(*(client.connect() for client in clients))
        return clients

    async def _run(self, began: float, clients: list[Client], work: list[Coroutine[Any, Any, None]]) -> Result:
        self._latencies, self._accepted = [], []
        self._early.clear()
        async with asyncio.TaskGroup() as tasks:
            for one in work:
                tasks.create_task(one)
        if self._began:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._all_ended.wait()
        for client in clients:
            client.close()
        return Result(self._last_end - began, sorted(self._latencies), sorted(self._accepted))
