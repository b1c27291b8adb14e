"""A platform in a process of its own, as `entresol up` runs it. For the demonstration and for tests."""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from entresol.failures import Code, Failure

START_SECONDS = 60.0
STOP_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Child:
    """A running platform."""

    url: str
    token: str
    data: Path
    process: "subprocess.Popen[str]"

    def resident_bytes(self) -> int | None:
        """The memory its process holds, without the bus; None where the system does not tell."""
        with contextlib.suppress(OSError, ValueError):
            pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE")
        return None

    def stop(self) -> int:
        """Ask it to drain, wait, and return its exit code; kill it if it takes too long."""
        self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


COMMAND = ("entresol",)
"""What `python -m` runs."""


def start(
    data: Path, *options: str, environment: Mapping[str, str] | None = None, module: Sequence[str] = COMMAND
) -> Child:
    """Start `entresol up` on the directory and return when it is ready; its log goes to DATA/up.log."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    arguments: Sequence[str] = ("up", "--data", str(data), "--port", "0", "--output", "json", *options)
    with (data / "up.log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    try:
        said = json.loads(_first_line(process) or "null")
        if not isinstance(said, dict):
            last = (data / "up.log").read_text(errors="replace").splitlines()[-5:]
            raise Failure("the platform did not start", Code.ENDED_BADLY, hints=last)
        return Child(said["url"], Path(said["token_file"]).read_text().strip(), data, process)
    except BaseException:
        process.kill()
        process.wait()
        _close(process)
        raise


@contextmanager
def running(
    data: Path, *options: str, environment: Mapping[str, str] | None = None, module: Sequence[str] = COMMAND
) -> Iterator[Child]:
    """A started platform, stopped at the end."""
    child = start(data, *options, environment=environment, module=module)
    try:
        yield child
    finally:
        child.stop()
        _close(child.process)


def _close(process: "subprocess.Popen[str]") -> None:
    if process.stdout is not None:
        process.stdout.close()


def _first_line(process: "subprocess.Popen[str]") -> str:
    lines: queue.Queue[str] = queue.Queue()
    stdout = process.stdout
    assert stdout is not None
    threading.Thread(target=lambda: lines.put(stdout.readline()), daemon=True).start()
    try:
        return lines.get(timeout=START_SECONDS)
    except queue.Empty:
        raise Failure(f"the platform was not ready within {START_SECONDS:g} s", Code.TIMED_OUT) from None
