"""Clocks that jump under a running service: dates follow them, nothing else does."""

import glob
import os
import time
from email.utils import parsedate_to_datetime
from pathlib import Path

from tests.faults.scribing import Books, Load, Scribe, fresh_bus, judge, until
from tests.faults.trials import POSTGRESQL, Evidence, Proof, Trial

HOUR, DAY = 3600, 86_400
JUMPS = {
    "an hour ahead": HOUR,
    "an hour back": -HOUR,
    "a day ahead": DAY,
    "a day back": -DAY,
    "forty days ahead": 40 * DAY,
    "to 2039": 14 * 365 * DAY,
    "ten years back": -10 * 365 * DAY,
}


def library() -> str | None:
    """The library that shifts a process's clock, if it is installed."""
    return next(iter(sorted(glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1"))), None)


def missing() -> str | None:
    return None if library() else "libfaketime is not installed (Debian: faketime)"


class Clock:
    """The wall clock of one process, which can be shifted while it runs."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.shift(0)

    @property
    def environment(self) -> dict[str, str]:
        """What the process is started with. Its monotonic clock stays true, as a real one does."""
        return {
            "LD_PRELOAD": library() or "",
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "NO_FAKE_STAT": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def shift(self, seconds: int) -> None:
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n", encoding="ascii")
        os.replace(fresh, self._file)


def prove_jumps(trial: Trial) -> Evidence:
    """Shift the clock to and fro under load, now and then restarting the service while it is wrong.

    The inbox must still know everything that was heard, whatever the clock said: the log holds all of it.
    """
    jumps, breaches = trial.count(len(JUMPS), 3 * len(JUMPS), 40 * len(JUMPS)), list[str]()
    url = f"sqlite:///{trial.scratch / 'scribe.db'}"
    if trial.database == POSTGRESQL:
        assert trial.postgres is not None
        url = trial.postgres.database("clocks")
    bus = fresh_bus(trial.scratch / "nats")
    clock = Clock(trial.scratch / "clock")
    restarts = 0
    try:
        with Scribe(trial.scratch / "scribe.log", bus.url, url, **clock.environment) as scribe, Books(url) as books:
            with Load(lambda: scribe, bus) as load:
                for number in range(jumps):
                    name = list(JUMPS)[number % len(JUMPS)]
                    clock.shift(JUMPS[name])
                    until(f"its clock is {name}", lambda name=name: _shifted(scribe, JUMPS[name]))  # type: ignore[misc]
                    before, sent = len(load.told), len(load.sent)
                    what = f"work goes on with the clock {name}"
                    until(what, lambda b=before, s=sent: len(load.told) > b + 3 and len(load.sent) > s + 3)  # type: ignore[misc]
                    if number % 10 == 9:
                        trial.say(f"{number + 1} jumps, {len(load.told)} notes")
                    if number % 4 == 3:
                        restarts += 1
                        scribe.kill()
                        scribe.start()
                        scribe.await_ready()
                    if trial.dice.random() < 0.5:
                        clock.shift(0)
                    time.sleep(trial.dice.uniform(0.0, 0.3))
                clock.shift(0)
            counts, broken = judge(load, books, bus)
            forgotten = books.one("SELECT count(*) FROM heard") - books.one("SELECT count(*) FROM eventing_inbox")
    finally:
        bus.stop()
    if forgotten > 0:
        breaches.append(f"the inbox has forgotten {forgotten} events that the log still holds")
    return Evidence({"jumps": jumps, "restarts": restarts, "forgotten": forgotten} | counts, breaches + broken)


def _shifted(scribe: Scribe, seconds: int) -> bool:
    """Whether the service tells a time that is shifted by so much."""
    _, headers = scribe.answer("GET", "/health/live")
    told = parsedate_to_datetime(headers["date"]).timestamp() if "date" in headers else 0.0
    return abs(told - time.time() - seconds) < HOUR / 2


PROOFS = (Proof("G15", "nothing but dates follows the wall clock", prove_jumps, missing=missing),)
