"""Work directories of programs, and what is known there of earlier attempts.

A step of a run has one directory for applying and one for destroying, and after each suspension another. In it:
`attempts` (how often the program was started), `ended.json` (how it ended; written by the supervisor, see there),
`out` and `err` (what it said), and `work`, where the program works: `input/object.json`, `output/`, `status.json`.

The program can't write where it is recorded how it ended, but for breaking out of its own directory on purpose: it
runs as the same user.
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entresol_provisioning.drivers.processes import Ended, read_end
from entresol_provisioning.drivers.remains import discard

ENDED = "ended.json"


@dataclass(frozen=True, slots=True)
class Execution:
    """One directory of these."""

    place: Path

    @property
    def work(self) -> Path:
        return self.place / "work"

    @property
    def record(self) -> Path:
        return self.place / ENDED

    @property
    def attempts(self) -> int:
        """How often the program may have been started here."""
        try:
            return int((self.place / "attempts").read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def ended(self) -> Ended | None:
        return read_end(self.record)

    def begin(self, document: Mapping[str, Any]) -> int:
        """Make everything ready for the next attempt, with nothing of the last one; return its number.

        The number is on disk before the program can be started, so no start is ever forgotten.
        """
        number = self.attempts + 1
        for name in ("work", "out", "err", ENDED):
            discard(self.place / name)
        for folder in ("input", "output", "tmp"):
            (self.work / folder).mkdir(parents=True, mode=0o700)
        (self.work / "input" / "object.json").write_text(json.dumps({**document, "attempt": number}, indent=2))
        unfinished = self.place / "attempts.unfinished"
        with unfinished.open("w") as file:
            file.write(str(number))
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, self.place / "attempts")
        folder_ = os.open(self.place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder_)
        finally:
            os.close(folder_)
        return number


def of(home: Path, does: str, key: str, what: str, round_: int) -> Execution:
    """That of a step of a run, by its idempotency key and a digest of what it is told to do."""
    name = hashlib.sha256(f"{key}\n{what}".encode()).hexdigest()[:24]
    return Execution(home / f"{does}-{name}-{round_}")


def make(home: Path, execution: Execution) -> None:
    """Make the directory, and remove those of earlier runs and rounds: what they did was recorded long ago."""
    for other in home.iterdir() if home.exists() else ():
        if other != execution.place:
            discard(other)
    execution.place.mkdir(parents=True, exist_ok=True, mode=0o700)


def sweep(root: Path, days: float) -> None:
    """Remove executions that ended longer ago than that."""
    for record in root.glob(f"*/*/*/*/*/*/{ENDED}"):
        with contextlib.suppress(OSError):
            if time.time() - record.stat().st_mtime > days * 86_400:
                discard(record.parent)
