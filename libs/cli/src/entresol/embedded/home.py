"""The data directory of an embedded platform: where it is, whether one runs in it, and how to reach that one.

Whether one runs is told by the lock, not by `server.json`: the kernel drops a lock with its process, so a file
left behind by a crash, or a process id that was given away again, never looks like a running platform.
"""

import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from entresol.failures import Code, Failure

DEFAULT_PORT = 8400


@dataclass(frozen=True, slots=True)
class Running:
    """A platform that says it serves from a data directory."""

    url: str
    pid: int


@dataclass(frozen=True, slots=True)
class Home:
    """A data directory; need not exist yet."""

    data: Path

    @property
    def token_file(self) -> Path:
        return self.data / "token"

    @property
    def server_file(self) -> Path:
        return self.data / "server.json"

    @property
    def starter_mark(self) -> Path:
        """Exists once the starter platform was applied, so that a restart doesn't undo what was changed since."""
        return self.data / "starter-applied"

    def token(self) -> str | None:
        try:
            return self.token_file.read_text().strip() or None
        except OSError:
            return None

    def advertised(self) -> Running | None:
        """What `server.json` says, whether or not it still holds."""
        try:
            document = json.loads(self.server_file.read_text())
            return Running(url=str(document["url"]), pid=int(document["pid"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def advertise(self, url: str) -> None:
        """Write `server.json` in one step, so that nobody reads half of it."""
        draft = self.data / "server.json.new"
        draft.write_text(json.dumps({"url": url, "pid": os.getpid()}))
        draft.replace(self.server_file)

    def in_use(self) -> bool:
        if not (self.data / "lock").exists():
            return False
        with (self.data / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Hold the directory for one platform; raise Failure if another one holds it, or if it can't be written."""
        try:
            self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
            opened = (self.data / "lock").open("a")
        except OSError as error:
            raise Failure(
                f"the data directory {self.data} can't be written: {error.strerror}",
                Code.INVALID,
                hints=("Choose another with --data or ENTRESOL_DATA: a directory that is yours.",),
            ) from None
        with opened as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                running = self.advertised()
                where = f" at {running.url} (process {running.pid})" if running else ""
                raise Failure(
                    f"a platform is already running on {self.data}{where}",
                    Code.ENDED_BADLY,
                    hints=("Use it, or end it with `entresol down`, or choose another --data directory.",),
                ) from None
            try:
                yield
            finally:
                self.server_file.unlink(missing_ok=True)

    def end(self, grace_seconds: float) -> bool:
        """Ask the platform to end and wait for it; False if none was running. Raise Failure if it doesn't end."""
        running = self.advertised()
        if not self.in_use():
            return False
        if running is None:
            raise Failure(
                f"a platform holds {self.data} but has not said where it listens; it may be starting",
                Code.TIMED_OUT,
                hints=("Try again in a few seconds.",),
            )
        os.kill(running.pid, signal.SIGTERM)
        deadline = time.monotonic() + grace_seconds
        while self.in_use():
            if time.monotonic() > deadline:
                raise Failure(f"process {running.pid} has not ended in {grace_seconds:g} s", Code.TIMED_OUT)
            time.sleep(0.05)
        return True


def home(data: Path | None = None) -> Home:
    """The data directory: what was given, else ENTRESOL_DATA, else the user's own."""
    chosen = data or Path(os.environ.get("ENTRESOL_DATA") or Path.home() / ".local" / "share" / "entresol")
    return Home(chosen.expanduser().absolute())
