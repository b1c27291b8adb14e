"""`entresol up` as a user starts it: how soon it answers, and how much memory it takes."""

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tests.fleet import free_port, resident_mib


def start(data: Path) -> tuple[float, float]:
    """Return seconds until ready and MiB resident of the platform with its bus, ten seconds later."""
    port = free_port()
    began = time.perf_counter()
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("entresol")), "up", "--data", str(data), "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    try:
        while time.perf_counter() - began < 30:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=1).close()
                break
            time.sleep(0.02)
        ready = time.perf_counter() - began
        time.sleep(10)
        return ready, sum(resident_mib(pid) for pid in [process.pid, *_children(process.pid)])
    finally:
        process.terminate()
        process.wait(20)


def _children(pid: int) -> list[int]:
    found = []
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = Path(f"/proc/{int(entry)}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
            if int(fields[1]) == pid:
                found += [int(entry), *_children(int(entry))]
    return found


if __name__ == "__main__":
    print(json.dumps(start(Path(sys.argv[1]))))
