"""What processes and the machine have used: processor time, memory, files, threads; read from /proc."""

import contextlib
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from entresol_eventing.nats_server import executable

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Reading:
    """Seconds of processor time used so far, by process and by the whole machine."""

    at: float
    by_process: dict[str, float]
    busy: float
    idle: float


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor time between two readings, as shares of one core."""

    seconds: float
    cores: dict[str, float]
    idle: float
    elsewhere: float
    """The kernel's own work and other programs on this machine."""


def read(processes: Mapping[str, int]) -> Reading:
    """Read the processes of these ids, each with its children, and this one as `load`."""
    by_process = {name: sum(_cpu_seconds(one) for one in (pid, *children(pid))) for name, pid in processes.items()}
    by_process["load"] = time.process_time()
    fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]
    user, nice, system, idle, waiting, irq, softirq, _ = (int(one) / _TICKS for one in fields)
    return Reading(time.perf_counter(), by_process, user + nice + system + irq + softirq, idle + waiting)


def between(before: Reading, after: Reading) -> Usage:
    seconds = after.at - before.at
    cores = {name: (after.by_process[name] - used) / seconds for name, used in before.by_process.items()}
    busy = (after.busy - before.busy) / seconds
    return Usage(seconds, cores, (after.idle - before.idle) / seconds, max(0.0, busy - sum(cores.values())))


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()


def _cpu_seconds(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS


def children(pid: int) -> list[int]:
    """Ids of all processes beneath this one."""
    found = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{task}/children").read_text(encoding="ascii").split():
                found += [int(child), *children(int(child))]
    return found


def resident_mib(pid: int) -> float:
    """Memory of a process in MiB; if it has children, of all of them, each shared page counted once."""
    whole = (pid, *children(pid))
    if len(whole) == 1:
        return _kib(Path(f"/proc/{pid}/status"), "VmRSS:") / 1024
    total = 0.0
    for one in whole:
        with contextlib.suppress(OSError):  # a connection's process may just have ended
            total += _kib(Path(f"/proc/{one}/smaps_rollup"), "Pss:") / 1024
    return total


def _kib(file: Path, field: str) -> int:
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    raise ValueError(f"{file} does not tell {field}")


def files(pid: int) -> int:
    """How many files and sockets a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


def size_mib(directory: Path) -> float:
    """What the files beneath a directory take."""
    sizes = []
    for place, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):  # it may just have been removed
                sizes.append((Path(place) / name).stat().st_size)
    return sum(sizes) / 2**20


def description(where: Path) -> dict[str, str]:
    """What the figures were measured on, in words."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    version = subprocess.run([executable(), "--version"], capture_output=True, text=True, check=True).stdout
    return {
        "cores": f"{len(os.sched_getaffinity(0))} ({_processor()})",
        "memory": f"{memory:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release().partition('-')[0]}",
        "disk": _file_system(where),
        "Python": platform.python_version(),
        "nats-server": version.rsplit(" ", 1)[-1].strip().removeprefix("v"),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _file_system(where: Path) -> str:
    told = subprocess.run(["df", "--output=fstype", str(where)], capture_output=True, text=True, check=False)
    kind = told.stdout.split()[-1] if told.returncode == 0 else "unknown"
    return f"{kind}, {shutil.disk_usage(where).free / 2**30:.0f} GiB free"
