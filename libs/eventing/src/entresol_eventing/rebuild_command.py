"""`entresol-<service> rebuild`: the same with the service's own settings, where only its image is at hand."""

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import nats.errors

from entresol_eventing.log import connect
from entresol_eventing.rebuilding import Progress, Projection, Rebuild, Rebuilt, Refused
from entresol_eventing.run import read
from entresol_eventing.settings import RuntimeSettings
from entresol_eventing.store import Database
from entresol_eventing.telemetry import configure_logging

S = TypeVar("S", bound=RuntimeSettings)

SAME, DIFFERENT, INVALID = 0, 1, 2
SHOWN = 20
EVERY_SECONDS = 1.0
CONNECT_SECONDS = 15.0

HELP = """Fold the whole log once more, beside the live projection, and put the result in its place.
The service may run or not: the exchange is one transaction; a running service waits for it with its next batch.
With --compare nothing is changed: the two are compared at the same position of the log.
Exit codes: 0 the same, or replaced; 1 there are differences; 2 it can't be done, and why."""


async def rebuild(
    projection: Projection,
    settings: RuntimeSettings,
    *,
    user: str,
    compare: bool,
    limit: int = SHOWN,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Rebuilt:
    """Compare or replace the projection in the database that the settings name; raise Refused if that can't be."""
    async with asyncio.timeout(CONNECT_SECONDS):  # the client itself would try for ever
        connection = await connect(settings, user, "rebuild")
    live = Database(settings.database_for(projection.service))
    scratch = Path(tempfile.mkdtemp(prefix="entresol-rebuild-", dir=settings.data if settings.data.is_dir() else None))
    try:
        work = Rebuild(projection, connection, live, scratch, progress)
        try:
            return await (work.compare(limit) if compare else work.replace())
        finally:
            work.close()
    finally:
        await connection.close()
        live.close()
        shutil.rmtree(scratch, ignore_errors=True)


def document(result: Rebuilt) -> dict[str, Any]:
    """The result as JSON."""
    comparison = result.comparison
    whole: dict[str, Any] = {
        "position": result.position,
        "events": result.events,
        "copies": result.copies,
        "unreadable": result.unreadable,
        "failed": result.failed,
        "failures": result.failures,
        "seconds": round(result.seconds, 3),
    }
    if comparison is None:
        return {"replaced": True, **whole}
    listed = [
        {"table": one.table, "key": one.key, "field": one.field, "live": one.live, "rebuilt": one.rebuilt}
        for one in comparison.differences
    ]
    return {
        "same": comparison.count == 0,
        **whole,
        "rows": comparison.rows,
        "differences": comparison.count,
        "by_table": comparison.by_table,
        "first_differences": listed,
    }


def lines(service: str, result: Rebuilt) -> list[str]:
    """The result for people."""
    read_so_far = f"{result.events:,} events up to position {result.position:,} in {result.seconds:.1f} s"
    notes = [
        *([f"  {result.copies:,} copies were passed over"] if result.copies else []),
        *([f"  {result.unreadable:,} messages are no events of the contract"] if result.unreadable else []),
        *([f"  {result.failed:,} events can't be folded:"] if result.failed else []),
        *(f"    {one}" for one in result.failures),
    ]
    comparison = result.comparison
    if comparison is None:
        return [f"replaced the projection of {service} by one rebuilt from {read_so_far}", *notes]
    rows = sum(comparison.rows.values())
    if not comparison.count:
        return [f"the same: {rows:,} rows of {service}, rebuilt from {read_so_far}", *notes]
    tables = ", ".join(f"{count:,} in {table}" for table, count in comparison.by_table.items())
    more = comparison.count - len(comparison.differences)
    return [
        f"{comparison.count:,} differences in {rows:,} rows of {service} ({tables}), rebuilt from {read_so_far}",
        *notes,
        *(f"  {one}" for one in comparison.differences),
        *([f"  … and {more:,} more"] if more else []),
    ]


def passed(progress: Progress) -> str:
    """One line of progress."""
    left = progress.seconds_left
    eta = f", {left:.0f} s left" if left is not None else ""
    return f"position {progress.position:,} of {progress.until:,}, {progress.rate:,.0f} events/s{eta}"


def main(projection: Callable[[S], Projection], settings: type[S], arguments: Sequence[str]) -> int:
    """Return the exit code."""
    name = settings.model_config.get("env_prefix", "").lower().strip("_").replace("_", "-")
    parser = argparse.ArgumentParser(
        prog=f"{name} rebuild", description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--compare", action="store_true", help="only say where the live projection differs")
    parser.add_argument("--limit", type=int, default=SHOWN, help="differences that are listed; all are counted")
    parser.add_argument("--output", choices=["text", "json"], default="text")
    chosen = parser.parse_args(arguments)
    own = read(settings)
    configure_logging("WARNING", "text")
    said_at = [time.monotonic()]

    def say(progress: Progress) -> None:
        if time.monotonic() - said_at[0] >= EVERY_SECONDS:
            said_at[0] = time.monotonic()
            print(passed(progress), file=sys.stderr, flush=True)

    built = projection(own)
    try:
        work = rebuild(built, own, user=built.service, compare=chosen.compare, limit=chosen.limit, progress=say)
        result = asyncio.run(work)
    except Refused as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        return INVALID
    except (OSError, nats.errors.Error) as error:
        print(f"error: the bus can't be read: {error or type(error).__name__}", file=sys.stderr)
        return INVALID
    if chosen.output == "json":
        print(json.dumps(document(result), indent=2, ensure_ascii=False))
    else:
        print("\n".join(lines(built.service, result)))
    return DIFFERENT if result.comparison is not None and result.comparison.count else SAME
