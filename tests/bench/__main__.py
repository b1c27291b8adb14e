"""`make bench`: requests per second and latency through five processes with fsync always, and the machine's floor."""

import argparse
import asyncio
import os
import platform
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench import embedded, floor
from tests.bench.requests import MANIFESTS, Bench, Result
from tests.fleet import Fleet


async def measure(fleet: Fleet, name: str, clients: int, count: int, *, one_by_one: bool = False) -> Result:
    async with Bench(fleet, name) as bench:
        return await bench.run(clients, count, one_by_one=one_by_one)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=5000, help="requests of the run with 64 clients")
    parser.add_argument("--only", choices=["requests", "floor", "embedded"], help="measure this alone")
    arguments = parser.parse_args()
    console = Console(width=100)
    console.print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, fsync always")
    with tempfile.TemporaryDirectory(prefix="entresol-bench-") as scratch:
        table = Table("what", "per second", "p50 ms", "p99 ms", title="Request: HTTP accept to terminal fact")
        results: list[Result] = []
        if arguments.only in (None, "requests"):
            results = platform_rows(Path(scratch), arguments.requests, table)
        if arguments.only in (None, "floor"):
            idle = floor.idle(Path(scratch) / "floor-idle", 300)
            table.add_row(
                f"floor: nats-py, {floor.HOPS} durable hops, idle",
                f"{len(idle) / sum(idle):,.0f}",
                f"{idle[len(idle) // 2] * 1e3:.1f}",
                f"{idle[int(len(idle) * 0.99)] * 1e3:.1f}",
            )
            rate = floor.throughput(Path(scratch) / "floor-full", 10_000)
            table.add_row(f"floor: the same in batches of {floor.BATCH}", f"{rate:,.0f}", "", "")
        console.print(table)
        if results:
            console.print(cpu_table(results[-1]))
        if arguments.only in (None, "embedded"):
            ready, resident = embedded.start(Path(scratch) / "embedded")
            console.print(f"embedded platform: ready in {ready:.2f} s, {resident:.0f} MiB resident with its bus")


def platform_rows(scratch: Path, requests: int, table: Table) -> list[Result]:
    with Fleet(scratch / "fleet", forked=False) as fleet:
        fleet.call("intake", "POST", "/v1/manifests", MANIFESTS)
        asyncio.run(measure(fleet, "warm", 8, 200))
        runs = [
            ("idle: one at a time, each to its end", measure(fleet, "idle", 1, 300, one_by_one=True)),
            ("1 client, as fast as it is answered", measure(fleet, "one", 1, requests // 5)),
            ("64 clients, as fast as they are answered", measure(fleet, "many", 64, requests)),
        ]
        results = []
        for what, run in runs:
            result = asyncio.run(run)
            results.append(result)
            table.add_row(
                what,
                f"{result.per_second:,.0f}",
                f"{result.percentile(0.5) * 1e3:.1f}",
                f"{result.percentile(0.99) * 1e3:.1f}",
            )
        memory = {name: fleet.resident_mib(name) for name in [*fleet.ports, "bus"]}
        table.caption = "resident MiB: " + ", ".join(f"{name} {size:.0f}" for name, size in memory.items())
        return results


def cpu_table(result: Result) -> Table:
    table = Table("service", "ms per request", "share of a core", title=f"What bounds it, at {result.clients} clients")
    for name, seconds in sorted(result.cpu.items(), key=lambda one: -one[1]):
        table.add_row(name, f"{seconds / result.count * 1e3:.2f}", f"{seconds / result.seconds:.0%}")
    return table


if __name__ == "__main__":
    main()
