"""Requests from HTTP accept to their terminal fact on the log, through all five services."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import nats

from tests.bench.client import Client
from tests.fleet import Fleet

MANIFESTS: list[dict[str, Any]] = [
    {
        "apiVersion": "entresol.dev/v1",
        "kind": "Offering",
        "metadata": {"name": "thing", "version": "1.0.0"},
        "spec": {
            "inputs": {"type": "object", "properties": {"size": {"enum": ["small", "large"]}}},
            "actions": {
                "create": {
                    "steps": [{"name": "make", "driver": "noop", "with": {"outputs": {"size": "${inputs.size}"}}}]
                }
            },
            "outputs": {"size": "${steps.make.outputs.size}"},
            "entity": {"blueprint": "Resource", "properties": {"size": "${inputs.size}"}},
        },
    },
    {
        "apiVersion": "entresol.dev/v1",
        "kind": "Policy",
        "metadata": {"name": "no-large-things-in-dev"},
        "spec": {
            "rules": [
                {
                    "deny": 'request.environment == "dev" && request.inputs.size == "large"',
                    "because": "dev is for small things",
                }
            ]
        },
    },
    {"apiVersion": "entresol.dev/v1", "kind": "Channel", "metadata": {"name": "log"}, "spec": {"kind": "log"}},
    {
        "apiVersion": "entresol.dev/v1",
        "kind": "Route",
        "metadata": {"name": "completions"},
        "spec": {"on": ["dev.entresol.request.completed.v1"], "channel": "log"},
    },
]


@dataclass(frozen=True, slots=True)
class Result:
    clients: int
    count: int
    seconds: float
    latencies: list[float]
    """Seconds from just before the POST to the terminal fact, sorted."""
    cpu: dict[str, float]

    @property
    def per_second(self) -> float:
        return self.count / self.seconds

    def percentile(self, share: float) -> float:
        return self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))]


class Bench:
    """Submits requests and sees them end. Ends are taken from the log, so they are durable when they count."""

    def __init__(self, fleet: Fleet, name: str) -> None:
        self._fleet = fleet
        self._name = name
        self._sent: dict[str, float] = {}
        self._ended: dict[str, float] = {}
        self._changed = asyncio.Event()

    async def __aenter__(self) -> "Bench":
        fleet = self._fleet
        self._bus = await nats.connect(fleet.nats.url, user="admin", password=fleet.nats.passwords["admin"])
        await self._bus.subscribe("entresol.catalog.request.completed.*", cb=self._on_end)
        await self._bus.flush()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._bus.close()

    async def _on_end(self, message: "nats.aio.msg.Msg") -> None:
        self._ended[message.subject.rsplit(".", 1)[1]] = time.perf_counter()
        self._changed.set()

    async def _submit(self, client: Client, number: int) -> str:
        began = time.perf_counter()
        status, body = await client.post(
            "/v1/requests",
            {
                "offering": "thing",
                "project": "bench",
                "environment": "dev",
                "name": f"{self._name}-{number}",
                "inputs": {"size": "small"},
            },
        )
        if status != 202:
            raise RuntimeError(f"{status} {body.decode()}")
        request_id: str = json.loads(body)["id"]
        self._sent[request_id] = began
        return request_id

    async def _client(self, numbers: "asyncio.Queue[int]", one_by_one: bool) -> None:
        client = Client("127.0.0.1", self._fleet.ports["intake"], self._fleet.token)
        await client.connect()
        while not numbers.empty():
            request_id = await self._submit(client, numbers.get_nowait())
            if one_by_one:
                await self._until(lambda request_id=request_id: request_id in self._ended)  # type: ignore[misc]
        await client.close()

    async def _until(self, done: Callable[[], bool], seconds: float = 120) -> None:
        async with asyncio.timeout(seconds):
            while not done():
                self._changed.clear()
                await self._changed.wait()

    async def run(self, clients: int, count: int, *, one_by_one: bool = False) -> Result:
        """Submit `count` requests; `one_by_one` waits for each one's end before the next (an idle platform)."""
        numbers: asyncio.Queue[int] = asyncio.Queue()
        for number in range(count):
            numbers.put_nowait(number)
        names = [*self._fleet.ports, "bus"]
        before = {name: self._fleet.cpu_seconds(name) for name in names}
        began = time.perf_counter()
        await asyncio.gather(*(self._client(numbers, one_by_one) for _ in range(clients)))
        await self._until(lambda: len(self._sent) == count and self._sent.keys() <= self._ended.keys())
        ended = max(self._ended[one] for one in self._sent)
        return Result(
            clients,
            count,
            ended - began,
            sorted(self._ended[one] - sent for one, sent in self._sent.items()),
            {name: self._fleet.cpu_seconds(name) - before[name] for name in names},
        )
