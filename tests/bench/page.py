"""Draw docs/bench.md and docs/bench.svg from what was measured, and from nothing else."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

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
from tests.bench.figures import Curve, Figures, Lives, Policies, Requests, Section, Soak
from tests.bench.svg import Frame, bars, ceiling, lines, picture

WIDTH = 760.0
CHART = 270.0
INTRODUCTION = """\
# Figures

Written by the bench (`make bench WRITE=1`, `make bench-long WRITE=1`) from what it measured; `bench.json` beside it
holds all of it. Figures are never asserted: they belong to the machine named with them. Run the bench on yours.

A request is counted from when it was to be sent by HTTP until its terminal fact (`request.completed`) is stored on the
log, through all five services: accepted, judged by a policy, planned, run (one step that only records), projected, and
told to a channel. Every commit of a database and every write of the bus is on disk (fsync) before anything follows
from it. The platform is five processes and a bus on one host. Where a figure was measured several times, it is the
median, with the least and the most in brackets.
"""
ELSEWHERE = """\
## Others, for orientation

Measured elsewhere and at another time on two cores, not in this run, and not the same work: five durable steps are not
a request through five services with policy, history, catalog and notification.

| system | five durable steps per second | idle p50 |
|---|---|---|
| Restate 1.7, Python SDK | 216 | 11 ms |
| DBOS 3.4 on PostgreSQL | 79 | 12 ms |
| nats-py alone, batches of 200 | 5,200 | |
"""
_DATABASES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


def write(figures: Figures, docs: Path) -> None:
    """Write the page, its picture, and the figures that they are drawn from."""
    figures.write(docs / "bench.json")
    (docs / "bench.md").write_text(page(figures), encoding="utf-8")
    (docs / "bench.svg").write_text(drawing(figures), encoding="utf-8")


def page(figures: Figures) -> str:
    parts = [INTRODUCTION, "![processor time per request, cost against stored requests, and memory](bench.svg)\n"]
    for requests in (figures.sqlite, figures.postgresql):
        if requests is not None:
            parts.append(_requests(requests))
    if figures.policies is not None:
        parts.append(_policies(figures.policies))
    if figures.lives is not None:
        parts.append(_lives(figures.lives))
    if figures.curve is not None:
        parts.append(_curve(figures.curve))
    if figures.soak is not None:
        parts.append(_soak(figures.soak))
    return "\n".join([*parts, ELSEWHERE])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    ruler = ["---", *["---:"] * (len(head) - 1)]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ruler, *rows))


def _origin(section: Section) -> str:
    machine = ", ".join(f"{name} {value}" for name, value in section.machine.items())
    return f"`{section.command}` at {section.taken_at:%Y-%m-%d %H:%M} UTC; {machine}.\n"


def _requests(requests: Requests) -> str:
    head = ("", "per second", "p50 ms", "p99 ms")
    parts = [
        f"## Requests, on {_DATABASES[requests.database]}\n",
        _table(head, map(cells, requests.rows)),
        "Latencies with arrivals by chance count from the time that was fixed in advance for each, so a slow answer "
        "hides nothing. Clients that send as fast as they are answered build up a queue, which is their latency.\n",
    ]
    if requests.floors:
        parts += [
            "What the parts do at most by themselves, in the same run:\n",
            _table(head, map(cells, requests.floors)),
        ]
    costs = ("process", "ms per request", "of a core", "at half: ms", "of a core")
    shares = [*requests.shares, requests.load.model_copy(update={"name": "(load generator)"})]
    memory = ", ".join(f"{name} {size:.0f}" for name, size in requests.resident_mib.items())
    parts += [
        "### What bounds it\n",
        f"{bound(requests)}\n",
        _table(costs, map(share_cells, shares)),
        f"Resident MiB afterwards: {memory}. {requests.embedded}\n",
        _origin(requests),
    ]
    return "\n".join(parts)


def _policies(policies: Policies) -> str:
    return "\n".join(
        [
            "## Policies\n",
            "Decisions per second of one core, by processor time: policy's own handler with a store in memory. Each "
            "policy that is concerned has three rules to be heard, and a verdict for each of them is told.\n",
            _table(("", "per second"), (cells(row)[:2] for row in (*policies.rows, *policies.floors))),
            "The replay is by the clock: its events come by HTTP from another process, which makes them up in the "
            "size of real ones.\n",
            _origin(policies),
        ]
    )


def _lives(lives: Lives) -> str:
    return "\n".join(
        [
            "## Provisioning\n",
            "The service alone on a real bus, by the clock: what intake and policy say is published ahead. Each run is "
            "a request with one step, from allowed to succeeded; each comparison is recorded.\n",
            _table(("", "per second"), (cells(row)[:2] for row in (*lives.rows, *lives.floors))),
            f"Resident MiB of the process, the bench's part included: {memory(lives)}.\n",
            _origin(lives),
        ]
    )


def _curve(curve: Curve) -> str:
    return "\n".join(
        [
            "## Cost against stored requests\n",
            "The platform is filled by copy: a thousand requests are really ended, then their rows in all five "
            "databases and their messages on the bus are written again under other ids, names and times, by plain SQL, "
            "with the services stopped. Then everything is started anew and measured. Processor ms per request:\n",
            _table(("stored", *curve.points[0].ms, *CURVE_HEAD), map(curve_cells, curve.points)),
            "What that takes on disk, in MiB, with what was measured at the levels before:\n",
            _table(("stored", *curve.points[0].database_mib), map(size_cells, curve.points)),
            _origin(curve),
        ]
    )


def _soak(soak: Soak) -> str:
    return "\n".join(
        [
            f"## Memory over {soak.requests:,} requests\n",
            f"{soak.per_second:,.0f} requests per second, as many in flight all the time; means of quarters.\n",
            _table(SOAK_HEAD, soak_cells(soak)),
            _origin(soak),
        ]
    )


def drawing(figures: Figures) -> str:
    """The charts of what was measured, one below the other."""
    charts: list[Callable[[float], tuple[list[str], float]]] = []
    for requests in (figures.sqlite, figures.postgresql):
        if requests is not None:
            charts.append(lambda y, found=requests: _costs(found, y))  # type: ignore[misc]
    if (curve := figures.curve) is not None:
        charts.append(lambda y: (_cost_curve(curve, y), CHART))
    if (soak := figures.soak) is not None:
        charts.append(lambda y: (_memory(soak, y), CHART))
    parts: list[str] = []
    y = 10.0
    for chart in charts:
        drawn, height = chart(y)
        parts += drawn
        y += height + 24
    return picture(WIDTH, y, parts)


def _costs(requests: Requests, y: float) -> tuple[list[str], float]:
    title = f"Processor time per request on {_DATABASES[requests.database]}"
    rows = {share.name: (share.most_ms.median, share.half_ms.median) for share in requests.shares}
    most = requests.rows[2].per_second
    rates = (0.0, 0.0) if most is None else (most.median, most.median / 2)
    kinds = (f"at the most, {rates[0]:,.0f}/s", f"at half of it, {rates[1]:,.0f}/s")
    return bars(20, y, WIDTH - 40, title, rows, kinds, "ms")


def _cost_curve(curve: Curve, y: float) -> list[str]:
    series = {
        name: [(float(point.stored), point.ms[name]) for point in curve.points]
        for name in sorted(curve.points[0].ms, key=lambda name: -curve.points[0].ms[name])
    }
    return _lines(y, "Processor time per request, by what is stored already", series, "ms", "stored requests", True)


def _memory(soak: Soak, y: float) -> list[str]:
    series = {
        name: [(float(sample.requests), sample.resident_mib[name]) for sample in soak.samples]
        for name in soak.samples[0].resident_mib
    }
    return _lines(y, f"Resident memory over {soak.requests:,} requests", series, "MiB", "requests", False)


def _lines(
    y: float, title: str, series: dict[str, list[tuple[float, float]]], unit: str, below: str, logarithmic: bool
) -> list[str]:
    across = [x for points in series.values() for x, _ in points]
    most = ceiling(max(value for points in series.values() for _, value in points))
    frame = Frame(20, y, WIDTH - 40, CHART, min(across), max(across), most, logarithmic)
    return lines(frame, title, series, unit, below)
