"""Run a program without a shell; when its caller is cancelled, nothing of it stays."""

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from entresol_eventing.failpoints import failpoint

LARGEST_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Finished:
    code: int
    out: str
    err: str


async def run(
    arguments: Sequence[str],
    *,
    env: Mapping[str, str],
    directory: Path,
    grace_seconds: float = 0.0,
    keep_open: Sequence[int] = (),
    largest_bytes: int = LARGEST_BYTES,
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
            stdin=asyncio.subprocess.DEVNULL,
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
            await asyncio.shield(running)
        except BaseException:
            await asyncio.shield(_end(child, running, grace_seconds))
            raise
        return Finished(child.returncode or 0, _text(out, largest_bytes), _text(err, LARGEST_BYTES))


async def _end(child: asyncio.subprocess.Process, running: "asyncio.Future[int]", grace_seconds: float) -> None:
    if grace_seconds:
        _signal(child, signal.SIGINT)
        await asyncio.wait((running,), timeout=grace_seconds)
    _signal(child, signal.SIGKILL)
    await running


def _signal(child: asyncio.subprocess.Process, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


def _text(said: IO[bytes], largest_bytes: int) -> str:
    said.seek(max(0, said.seek(0, os.SEEK_END) - largest_bytes))
    return said.read().decode(errors="replace")
