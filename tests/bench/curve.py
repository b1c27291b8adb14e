"""Whether a request costs the same however many are stored: the same load after a thousand, ten thousand and more."""

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from entresol_eventing.permissions import SERVICES

from tests.bench import machine
from tests.bench.arrivals import percentile
from tests.bench.figures import Curve, Point
from tests.bench.fill import Filling
from tests.bench.load import Load
from tests.bench.manifests import MANIFESTS
from tests.bench.platform import Platform
from tests.bench.requests import CLIENTS, WARM, Run, observed

REQUEST_BYTES = 45_000
"""What a stored request takes on disk in five databases and on the bus, amply."""
REAL = 1000
"""Requests that are really ended first; what is stored beyond are copies of them."""
ALIKE = 3
"""Runs of which the median counts."""


def levels(most: int) -> list[int]:
    """Powers of ten from a thousand up to that many, and that many itself."""
    powers = [10**one for one in range(3, 1 + int(math.log10(max(most, REAL))))]
    return powers if most <= powers[-1] else [*powers, most]


def measure(platform: Platform, scratch: Path, most: int, requests: int, seed: int, command: str) -> Curve:
    """Fill up to each level, start anew, and measure there."""
    if shutil.disk_usage(scratch).free < most * REQUEST_BYTES:
        raise SystemExit(f"{most:,} requests need {most * REQUEST_BYTES / 2**30:.0f} GiB of disk: see --data")
    platform.fleet.call("intake", "POST", "/v1/manifests", MANIFESTS)
    filling = Filling(platform, REAL, seed, -(-most // REAL))
    points = []
    for level in levels(most):
        filling.fill(platform, level)
        stored = filling.stored
        seconds = filling.start()
        runs, alone = platform.run(_loaded(platform, f"level-{level}", requests))
        points.append(_point(platform, stored, seconds, runs, alone))
        filling.stop()
    return Curve(command=command, database=platform.database, machine=machine.description(scratch), points=points)


async def _loaded(platform: Platform, name: str, requests: int) -> tuple[Sequence[Run], Run]:
    async with Load(platform.fleet, name) as load:
        await load.closed(8, WARM, await_ends=True)
        alone = await observed(platform, load.closed(1, 100, await_ends=True))
        runs = [await observed(platform, load.closed(CLIENTS, requests, await_ends=False)) for _ in range(ALIKE)]
    return runs, alone


def _point(platform: Platform, stored: int, start_seconds: float, runs: Sequence[Run], alone: Run) -> Point:
    data = platform.fleet.data
    return Point(
        stored=stored,
        ms={name: median(run.cost_ms(name) for run in runs) for name in platform.processes},
        per_second=median(run.per_second for run in runs),
        p50_ms=alone.ms(0.5),
        p99_ms=percentile(alone.result.latencies, 0.99) * 1e3,
        resident_mib={name: machine.resident_mib(pid) for name, pid in platform.processes.items()},
        database_mib={
            **{service: machine.size_mib(data / service) for service in SERVICES},
            "bus": machine.size_mib(data / "nats"),
        },
        start_seconds=start_seconds,
    )
