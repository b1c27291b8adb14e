"""Processes that start in a moment: forked from one that has imported all five services before any thread or loop.

- A forked process has its own session, environment and output, and ends as any Python process does.
- A process keeps its pid until its end was asked for: a signal never hits a stranger.
- Whatever still runs is killed when the fork server loses its client, so a killed test leaves nothing behind.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from entresol_eventing.permissions import SERVICES

PLANTED = "ENTRESOL_PLANTED"
"""Names a bug of `tests.faults.planted` that the process is to have."""


class Process(Protocol):
    """A started process; `subprocess.Popen` is one."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None:
        """The exit status once it has ended, negative for the signal that ended it; None before."""
        ...


class Forked:
    """A process that the fork server started."""

    def __init__(self, server: "ForkServer", pid: int) -> None:
        self.pid = pid
        self._server = server
        self._status: int | None = None

    def poll(self) -> int | None:
        if self._status is None:
            self._status = self._server.status(self.pid)
        return self._status


class ForkServer:
    """The client's end of a fork server, which starts with it. Safe to use from several threads."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.forks", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                cwd=Path(__file__).parent.parent,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._socket = ours
        self._lines = ours.makefile("rwb")
        self._lock = threading.Lock()

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self, target: str, environment: Mapping[str, str], output: Path) -> Forked:
        """Call `module:function` in a new process whose environment is exactly this one; append its output."""
        answer = self._ask({"target": target, "environment": dict(environment), "output": str(output)})
        return Forked(self, answer["pid"])

    def status(self, pid: int) -> int | None:
        status: int | None = self._ask({"status": pid})["status"]
        return status

    def close(self) -> None:
        """End the server and everything that it started."""
        with contextlib.suppress(OSError):
            self._lines.close()
        self._socket.close()
        self._process.wait(20)

    def _ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        with self._lock:
            self._lines.write(json.dumps(question).encode() + b"\n")
            self._lines.flush()
            answer = self._lines.readline()
        if not answer:
            raise RuntimeError("the fork server has ended")
        told: dict[str, Any] = json.loads(answer)
        return told


@cache
def fork_server() -> ForkServer:
    """The fork server of this process, started when it is first wanted: importing the services takes a second."""
    server = ForkServer()
    atexit.register(server.close)
    return server


def await_end(process: Process, seconds: float) -> int:
    """Return the exit status of a process that is ending; raise TimeoutError if it does not end in time."""
    deadline = time.monotonic() + seconds
    while (status := process.poll()) is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {process.pid} did not end within {seconds:g} s")
        time.sleep(0.002)
    return status


def _serve(connection: socket.socket) -> Callable[[], None] | None:
    """Answer until the client is gone; in a forked process, return what it is there for."""
    living: set[int] = set()
    lines = connection.makefile("rwb")
    with contextlib.suppress(ConnectionError):
        for line in lines:
            question = json.loads(line)
            if "target" in question:
                pid = os.fork()
                if pid == 0:
                    os.close(connection.detach())
                    return _become(question)
                living.add(pid)
                answer: dict[str, Any] = {"pid": pid}
            else:
                answer = {"status": _status(question["status"], living)}
            lines.write(json.dumps(answer).encode() + b"\n")
            lines.flush()
    for pid in living:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return None


def _status(pid: int, living: set[int]) -> int | None:
    ended, status = os.waitpid(pid, os.WNOHANG)
    if not ended:
        return None
    living.discard(pid)
    return os.waitstatus_to_exitcode(status)


def _become(question: Mapping[str, Any]) -> Callable[[], None]:
    os.setsid()
    output = os.open(question["output"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for number in (1, 2):
        os.dup2(output, number)
    os.close(output)
    os.environ.clear()
    os.environ.update(question["environment"])
    if planted := os.environ.get(PLANTED):
        importlib.import_module("tests.faults.planted").plant(planted)
    module, _, name = question["target"].partition(":")
    main: Callable[[], None] = getattr(importlib.import_module(module), name)
    return main


def main() -> None:
    connection = socket.socket(fileno=int(sys.argv[1]))
    for service in SERVICES:
        importlib.import_module(f"entresol_{service}.app")
    if threading.active_count() > 1 or len(os.listdir("/proc/self/task")) > 1:
        raise RuntimeError("an import has started a thread; a forked process would lack it")
    gc.collect()
    gc.freeze()
    if (target := _serve(connection)) is not None:
        target()


if __name__ == "__main__":
    main()
