"""The figures as a terminal shows them."""

from rich.console import Console
from rich.table import Table

from tests.bench.cells import (
    CURVE_HEAD,
    SOAK_HEAD,
    bound,
    cells,
    curve_cells,
    memory,
    share_cells,
    size_cells,
    soak_cells,
)
from tests.bench.figures import Curve, Lives, Policies, Requests, Soak


def show_requests(console: Console, requests: Requests) -> None:
    table = Table("what", "per second", "p50 ms", "p99 ms", title="A request: HTTP accept to terminal fact stored")
    for row in requests.rows:
        table.add_row(*cells(row))
    table.add_section()
    for row in requests.floors:
        table.add_row(*cells(row))
    console.print(table)
    costs = Table("process", "ms/request", "of a core", "at half: ms", "of a core", title="What bounds it")
    for share in [*requests.shares, requests.load]:
        costs.add_row(*share_cells(share))
    console.print(costs)
    console.print(bound(requests))
    console.print("resident MiB: " + ", ".join(f"{name} {size:.0f}" for name, size in requests.resident_mib.items()))
    if requests.embedded:
        console.print(requests.embedded)


def show_policies(console: Console, policies: Policies) -> None:
    table = Table("what", "per second", title="Policies: decisions of one core, and a draft run over the past")
    for row in (*policies.rows, *policies.floors):
        table.add_row(*cells(row)[:2])
    console.print(table)


def show_lives(console: Console, lives: Lives) -> None:
    table = Table("what", "per second", title="Provisioning: runs by driver, and comparisons with the world")
    for row in (*lives.rows, *lives.floors):
        table.add_row(*cells(row)[:2])
    console.print(table)
    console.print(f"Resident MiB: {memory(lives)}")


def show_curve(console: Console, curve: Curve) -> None:
    table = Table("stored", *curve.points[0].ms, *CURVE_HEAD, title="Processor ms per request")
    sizes = Table("stored", *curve.points[0].database_mib, title="On disk, MiB")
    for point in curve.points:
        table.add_row(*curve_cells(point))
        sizes.add_row(*size_cells(point))
    console.print(table)
    console.print(sizes)
    for point in curve.points:
        memory = ", ".join(f"{name} {size:,.0f}" for name, size in point.resident_mib.items())
        console.print(f"{point.stored:,} stored: resident MiB: {memory}")


def show_soak(console: Console, soak: Soak) -> None:
    table = Table(*SOAK_HEAD, title=f"{soak.requests:,} requests at {soak.per_second:,.0f}/s")
    for row in soak_cells(soak):
        table.add_row(*row)
    console.print(table)
