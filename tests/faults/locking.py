"""SQLite under everything that may open it at once: nobody is told that the database is locked."""

import contextlib
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.scribing import Books, Load, Scribe, fresh_bus, judge, until
from tests.faults.trials import SQLITE, Evidence, Proof, Trial

CLIENTS = 13
"""With the consumer, the worker and the deadlines, sixteen who want to write at once."""
BACKUP = """
import sqlite3, sys
source = sqlite3.connect(sys.argv[1])
if sys.argv[3] == "vacuum":
    source.execute("VACUUM INTO ?", (sys.argv[2],))
else:
    with sqlite3.connect(sys.argv[2]) as copy:
        source.backup(copy, pages=100)
print(sqlite3.connect(sys.argv[2]).execute("PRAGMA integrity_check").fetchone()[0])
"""


def prove_no_locks(trial: Trial) -> Evidence:
    """Sixteen writers, readers, backups by another process, kills; then every page is checked."""
    writes, kills = trial.count(3_000, 12_000, 100_000), trial.count(2, 5, 50)
    file = trial.scratch / "scribe.db"
    bus = fresh_bus(trial.scratch / "nats")
    backups, checks, breaches = [0], 0, list[str]()
    url = f"sqlite:///{file}"
    try:
        with Scribe(trial.scratch / "scribe.log", bus.url, url) as scribe, Books(url) as books:
            with Load(lambda: scribe, bus, clients=CLIENTS, pause_seconds=0.0) as load:

                def written() -> int:
                    return int(books.one("SELECT coalesce(max(position), 0) FROM eventing_outbox"))

                with _backups(file, backups, breaches, trial.dice):
                    for number in range(kills):
                        share = writes * (number + 1) // (kills + 1)
                        until("so much is written", lambda share=share: written() >= share, 1800)  # type: ignore[misc]
                        scribe.kill()
                        if number % 2:
                            checks += 1
                            breaches += _check(file)
                        scribe.start()
                        scribe.await_ready()
                        trial.say(f"{written()} events, {backups[0]} backups")
                    until("so much is written", lambda: written() >= writes, 1800)
            counts, broken = judge(load, books, bus)
            total = written()
        checks += 1
        breaches += _check(file)
    finally:
        bus.stop()
    if load.statuses[503]:
        breaches.append(f"{load.statuses[503]} times the door said that the database does not take writes")
    log = scribe.log.read_text(encoding="utf-8")
    locked = sum("locked" in line or "busy" in line for line in log.splitlines())
    if locked:
        breaches.append(f"{locked} lines of the log say that the database is locked")
    figures = {"kills": kills, "backups": backups[0], "integrity checks": checks, '"locked"': locked}
    return Evidence({"writes": total} | figures | counts, breaches + broken)


def _check(file: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(file, timeout=60)) as connection:
        said = [row[0] for row in connection.execute("PRAGMA integrity_check")]
    return [] if said == ["ok"] else [f"integrity check: {said[:3]}"]


@contextmanager
def _backups(file: Path, made: list[int], breaches: list[str], dice: random.Random) -> Iterator[None]:
    """Another process copies the database, one way or the other, over and over."""
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            copy = file.with_name("copy.db")
            copy.unlink(missing_ok=True)
            way = ("vacuum", "backup")[made[0] % 2]
            done = subprocess.run(
                [sys.executable, "-c", BACKUP, str(file), str(copy), way], capture_output=True, text=True, check=False
            )
            if done.stdout.strip() != "ok":
                breaches.append(f"{way}: {done.stdout[-200:]} {done.stderr[-200:]}")
            made[0] += 1
            over.wait(dice.uniform(0.1, 0.5))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(120)


PROOFS = (Proof("G13", "SQLite is never locked", prove_no_locks, (SQLITE,)),)
