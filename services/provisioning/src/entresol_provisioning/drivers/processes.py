"""Run a program without a shell; when its caller is cancelled, nothing of it stays."""

import asyncio
import contextlib
import json
import math
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from entresol_eventing.failpoints import failpoint

from entresol_provisioning.drivers import supervisor

LARGEST_BYTES = 8 * 1024 * 1024
KILLING_SECONDS = 30.0
"""Until a supervisor has killed all that its program has started; a process in the midst of I/O may take long."""

CONTINUE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Finished:
    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a supervised program may use: all of its processes together, but for files and what each has open."""

    cpu_seconds: float
    memory_bytes: int
    """Also the address space of each process."""
    file_bytes: int
    """Of one file; all that it writes beneath its directory may be four times as much."""
    processes: int
    open_files: int = 1024
    grace_seconds: float = 5.0
    """Between the request to end and the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a supervised program ended."""

    code: int | None
    """None if a signal ended it, or it could not be started."""
    signal: int | None
    stopped: Literal["stop", "time", "cpu", "memory", "file", "disk", "processes"] | None
    """What it had to be stopped for."""
    error: str | None
    """Why it could not be started."""
    facts: Mapping[str, Any]
    """What the caller wanted to know again."""


async def supervise(
    arguments: Sequence[str],
    *,
    env: Mapping[str, str],
    directory: Path,
    said: Path,
    ended: Path,
    limits: Limits,
    seconds: float | None,
    facts: Mapping[str, Any],
    keep_open: Sequence[int] = (),
    dies_with_caller: bool = False,
) -> Ended:
    """Run it under a supervisor of its own, which goes on if this process dies, unless it shall die with it.

    - When this returns or is cancelled, no process of it is there any more.
    - `ended` is written when the program has ended, and everything of it with it; never after a cancellation that
      came too early for the program to start. What the program has written by then is on disk.
    - What it says goes to `out` and `err` in the directory `said`. `seconds` is how long it may take.
    """
    asked = {
        "arguments": list(arguments),
        "env": dict(env),
        "directory": str(directory),
        "out": str(said / "out"),
        "err": str(said / "err"),
        "ended": str(ended),
        "keep": str(directory / "output"),
        "limits": {
            "RLIMIT_AS": (limits.memory_bytes, limits.memory_bytes),
            "RLIMIT_CORE": (0, 0),
            # The first ends it with a signal that says why, the second without one.
            "RLIMIT_CPU": (math.ceil(limits.cpu_seconds), math.ceil(limits.cpu_seconds) + 2),
            "RLIMIT_FSIZE": (limits.file_bytes, limits.file_bytes),
            "RLIMIT_NOFILE": (limits.open_files, limits.open_files),
        },
        "most": {
            "cpu_seconds": limits.cpu_seconds,
            "memory_bytes": limits.memory_bytes,
            "processes": limits.processes,
            "disk_bytes": 4 * limits.file_bytes,
        },
        "seconds": seconds,
        "grace_seconds": limits.grace_seconds,
        "dies_with_parent": dies_with_caller,
        "facts": {"facts": dict(facts)},
    }
    # A file in memory: it is there as a whole before the supervisor starts, and secrets in it never reach a disk.
    with os.fdopen(os.memfd_create("supervised"), "wb") as request:
        request.write(json.dumps(asked).encode())
        request.flush()
        request.seek(0)
        done = await run(
            (sys.executable, "-I", "-S", supervisor.__file__),
            env={},
            directory=directory,
            grace_seconds=limits.grace_seconds + KILLING_SECONDS,
            keep_open=keep_open,
            stdin=request.fileno(),
        )
    found = read_end(ended)
    if found is None:
        raise RuntimeError(f"a supervisor failed with {done.code}: {done.err[-500:]}")
    return found


def read_end(place: Path) -> Ended | None:
    """What a supervisor has written there; None if it has not, so nobody knows how the program ended."""
    try:
        return Ended(**json.loads(place.read_bytes()))
    except FileNotFoundError:
        return None


def supervises() -> bool:
    """Whether this system lets a supervisor find its processes: Linux does."""
    return sys.platform == "linux" and Path(f"/proc/self/task/{os.getpid()}/children").exists()


async def run(
    arguments: Sequence[str],
    *,
    env: Mapping[str, str],
    directory: Path,
    grace_seconds: float = 0.0,
    keep_open: Sequence[int] = (),
    largest_bytes: int = LARGEST_BYTES,
    stdin: int = asyncio.subprocess.DEVNULL,
) -> Finished:
    """Run it to its end in a process group of its own.

    What it says goes to files without a name: a pipe that breaks with this process would kill it between an effect
    and its own record of it. When cancelled the group is interrupted, and killed after the grace time. `keep_open`
    are file descriptors that it inherits: a lock that it holds on outlives this process together with it. Of what it
    says, the last `largest_bytes` are kept.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = await asyncio.create_subprocess_exec(
            *arguments,
            stdin=stdin,
            stdout=out,
            stderr=err,
            env=dict(env),
            cwd=directory,
            start_new_session=True,
            pass_fds=tuple(keep_open),
        )
        running = asyncio.ensure_future(child.wait())
        try:
            failpoint("effect.running")
            await _wait(child, running)
        except BaseException:
            await asyncio.shield(_end(child, running, grace_seconds))
            raise
        return Finished(child.returncode or 0, _text(out, largest_bytes), _text(err, LARGEST_BYTES))


async def _end(child: asyncio.subprocess.Process, running: "asyncio.Future[int]", grace_seconds: float) -> None:
    if grace_seconds:
        _signal(child, signal.SIGINT)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):
                await _wait(child, running)
    _signal(child, signal.SIGKILL)
    await running


async def _wait(child: asyncio.subprocess.Process, running: "asyncio.Future[int]") -> None:
    """Wait for its end. A child that something has stopped goes on: a program may stop even its supervisor."""
    while not running.done():
        _signal(child, signal.SIGCONT)
        await asyncio.wait((running,), timeout=CONTINUE_SECONDS)


def _signal(child: asyncio.subprocess.Process, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


def _text(said: IO[bytes], largest_bytes: int) -> str:
    said.seek(max(0, said.seek(0, os.SEEK_END) - largest_bytes))
    return said.read().decode(errors="replace")
