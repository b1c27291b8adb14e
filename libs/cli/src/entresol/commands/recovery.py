"""Put right what was lost: rebuild a projection from the log, refill a log from the outboxes."""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.text import Text

from entresol.commands.platform import Data
from entresol.embedded.home import home
from entresol.failures import Code, Failure
from entresol.session import Session
from entresol.terminal import Terminal, clean, table

if TYPE_CHECKING:
    from entresol_eventing.rebuilding import Rebuilt
    from entresol_eventing.refilling import Refill


def rebuild(
    session: Session,
    what: Annotated[Literal["catalog", "policy"], typer.Argument(help="Whose projection.", show_default=False)],
    compare: Annotated[bool, typer.Option("--compare", help="Change nothing; say where the live one differs.")] = False,
    limit: Annotated[int, typer.Option(min=0, help="Differences that are listed; all are counted.")] = 20,
    data: Data = None,
) -> None:
    """Fold the whole log once more, and put the result in the place of the live projection; or compare the two.

    The platform may run or not: the comparison is of one moment, and the exchange is one transaction, for which a
    running service waits with its next batch. Readers see what was before until it is done. Where a service runs by
    itself, its own program does the same with its own settings: entresol-catalog rebuild [--compare].

    Of policy, that is what it knows of others: policies, windows and quotas in force, the catalog, resources. What it
    has decided itself, locks and waivers are left as they are.

    Exit code 0: the same, or replaced; 1: there are differences; 2: it can't be done, and why.

    [bold]Examples[/bold]

      entresol rebuild catalog --compare

      entresol rebuild catalog

      entresol rebuild policy --compare
    """
    import nats.errors
    from entresol_eventing import rebuild_command
    from entresol_eventing.rebuilding import Progress, Refused
    from entresol_eventing.telemetry import configure_logging

    from entresol.embedded import recovery

    where = home(data)
    configure_logging("ERROR", "text")
    if compare and what not in recovery.urls(where.data):
        raise Failure(f"there is no {what} in {where.data}", Code.NOT_FOUND)

    async def run(say: Callable[[Progress], None]) -> "Rebuilt":
        async with recovery.reading(where) as bus:
            settings = recovery.service_settings(what, data=where.data / what, database_url="", **bus)
            projection = import_module(f"entresol_{what}.app").rebuildable(settings)
            return await rebuild_command.rebuild(
                projection, settings, user="subscriber", compare=compare, limit=limit, progress=say
            )

    try:
        with _progress(session.terminal, "reading the log") as draw:
            result = asyncio.run(run(lambda one: draw(one.position, one.until, rebuild_command.passed(one))))
    except Refused as refusal:
        raise Failure(str(refusal), Code.INVALID) from None
    except (OSError, nats.errors.Error) as error:
        raise Failure(f"the bus can't be read: {error or type(error).__name__}", Code.UNREACHABLE) from None
    said = rebuild_command.lines(what, result)
    session.terminal.result(rebuild_command.document(result), *(Text(clean(line)) for line in said))
    if result.comparison is not None and result.comparison.count:
        raise typer.Exit(Code.ENDED_BADLY)


def refill(
    session: Session,
    preview: Annotated[bool, typer.Option("--preview", help="Change nothing; count what the log lacks.")] = False,
) -> None:
    """Put back what a bus has lost with its disk: the events that the services have kept, causes before effects.

    For services that run by themselves, running or not; they wait for it. Settings come from their environment:
    ENTRESOL_STREAMS_NATS_URL and _NATS_PASSWORD for the bus (an administrator's), ENTRESOL_<SERVICE>_DATABASE_URL or
    _DATA for the five databases. `entresol up` does this by itself. What was interrupted goes on when it is repeated.

    [bold]Examples[/bold]

      entresol refill --preview

      entresol refill
    """
    import nats.errors
    from entresol_eventing import rebuild_command
    from entresol_eventing.log import connect
    from entresol_eventing.permissions import SERVICES
    from entresol_eventing.refilling import Disturbed, NotNeeded
    from entresol_eventing.refilling import refill as put_back
    from entresol_eventing.store import Unusable
    from entresol_eventing.telemetry import configure_logging
    from nats.js.errors import NotFoundError

    from entresol.embedded import recovery

    if "ENTRESOL_STREAMS_NATS_URL" not in os.environ:
        raise Failure(
            "which bus? ENTRESOL_STREAMS_NATS_URL is not set",
            Code.INVALID,
            hints=("A platform that `entresol up` runs refills its bus by itself.",),
        )
    configure_logging("ERROR", "text")
    bus = recovery.streams_settings()
    urls = {service: recovery.service_settings(service).database_for(service) for service in SERVICES}

    async def run(say: Callable[[int, int], None]) -> "Refill":
        async with asyncio.timeout(rebuild_command.CONNECT_SECONDS):
            connection = await connect(bus, "admin", "refill")
        try:
            with recovery.opened(urls) as databases:
                return await put_back(
                    connection, databases, retention_days=bus.retention_days, preview=preview, progress=say
                )
        finally:
            await connection.close()

    try:
        with _progress(session.terminal, "refilling the log") as draw:
            done = asyncio.run(run(lambda count, of: draw(count, of, f"{count:,} of {of:,} events")))
    except NotNeeded as unneeded:
        session.terminal.result({"needed": False}, Text(str(unneeded)))
        return
    except Unusable as error:
        raise Failure(str(error), Code.ENDED_BADLY) from None
    except Disturbed as error:
        raise Failure(str(error), Code.ENDED_BADLY, hints=("Repeat it: it goes on where it ended.",)) from None
    except NotFoundError:
        hint = "Run the bootstrap of the streams first, as at installation."
        raise Failure("the bus has no stream EVENTS", Code.NOT_FOUND, hints=(hint,)) from None
    except (OSError, nats.errors.Error) as error:
        raise Failure(f"the bus can't be reached: {error or type(error).__name__}", Code.UNREACHABLE) from None
    _tell(session.terminal, done, preview)


def _tell(terminal: Terminal, done: "Refill", preview: bool) -> None:
    rows = [(service, f"{done.kept[service]:,}", f"{done.missing[service]:,}") for service in done.kept]
    document = {
        "needed": True,
        "preview": preview,
        "kept": done.kept,
        "missing": done.missing,
        "published": done.published,
        "complete": done.complete,
    }
    said = (
        f"{sum(done.missing.values()):,} events would be put back" if preview else f"put back {done.published:,} events"
    )
    whole = "" if done.complete else "; the outboxes no longer go back to the beginning, so neither will the log"
    terminal.result(document, table("service", "kept", "not on the log", rows=rows), "", Text(said + whole))


@contextmanager
def _progress(terminal: Terminal, title: str) -> Iterator[Callable[[int, int, str], None]]:
    """Draws a bar on a terminal's stderr, nothing elsewhere."""
    if not terminal.err.is_terminal:
        yield lambda _position, _until, _text: None
        return
    from rich.progress import BarColumn, Progress, TextColumn

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[text]}"),
        console=terminal.err,
        transient=True,
    ) as bar:
        task = bar.add_task(title, total=None, text="")
        yield lambda position, until, text: bar.update(task, completed=position, total=until, text=text)
