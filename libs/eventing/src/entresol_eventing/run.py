"""Run services in a process: one event loop, one HTTP server, one reaction to SIGTERM."""

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import uvicorn
import uvloop
from pydantic import ValidationError
from starlette.types import ASGIApp

from entresol_eventing import failpoints
from entresol_eventing.http import health_app
from entresol_eventing.service import Service
from entresol_eventing.settings import RuntimeSettings
from entresol_eventing.telemetry import Telemetry, configure_logging

S = TypeVar("S", bound=RuntimeSettings)
log = logging.getLogger(__name__)

STUCK_SECONDS = 30.0
EXIT_STUCK = 70
EXIT_FENCED = 75
"""Another instance has taken over; started again, this one waits for its turn."""


class Server(uvicorn.Server):
    """uvicorn without signal handlers of its own: the process has one of ours."""

    def install_signal_handlers(self) -> None:
        return

    def capture_signals(self):  # type: ignore[no-untyped-def]
        from contextlib import nullcontext

        return nullcontext()


def server(app: ASGIApp, host: str, port: int) -> Server:
    """A server for the app, not started; `await serve()` runs it until `should_exit` is set."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=5,
        timeout_keep_alive=60,
        lifespan="off",
    )
    return Server(config)


def watch_loop(loop: asyncio.AbstractEventLoop, *, stuck_seconds: float = STUCK_SECONDS) -> None:
    """End the process if the event loop does not turn for that long: a supervisor can restart what has ended."""
    turned = [time.monotonic()]

    def turn() -> None:
        turned[0] = time.monotonic()

    def watch() -> None:
        never = threading.Event()
        while not loop.is_closed():
            before = time.monotonic()
            never.wait(1.0)  # not time.sleep, which fails when a library that shifts clocks is loaded
            if time.monotonic() - before > 5.0:  # the whole process was frozen, not only the loop
                turned[0] = time.monotonic()
                continue
            if time.monotonic() - turned[0] > stuck_seconds:
                print("the event loop is stuck; the process ends", file=sys.stderr, flush=True)
                os._exit(EXIT_STUCK)
            try:
                loop.call_soon_threadsafe(turn)
            except RuntimeError:
                return

    threading.Thread(target=watch, name="loop-watchdog", daemon=True).start()


def tune() -> None:
    """Adapt the interpreter to a process that allocates much and has a loop and writers side by side.

    What exists after start lives as long as the process, so the collector need not look at it again; and the loop is
    let in between the writer's steps within a millisecond.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    sys.setswitchinterval(0.001)


def stop_event() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set; a second signal ends the process at once."""
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()

    def on_signal() -> None:
        if stopping.is_set():
            os._exit(130)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    return stopping


async def serve(service: Service) -> None:
    """Run one service until SIGTERM or SIGINT, then drain: the door first, so that nothing new comes in.

    Exits with EXIT_FENCED if another instance has taken over.
    """
    stopping = stop_event()
    watch_loop(asyncio.get_running_loop())
    await service.start()
    tune()
    http = server(service.http or health_app(service), service.settings.host, service.settings.port)
    serving = asyncio.create_task(http.serve())
    ends = {serving, asyncio.create_task(stopping.wait()), asyncio.create_task(service.fenced.wait())}
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    service.announce_stop()
    http.should_exit = True
    await serving
    await service.stop()
    if service.fenced.is_set():
        sys.exit(EXIT_FENCED)


def read(settings: type[S]) -> S:
    """What the environment says; exits with 2 if it does not make sense."""
    try:
        return settings()
    except ValidationError as error:
        prefix = settings.model_config.get("env_prefix", "")
        for problem in error.errors(include_url=False, include_input=False):
            print(f"{prefix}{'_'.join(map(str, problem['loc'])).upper()}: {problem['msg']}", file=sys.stderr)
        sys.exit(2)


def usage(settings: type[RuntimeSettings]) -> str:
    """What the environment can say: each variable with its default and what it is for."""
    prefix = settings.model_config.get("env_prefix", "")
    lines = ["Runs the service until it is told to end. Its environment says how:", ""]
    for name, field in settings.model_fields.items():
        default = "" if field.default in ("", None, frozenset(), ()) else f" (default: {field.default})"
        lines.append(f"  {prefix}{name.upper()}{default}\n      {field.description or ''}")
    return "\n".join(lines)


def main(create: Callable[[S, Telemetry], Service], settings: type[S]) -> None:
    """The entry point of a service that runs by itself; exits with 2 if its environment does not make sense."""
    if not {"-h", "--help"}.isdisjoint(sys.argv[1:]):
        print(usage(settings))
        return
    chosen = read(settings)
    configure_logging(chosen.log_level, chosen.log_format)
    failpoints.arm(chosen.failpoint)
    uvloop.run(serve(create(chosen, Telemetry())))
