"""Run one program within limits, and let nothing of it stay. Started as a file, see `processes.supervise`.

Children of the program that were left by their parents become children of this process, so all of them can be found
and killed, whatever session they have made for themselves. CPU, memory and disk are bounded per process and per file
by the kernel, and over all of them by looking twenty times a second; so is the number of processes, which a bomb may
exceed for that long. How it ended is written last, by a rename, when nobody is left who could change what it says.

What this can't do: if this process itself is killed, the program is killed by the kernel, but not the program's
children. It imports the standard library only, because it has to start fast and in an empty environment.
"""

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

LOOK_SECONDS = 0.05
DISK_SECONDS = 0.5
MOST_ENTRIES = 100_000
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_WAITED_FOR = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)
_STOPPED = {signal.SIGXCPU: "cpu", signal.SIGXFSZ: "file"}
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


def supervise(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Run it to its end; return its exit code or signal, and by which limit it was stopped."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED_FOR)
    try:
        program = _start(asked)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else "its limits can't be set"
        return {"code": None, "signal": None, "stopped": None, "error": said}
    watch = _Watch(asked, program)
    stopped = watch.until_it_ends()
    if stopped is not None and watch.status is None:
        watch.end_gently(asked["grace_seconds"])
    watch.clear()
    status = -signal.SIGKILL if watch.status is None else watch.status
    if status < 0:
        stopped = stopped or _STOPPED.get(signal.Signals(-status))
    return {
        "code": status if status >= 0 else None,
        "signal": -status if status < 0 else None,
        "stopped": stopped,
        "error": None,
    }


def _start(asked: Mapping[str, Any]) -> int:
    parent = os.getpid()

    def limited() -> None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        os.umask(0o077)
        for name, (soft, hard) in asked["limits"].items():
            limit = getattr(resource, name)
            there = resource.getrlimit(limit)[1]
            bounds = (soft, hard) if there == resource.RLIM_INFINITY else (min(soft, there), min(hard, there))
            resource.setrlimit(limit, bounds)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WAITED_FOR)

    with _written(asked["out"]) as out, _written(asked["err"]) as err:
        child = subprocess.Popen(
            asked["arguments"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=asked["env"],
            cwd=asked["directory"],
            start_new_session=True,
            preexec_fn=limited,  # safe here: this process has one thread
        )
    child.returncode = 0  # the watch waits for it
    return child.pid


class _Watch:
    """Over a program and everything that came of it."""

    def __init__(self, asked: Mapping[str, Any], program: int) -> None:
        self._asked = asked
        self._program = program
        self._parent = os.getppid()
        self._until = float("inf") if asked["seconds"] is None else time.monotonic() + asked["seconds"]
        self._disk_at = time.monotonic() + DISK_SECONDS
        self.status: int | None = None
        """How the program ended: its exit code, or the signal as a negative number."""

    def until_it_ends(self) -> str | None:
        """Return None when the program itself has ended, else why it has to be stopped."""
        while True:
            self._reap()
            if self.status is not None:
                return None
            if stopped := self._exceeds():
                return stopped
            got = signal.sigtimedwait(_WAITED_FOR, LOOK_SECONDS)
            # Not `!= SIGCHLD`: what is returned after an interruption that outlasts the wait names no signal.
            if got is not None and got.si_signo in (signal.SIGTERM, signal.SIGINT):
                return "stop"

    def end_gently(self, grace_seconds: float) -> None:
        """Ask the program's group to end, and give it time."""
        until = time.monotonic() + grace_seconds
        if grace_seconds:
            _kill_group(self._program, signal.SIGTERM)
        while self.status is None and (left := until - time.monotonic()) > 0:
            signal.sigtimedwait((signal.SIGCHLD,), min(left, LOOK_SECONDS))
            self._reap()

    def clear(self) -> None:
        """Kill whatever is left. Returns when nothing is, because then there are no children to wait for."""
        while True:
            # Groups first: a whole group is killed at once, so nothing in it can fork meanwhile.
            left = list(_descendants(os.getpid()))
            for group in {group for _, group, *_ in left} - {os.getpgrp()}:
                _kill_group(group, signal.SIGKILL)
            for pid, *_ in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if not self._reap():
                return
            signal.sigtimedwait((signal.SIGCHLD,), 0.01)

    def _reap(self) -> bool:
        """Wait for what has ended; return whether there are any children left."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return True
                if pid == self._program:
                    self.status = os.waitstatus_to_exitcode(status)
        return False

    def _exceeds(self) -> str | None:
        if time.monotonic() >= self._until:
            return "time"
        if self._asked["dies_with_parent"] and os.getppid() != self._parent:
            return "stop"
        most = self._asked["most"]
        left = list(_descendants(os.getpid()))
        if len(left) > most["processes"]:
            return "processes"
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        if ended.ru_utime + ended.ru_stime + sum(cpu for _, _, cpu, _ in left) > most["cpu_seconds"]:
            return "cpu"
        # Pages that processes share are counted once only if it matters, because that takes longer.
        resident = sum(memory for *_, memory in left)
        if resident > most["memory_bytes"] and sum(_share(pid) for pid, *_ in left) > most["memory_bytes"]:
            return "memory"
        if time.monotonic() >= self._disk_at:
            if _disk_bytes(self._asked["directory"]) > most["disk_bytes"]:
                return "disk"
            self._disk_at = time.monotonic() + DISK_SECONDS
        return None


def _descendants(pid: int) -> Iterator[tuple[int, int, float, int]]:
    """Process, group, CPU seconds and resident bytes of each."""
    waiting = [pid]
    while waiting:
        place = f"/proc/{waiting.pop()}/task"
        with contextlib.suppress(OSError):
            for thread in os.listdir(place):
                with contextlib.suppress(OSError), open(f"{place}/{thread}/children") as file:
                    children = [int(one) for one in file.read().split()]
                    waiting += children
                    for child in children:
                        with contextlib.suppress(OSError):
                            yield (child, *_figures(child))


def _figures(pid: int) -> tuple[int, float, int]:
    with open(f"/proc/{pid}/stat", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    # Numbered from 3 in proc(5): group 5, utime to cstime 14 to 17, rss 24.
    return int(fields[2]), sum(map(int, fields[11:15])) / _TICKS, int(fields[21]) * _PAGE


def _share(pid: int) -> int:
    """Resident bytes, each page divided by the number of those who share it."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0


def _disk_bytes(directory: str) -> float:
    size, entries, waiting = 0, 0, [directory]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as found:
            for one in found:
                entries += 1
                if entries > MOST_ENTRIES:
                    return float("inf")
                with contextlib.suppress(OSError):
                    size += one.stat(follow_symlinks=False).st_blocks * 512
                if one.is_dir(follow_symlinks=False):
                    waiting.append(one.path)
    return size


@contextlib.contextmanager
def _written(path: str) -> Iterator[int]:
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        yield number
    finally:
        os.close(number)


def _kill_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def record(ended: Mapping[str, Any], place: str, keep: str) -> None:
    """Write how it ended, whole and on disk, after the files in the directory `keep` are on disk too."""
    with contextlib.suppress(OSError), os.scandir(keep) as found:
        for one in found:
            if one.is_file(follow_symlinks=False):
                _sync(one.path, os.O_RDONLY | os.O_NOFOLLOW)
    _sync(keep, os.O_RDONLY | os.O_DIRECTORY)
    with open(f"{place}.unfinished", "w") as file:
        json.dump(ended, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{place}.unfinished", place)
    _sync(os.path.dirname(place), os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: str, flags: int) -> None:
    with contextlib.suppress(OSError):
        number = os.open(path, flags | os.O_CLOEXEC)
        try:
            os.fsync(number)
        finally:
            os.close(number)


if __name__ == "__main__":
    request = json.load(sys.stdin)
    record(supervise(request) | request["facts"], request["ended"], request["keep"])
