"""Run a platform on this machine: up, down, demo."""

import os
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from entresol.commands.manifests import checked, starter_directory
from entresol.embedded.home import DEFAULT_PORT, Home, home
from entresol.failures import Code, Failure
from entresol.session import Session
from entresol.terminal import Terminal, clean, fields

Data = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="DIR", envvar="ENTRESOL_DATA", help="Where everything is kept; ~/.local/share/entresol."
    ),
]


def up(
    session: Session,
    data: Data = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0 takes a free one.")] = DEFAULT_PORT,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    bare: Annotated[bool, typer.Option("--bare", help="Without the starter offerings.")] = False,
    log_level: Annotated[str, typer.Option(help="DEBUG, INFO, WARNING or ERROR; the log goes to stderr.")] = "WARNING",
) -> None:
    """Run the whole platform in the foreground: the bus, five services, the HTTP doors. No container, no cluster.

    The first start applies the starter offerings. Ctrl-C, SIGTERM or `entresol down` end it in order; the next start
    goes on where it ended.

    [bold]Examples[/bold]

      entresol up

      entresol up --data ./try --port 0 --output json      (one JSON line when ready: url, token_file, pid, data)
    """
    import uvloop

    began = time.monotonic()
    where = home(data)
    with where.claimed():
        uvloop.run(_serve(session.terminal, where, host, port, bare=bare, log_level=log_level, began=began))


async def _serve(
    terminal: Terminal, where: Home, host: str, port: int, *, bare: bool, log_level: str, began: float
) -> None:
    import asyncio

    from entresol_eventing.run import stop_event, tune, watch_loop
    from entresol_eventing.telemetry import configure_logging

    from entresol.embedded.platform import Platform

    configure_logging(log_level, "text")
    stopping = stop_event()
    platform = Platform(where.data, host=host, port=port)
    starting = asyncio.create_task(platform.start())
    interrupted = asyncio.create_task(stopping.wait())
    await asyncio.wait({starting, interrupted}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        return
    await starting
    try:
        watch_loop(asyncio.get_running_loop())
        tune()
        applied = None if bare else await asyncio.to_thread(_apply_starter, terminal, where, platform.url)
        where.advertise(platform.url)
        _announce(terminal, where, platform.url, time.monotonic() - began, applied)
        await interrupted
        terminal.warn(Text("ending: finishing what was begun …", style="dim"))
    finally:
        await platform.stop()


def _apply_starter(terminal: Terminal, where: Home, url: str) -> int | None:
    """Publish the starter platform once; how many manifests, None if that was done before."""
    from entresol.doors.client import Client

    if where.starter_mark.exists():
        return None
    try:
        manifests = checked([starter_directory()])
        with Client(url, where.token()) as client:
            client.apply([dict(manifest.document) for manifest in manifests])
    except Failure as failure:
        terminal.warn(Text(f"the starter platform could not be applied: {clean(failure.message)}", style="yellow"))
        for hint in failure.hints:
            terminal.warn(Text(clean(f"  {hint}")))
        return None
    where.starter_mark.touch()
    return len(manifests)


def _announce(terminal: Terminal, where: Home, url: str, seconds: float, applied: int | None) -> None:
    document = {"url": url, "token_file": str(where.token_file), "pid": os.getpid(), "data": str(where.data)}
    if terminal.json:
        terminal.line(document, "")
        return
    own = where.data == home().data
    use = "" if own else f"ENTRESOL_DATA={where.data} "
    starter = f"{applied} manifests applied" if applied is not None else None
    terminal.out.print(Text.assemble("Entresol is ready at ", (url, "bold"), f"  ({seconds:.1f} s)"))
    terminal.out.print(
        fields([("  data", str(where.data)), ("  token", str(where.token_file)), ("  starter", starter)])
    )
    terminal.out.print("Next, in another terminal:")
    for line in ("status", "catalog get", "request --help", "events --follow"):
        terminal.out.print(f"  {use}entresol {line}")
    terminal.out.print(Text("Ctrl-C ends it in order.", style="dim"))


def down(session: Session, data: Data = None) -> None:
    """End the platform that runs on the data directory, in order; nothing that was accepted is lost.

    [bold]Example[/bold]   entresol down
    """
    where = home(data)
    ended = where.end(grace_seconds=30.0)
    said = f"ended the platform on {where.data}" if ended else f"no platform runs on {where.data}"
    session.terminal.result({"ended": ended, "data": str(where.data)}, Text(clean(said)))


def demo(
    session: Session,
    keep: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep everything in this new directory.")] = None,
) -> None:
    """Run the main job on real input, from a webhook to a repository, and check every outcome.

    Starts a platform of its own in a temporary directory, so it disturbs nothing; exit code 1 if anything is off.

    [bold]Example[/bold]   entresol demo
    """
    from entresol.demo.story import tell

    if not tell(session.terminal, keep):
        raise typer.Exit(Code.ENDED_BADLY)
