"""Read what a program has left for us, trusting none of it: a link, a pipe, too much, no JSON, or a secret in clear.

And remove what it has left, whatever it is.
"""

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from entresol_manifests import json_text
from entresol_manifests.positions import TextError

from entresol_provisioning.drivers import StepFailed

LARGEST_BYTES = 1024 * 1024
LONGEST_LINE = 500
LAST_LINES = 12
_SHORTEST_SECRET = 4


class Remains:
    """Files beneath the directory in which a program has worked; `given` are the secrets that it was given."""

    def __init__(self, place: Path, given: Mapping[str, str]) -> None:
        self._place = place
        self._secrets = {name: value for name, value in given.items() if len(value) >= _SHORTEST_SECRET}

    def document(self, name: str) -> dict[str, Any] | None:
        """The JSON object in the file; None if there is none. Raises StepFailed that names file and place."""
        raw = self._content(name, LARGEST_BYTES + 1)
        if raw is None:
            return None
        if len(raw) > LARGEST_BYTES:
            raise StepFailed(f"its {name} exceeds {LARGEST_BYTES // 1024} KiB")
        try:
            value = json_text.parse(raw.decode()).value
        except UnicodeDecodeError:
            raise StepFailed(f"its {name} is not UTF-8 text") from None
        except TextError as error:
            raise StepFailed(f"its {name} line {error.line}: {self.scrubbed(error.message)}") from None
        if not isinstance(value, dict):
            raise StepFailed(f"its {name} holds no JSON object")
        for pointer, text in texts(value):
            for variable, secret in self._secrets.items():
                if secret in text:
                    where = self.scrubbed(pointer) or "/"
                    raise StepFailed(f"its {name} holds the secret in {variable} at {where}; give a secretRef instead")
        return value

    def last_words(self, name: str) -> str:
        """The last lines of a file, printable and without secrets; empty if it can't be read."""
        try:
            raw = self._content(name, 16 * 1024, from_end=True) or b""
        except StepFailed:
            return ""
        lines = [printable(line) for line in self.scrubbed(raw.decode(errors="replace")).splitlines() if line.strip()]
        return "\n".join(lines[-LAST_LINES:])[-2000:]

    def scrubbed(self, text: str) -> str:
        for value in sorted(self._secrets.values(), key=len, reverse=True):
            text = text.replace(value, "…")
        return text

    def _content(self, name: str, most: int, *, from_end: bool = False) -> bytes | None:
        """Never follows a link and never waits, whatever the program has put there."""
        *folders, last = name.split("/")
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with contextlib.ExitStack() as opened:

            def enter(path: str | Path, extra: int, beneath: int | None) -> int:
                number = os.open(path, flags | extra, dir_fd=beneath)
                opened.callback(os.close, number)
                return number

            try:
                where = enter(self._place, os.O_DIRECTORY, None)
                for folder in folders:
                    where = enter(folder, os.O_DIRECTORY, where)
                file = enter(last, 0, where)
            except FileNotFoundError:
                return None
            except OSError:
                raise StepFailed(f"its {name} is no plain file") from None
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode):
                raise StepFailed(f"its {name} is no plain file")
            parts = [os.pread(file, most, max(0, found.st_size - most) if from_end else 0)]
            while parts[-1] and (left := most - sum(map(len, parts))) > 0 and not from_end:
                parts.append(os.pread(file, left, sum(map(len, parts))))
            return b"".join(parts)


def printable(text: str) -> str:
    """One line that can be shown anywhere."""
    line = "".join(one if one.isprintable() else " " for one in text[: 2 * LONGEST_LINE]).strip()
    return line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 1] + "…"


def texts(value: Any, pointer: str = "") -> Iterator[tuple[str, str]]:
    """Every text in the value, names of members too, with its pointer."""
    if isinstance(value, str):
        yield pointer, value
    elif isinstance(value, Mapping):
        for name, one in value.items():
            yield pointer, str(name)
            yield from texts(one, f"{pointer}/{name}")
    elif isinstance(value, list | tuple):
        for number, one in enumerate(value):
            yield from texts(one, f"{pointer}/{number}")


def discard(place: Path) -> None:
    """Remove what is there, whatever it is. Folders may nest deeper than a path can be long or a call can recurse."""
    with contextlib.suppress(OSError):
        if place.is_symlink() or not place.is_dir():
            place.unlink()
            return
        waiting = [place]
        while waiting:
            folder = waiting.pop()
            folder.chmod(0o700)
            for one in list(folder.iterdir()):
                if one.is_symlink() or not one.is_dir():
                    one.unlink()
                else:
                    waiting.append(one.rename(place / f"going-{secrets.token_hex(8)}"))
            if folder != place:
                folder.rmdir()
        place.rmdir()
