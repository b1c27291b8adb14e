"""Whether anything grows that should not: memory, open files and threads over many requests."""

import asyncio
import contextlib
import time
from pathlib import Path

from tests.bench import machine
from tests.bench.figures import Sample, Soak
from tests.bench.load import Load
from tests.bench.manifests import MANIFESTS
from tests.bench.platform import Platform
from tests.bench.requests import WARM

IN_FLIGHT = 128
"""Each waits for its end before the next is sent, so what grows is not a queue."""
SAMPLES = 120


def measure(platform: Platform, scratch: Path, requests: int, command: str) -> Soak:
    platform.fleet.call("intake", "POST", "/v1/manifests", MANIFESTS)
    samples, per_second = platform.run(_soak(platform, requests))
    return Soak(
        command=command,
        database=platform.database,
        machine=machine.description(scratch),
        requests=requests,
        per_second=per_second,
        samples=samples,
    )


async def _soak(platform: Platform, requests: int) -> tuple[list[Sample], float]:
    samples: list[Sample] = []
    async with Load(platform.fleet, "soak") as load:
        await load.closed(8, WARM, await_ends=True)
        began = time.perf_counter()

        async def watch() -> None:
            while True:
                if load.ended >= len(samples) * requests / SAMPLES:
                    samples.append(_sample(platform, load.ended, time.perf_counter() - began))
                await asyncio.sleep(0.2)

        watching = asyncio.create_task(watch())
        result = await load.closed(IN_FLIGHT, requests, await_ends=True)
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
    samples.append(_sample(platform, requests, time.perf_counter() - began))
    return samples, result.per_second


def _sample(platform: Platform, requests: int, seconds: float) -> Sample:
    processes = platform.processes
    return Sample(
        requests=requests,
        seconds=round(seconds, 1),
        resident_mib={name: round(machine.resident_mib(pid), 1) for name, pid in processes.items()},
        files={name: machine.files(pid) for name, pid in processes.items()},
        threads={name: machine.threads(pid) for name, pid in processes.items()},
    )
