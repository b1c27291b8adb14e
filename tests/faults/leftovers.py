"""What is left of work beneath a directory: processes that go on, and locks that are held."""

import os
from collections.abc import Iterator
from pathlib import Path


def processes(scratch: Path) -> Iterator[str]:
    """Who works beneath the directory, or was told of it."""
    for one in Path("/proc").glob("[0-9]*"):
        if int(one.name) == os.getpid():
            continue
        try:
            words = (one / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if os.readlink(one / "cwd").startswith(f"{scratch}/") or f"{scratch}/" in words:
                yield f"process {one.name}: {words[:200]}"
        except OSError:
            continue


def held(scratch: Path) -> Iterator[str]:
    """Files beneath the directory that somebody holds a lock on."""
    try:
        locked = {line.split()[5].rpartition(":")[2] for line in Path("/proc/locks").read_text().splitlines()}
    except (OSError, IndexError):
        return
    for file in scratch.rglob("*"):
        try:
            if str(file.lstat().st_ino) in locked:
                yield f"a lock on {file}"
        except OSError:
            continue
