"""The figures in words, as the terminal and the page both show them."""

from tests.bench.arrivals import quarter_means
from tests.bench.figures import Lives, Point, Requests, Row, Share, Soak, Spread


def spread(value: Spread | None, digits: int = 0) -> str:
    """The median, with the least and the most where they differ."""
    if value is None:
        return ""
    middle, least, most = (f"{one:,.{digits}f}" for one in (value.median, value.least, value.most))
    return middle if least == most else f"{middle} ({least}–{most})"


def cells(row: Row) -> tuple[str, str, str, str]:
    return row.what, spread(row.per_second), spread(row.p50_ms, 1), spread(row.p99_ms, 1)


def memory(lives: Lives) -> str:
    return ", ".join(f"{name} {size:,.0f}" for name, size in lives.resident_mib.items())


def percent(value: Spread) -> str:
    return f"{value.median:.0%}"


def share_cells(share: Share) -> tuple[str, str, str, str, str]:
    return (
        share.name,
        spread(share.most_ms, 2),
        percent(share.most_core),
        f"{share.half_ms.median:.2f}",
        percent(share.half_core),
    )


def cost_ms(requests: Requests) -> float:
    """Processor milliseconds of one request in all processes of the platform, at the most requests per second."""
    return sum(share.most_ms.median for share in requests.shares)


def bound(requests: Requests) -> str:
    """What bounds the requests per second, in a sentence."""
    cost = cost_ms(requests)
    load = requests.load
    return (
        f"One request costs {cost:.2f} ms of processor time in all processes together, so {requests.cores} cores that "
        f"did nothing else would end {requests.cores / cost * 1e3:,.0f}/s. The load generator takes "
        f"{load.most_core.median:.0%} of a core ({load.most_ms.median * 1e3:.0f} µs per request), the kernel and other "
        f"programs {requests.elsewhere_cores.median:.0%}, and {requests.idle_cores.median:.0%} of a core was idle."
    )


CURVE_HEAD = ("all ms", "per second", "idle p50 ms", "start s")


def curve_cells(point: Point) -> list[str]:
    """What is stored, the cost by process, and what stands below `CURVE_HEAD`."""
    return [
        f"{point.stored:,}",
        *(f"{value:.2f}" for value in point.ms.values()),
        f"{sum(point.ms.values()):.2f}",
        f"{point.per_second:,.0f}",
        f"{point.p50_ms:.1f}",
        f"{point.start_seconds:.1f}",
    ]


def size_cells(point: Point) -> list[str]:
    """What is stored, and what that takes on disk by process, in MiB."""
    return [f"{point.stored:,}", *(f"{point.database_mib[name]:,.0f}" for name in point.database_mib)]


SOAK_HEAD = ("process", "first quarter MiB", "last quarter MiB", "KiB per 1,000 requests", "files", "threads")


def soak_cells(soak: Soak) -> list[list[str]]:
    """Means of the first and of the last quarter, by process."""
    rows = []
    for name in soak.samples[0].resident_mib:
        first, last = quarter_means([sample.resident_mib[name] for sample in soak.samples])
        files = quarter_means([sample.files[name] for sample in soak.samples])
        threads = quarter_means([sample.threads[name] for sample in soak.samples])
        growth = (last - first) * 1024 / (soak.requests * 0.75 / 1000)
        pairs = [f"{before:.0f} → {after:.0f}" for before, after in (files, threads)]
        rows.append([name, f"{first:.1f}", f"{last:.1f}", f"{growth:+.1f}", *pairs])
    return rows
