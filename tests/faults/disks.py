"""A full disk fails closed and recovers by itself: nothing that was accepted is lost, and no service is restarted.

Each store has a small file system of its own, which is filled, held full under load, and freed again.
"""

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from entresol_eventing.nats_server import NatsServer
from entresol_eventing.testing.postgres import PostgresServer

from tests.faults.scribing import Books, Load, Scribe, fresh_bus, judge, until
from tests.faults.trials import POSTGRESQL, SQLITE, Evidence, Proof, Trial

HOLD_SECONDS = 1.0


def missing() -> str | None:
    """Why no file system can be mounted here, if so."""
    return None if os.geteuid() == 0 else "mounting a small file system needs root"


@contextmanager
def small_disk(mebibytes: int) -> Iterator["Disk"]:
    """A file system of that size, which every account may use; gone at exit."""
    at = Path(tempfile.mkdtemp(prefix="entresol-disk-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=0777", "tmpfs", str(at)], check=True)
    try:
        yield Disk(at)
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)
        at.rmdir()


class Disk:
    """A small file system, and the ballast that takes its room."""

    def __init__(self, at: Path) -> None:
        self.at = at
        self._ballast = at / "ballast"

    def fill(self) -> None:
        """Take all that is left, and what is freed meanwhile; return when there is nothing more."""
        with self._ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(65_536))
        with self._ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(512))

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)


def _cycles(trial: Trial) -> int:
    """How often a disk is full."""
    return trial.count(3, 6, 50)


def prove_database(trial: Trial) -> Evidence:
    """The service's database on a disk that is full again and again: the door says 503, and goes on by itself."""
    growing = 8 * _cycles(trial)  # MiB: what is written between two times stays
    with small_disk(growing + (192 if trial.database == POSTGRESQL else 24)) as disk:
        if trial.database != POSTGRESQL:
            bus = fresh_bus(trial.scratch / "nats")
            try:
                return _database(trial, bus, disk, f"sqlite:///{disk.at / 'scribe.db'}", lambda: None)
            finally:
                bus.stop()
        with PostgresServer(disk.at) as server:
            bus = fresh_bus(trial.scratch / "nats")

            def revive() -> None:
                """PostgreSQL gives up when its own log finds no room; it is its operator who starts it again."""
                if not server.running:
                    server.start()

            try:
                return _database(trial, bus, disk, server.database("disks"), revive)
            finally:
                disk.free()
                revive()
                bus.stop()


def _database(trial: Trial, bus: NatsServer, disk: Disk, url: str, revive: Callable[[], None]) -> Evidence:
    cycles, slowest, breaches = _cycles(trial), 0.0, list[str]()
    with Scribe(trial.scratch / "scribe.log", bus.url, url) as scribe, Books(url) as books:
        with Load(lambda: scribe, bus, filling=60_000) as load:
            for number in range(cycles):
                before = len(load.told)
                until("notes are taken", lambda before=before: len(load.told) > before + 5)  # type: ignore[misc]
                refusals, full_until = load.statuses[503], time.monotonic() + HOLD_SECONDS
                while load.statuses[503] == refusals or time.monotonic() < full_until:
                    disk.fill()  # again and again: what the store lets go of is taken as well
                    if time.monotonic() > full_until + 60:
                        breaches.append(f"cycle {number}: nothing was refused with a full disk")
                        break
                    time.sleep(0.05)
                if (live := scribe.status("GET", "/health/live")) != 200:
                    breaches.append(f"cycle {number}: the full disk ended the service ({live})")
                disk.free()
                revive()
                began, before = time.monotonic(), len(load.told)
                until("notes are taken again", lambda before=before: len(load.told) > before)  # type: ignore[misc]
                slowest = max(slowest, time.monotonic() - began)
                if number % 10 == 9:
                    trial.say(f"{number + 1} times full, {load.statuses[503]} refusals")
        counts, broken = judge(load, books, bus)
        if scribe.ended is not None:
            breaches.append("the service has ended")
    return Evidence({"times full": cycles} | counts, breaches + broken, {"slowest recovery": f"{slowest:.1f} s"})


def prove_bus(trial: Trial) -> Evidence:
    """The bus's store on a disk that is full: the door goes on, and the relay when there is room.

    A nats-server that finds no room disables JetStream until it is started again; that is its supervisor's part.
    """
    cycles, slowest, breaches, revived = _cycles(trial), 0.0, list[str](), 0
    url = _url(trial)
    with small_disk(24 + 8 * cycles) as disk:
        bus = fresh_bus(disk.at / "nats")
        try:
            with Scribe(trial.scratch / "scribe.log", bus.url, url) as scribe, Books(url) as books:
                with Load(lambda: scribe, bus) as load:
                    for number in range(cycles):
                        before, full_until = len(load.told), time.monotonic() + HOLD_SECONDS
                        while time.monotonic() < full_until:
                            disk.fill()
                            time.sleep(0.05)
                        until("notes are taken", lambda before=before: len(load.told) > before)  # type: ignore[misc]
                        if (live := scribe.status("GET", "/health/live")) != 200:
                            breaches.append(f"cycle {number}: the full bus ended the service ({live})")
                        disk.free()
                        began, sent = time.monotonic(), len(load.sent)
                        with contextlib.suppress(AssertionError):
                            until("the bus takes events", lambda sent=sent: len(load.sent) > sent, 3)  # type: ignore[misc]
                        if len(load.sent) == sent:
                            revived += 1
                            bus.kill()
                            bus.start()
                            until("the bus takes events", lambda sent=sent: len(load.sent) > sent)  # type: ignore[misc]
                        slowest = max(slowest, time.monotonic() - began)
                counts, broken = judge(load, books, bus)
        finally:
            disk.free()
            bus.stop()
    counts = {"times full": cycles, "bus started again": revived} | counts
    return Evidence(counts, breaches + broken, {"slowest recovery": f"{slowest:.1f} s"})


def _url(trial: Trial) -> str:
    if trial.postgres is not None:
        return trial.postgres.database("disks")
    return f"sqlite:///{trial.scratch / 'scribe.db'}"


PROOFS = (
    Proof("G14", "a full disk loses nothing that was accepted, and is got over", prove_database, missing=missing),
    Proof("G14b", "a full disk of the bus loses nothing that was accepted", prove_bus, (SQLITE,), missing=missing),
)
