"""Run a program without a shell; when its caller is cancelled, nothing of it stays."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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
) -> Finished:
    """Run it to its end in a process group of its own.

    When cancelled the group is interrupted, and killed after the grace time. `keep_open` are file descriptors that
    it inherits: a lock that it holds on outlives this process together with it.
    """
    child = await asyncio.create_subprocess_exec(
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(env),
        cwd=directory,
        start_new_session=True,
        pass_fds=tuple(keep_open),
    )
    talking = asyncio.ensure_future(child.communicate())
    try:
        failpoint("effect.running")
        out, err = await asyncio.shield(talking)
    except BaseException:
        await asyncio.shield(_end(child, talking, grace_seconds))
        raise
    return Finished(child.returncode or 0, _text(out), _text(err))


async def _end(
    child: asyncio.subprocess.Process, talking: "asyncio.Future[tuple[bytes, bytes]]", grace_seconds: float
) -> None:
    if grace_seconds:
        _signal(child, signal.SIGINT)
        await asyncio.wait((talking,), timeout=grace_seconds)
    _signal(child, signal.SIGKILL)
    await talking


def _signal(child: asyncio.subprocess.Process, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


def _text(raw: bytes) -> str:
    return raw[-LARGEST_BYTES:].decode(errors="replace")
