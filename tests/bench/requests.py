"""The main table: how many requests and how fast, idle, full and at half of that, and what each process costs."""

import os
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import disk, floor, machine
from tests.bench.arrivals import arrivals, percentile
from tests.bench.figures import Requests, Row, Share, Spread
from tests.bench.load import Load, Result
from tests.bench.manifests import MANIFESTS
from tests.bench.platform import Platform

CLIENTS = 64
WARM = 300


@dataclass(frozen=True, slots=True)
class Scale:
    repetitions: int = 3
    idle: int = 100
    one: int = 500
    many: int = 4000
    open_seconds: float = 6.0
    floor: int = 10_000


@dataclass(frozen=True, slots=True)
class Run:
    """A run and what it used."""

    result: Result
    usage: machine.Usage

    @property
    def per_second(self) -> float:
        return self.result.per_second

    def ms(self, share: float) -> float:
        return percentile(self.result.latencies, share) * 1e3

    def cost_ms(self, process: str) -> float:
        return self.usage.cores[process] * self.usage.seconds / self.result.count * 1e3


async def observed(platform: Platform, running: Awaitable[Result]) -> Run:
    before = machine.read(platform.processes)
    result = await running
    return Run(result, machine.between(before, machine.read(platform.processes)))


async def measure(platform: Platform, scale: Scale, seed: int) -> tuple[list[Row], dict[str, Any]]:
    """Return the platform's rows, and the parts of `Requests` that tell what bounds it."""
    idle, one, many, half = [], [], [], []
    async with Load(platform.fleet, f"bench-{seed}") as load:
        await load.closed(8, WARM, await_ends=True)
        for _ in range(scale.repetitions):
            idle.append(await observed(platform, load.closed(1, scale.idle, await_ends=True)))
            one.append(await observed(platform, load.closed(1, scale.one, await_ends=False)))
            many.append(await observed(platform, load.closed(CLIENTS, scale.many, await_ends=False)))
        rate = Spread.of(run.per_second for run in many).median / 2
        for repetition in range(scale.repetitions):
            times = arrivals(rate, scale.open_seconds, seed + repetition)
            half.append(await observed(platform, load.open(times, 4 * CLIENTS)))
    rows = [
        _row("idle: one at a time, each to its end", idle),
        _row("1 client, as fast as it is answered", one),
        _row(f"{CLIENTS} clients, as fast as they are answered", many),
        _row(f"{rate:,.0f}/s arriving by chance: half of that", half),
    ]
    shares = [_share(name, many, half) for name in platform.processes]
    return rows, {
        "shares": sorted(shares, key=lambda share: -share.most_ms.median),
        "load": _share("load", many, half),
        "idle_cores": Spread.of(run.usage.idle for run in many),
        "elsewhere_cores": Spread.of(run.usage.elsewhere for run in many),
        "resident_mib": {name: machine.resident_mib(pid) for name, pid in platform.processes.items()},
    }


def _row(what: str, runs: list[Run]) -> Row:
    return Row(
        what=what,
        per_second=Spread.of(run.per_second for run in runs),
        p50_ms=Spread.of(run.ms(0.5) for run in runs),
        p99_ms=Spread.of(run.ms(0.99) for run in runs),
    )


def _share(name: str, many: list[Run], half: list[Run]) -> Share:
    return Share(
        name=name,
        most_ms=Spread.of(run.cost_ms(name) for run in many),
        most_core=Spread.of(run.usage.cores[name] for run in many),
        half_ms=Spread.of(run.cost_ms(name) for run in half),
        half_core=Spread.of(run.usage.cores[name] for run in half),
    )


def floors(scratch: Path, scale: Scale) -> list[Row]:
    """What the parts can do at most, by themselves and in this run."""
    alone = [floor.idle(scratch / f"floor-idle-{one}", 200) for one in range(scale.repetitions)]
    batched = [floor.throughput(scratch / f"floor-full-{one}", scale.floor) for one in range(scale.repetitions)]
    single, grouped = disk.commits_per_second(scratch / "one.db", 1), disk.commits_per_second(scratch / "many.db", 100)
    return [
        Row(
            what=f"nats-py alone, {floor.HOPS} durable hops, one at a time",
            per_second=Spread.of(len(one) / sum(one) for one in alone),
            p50_ms=Spread.of(percentile(one, 0.5) * 1e3 for one in alone),
            p99_ms=Spread.of(percentile(one, 0.99) * 1e3 for one in alone),
        ),
        Row(what=f"nats-py alone, {floor.HOPS} durable hops, batches of {floor.BATCH}", per_second=Spread.of(batched)),
        Row(what="SQLite alone: commits of 1 row", per_second=Spread.of(single)),
        Row(what="SQLite alone: commits of 100 rows", per_second=Spread.of(grouped)),
    ]


def section(platform: Platform, scratch: Path, scale: Scale, seed: int, command: str) -> Requests:
    """Measure all of it on a platform that has just been started."""
    platform.fleet.call("intake", "POST", "/v1/manifests", MANIFESTS)
    rows, bounds = platform.run(measure(platform, scale, seed))
    return Requests(
        command=command,
        database=platform.database,
        machine=machine.description(scratch),
        repetitions=scale.repetitions,
        cores=len(os.sched_getaffinity(0)),
        rows=rows,
        floors=[],
        **bounds,
    )
