"""Read what a program has left for us, trusting none of it: a link, a pipe, too much, no JSON, or a secret in clear."""

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from entresol_manifests import durations, json_text
from entresol_manifests.digest import canonical
from entresol_manifests.positions import TextError

from entresol_provisioning.drivers import Difference, Observation, Plan, StepFailed, StepSuspended, Touched

LARGEST_BYTES = 1024 * 1024
LARGEST_MEMORY = 16 * 1024
MOST_ENTRIES = 10_000
LONGEST_LINE = 500
LAST_LINES = 12
_SHORTEST_SECRET = 4
_TOUCHED = {"add": (1, 0, 0), "change": (0, 1, 0), "destroy": (0, 0, 1), "replace": (1, 0, 1)}


class Answers:
    """Files beneath the directory in which a program has worked; `secrets` are the values that it was given."""

    def __init__(self, place: Path, secrets: Mapping[str, str]) -> None:
        self._place = place
        self._secrets = {name: value for name, value in secrets.items() if len(value) >= _SHORTEST_SECRET}

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


def planned(document: Mapping[str, Any], digest: Callable[[Any], str]) -> Plan:
    """The plan in a plan.json. What it does not count is counted from its resources."""
    touched = [_touched(one, place) for place, one in enumerate(_list(document, "resources", "plan.json"))]
    sums = [sum(_TOUCHED[one.change][column] for one in touched) for column in range(3)]
    adds, changes, destroys = (
        _count(document, name, default) for name, default in zip(("adds", "changes", "destroys"), sums, strict=True)
    )
    summary = _list(document, "summary", "plan.json")
    if not all(isinstance(line, str) for line in summary):
        raise StepFailed("its plan.json has a summary that is no list of lines")
    return Plan(
        digest=digest(document),
        adds=adds,
        changes=changes,
        destroys=destroys,
        summary=tuple(printable(line) for line in summary),
        resources=tuple(touched),
    )


def observed(document: Mapping[str, Any]) -> Observation:
    """The observation in an observation.json."""
    exists, outputs = document.get("exists"), document.get("outputs")
    if not isinstance(exists, bool):
        raise StepFailed("its observation.json does not say exists: true or false")
    if outputs is not None and not isinstance(outputs, dict):
        raise StepFailed("its observation.json has outputs that are no object")
    found = set()
    for place, one in enumerate(_list(document, "differences", "observation.json")):
        known = isinstance(one, dict) and isinstance(one.get("path"), str)
        if not known or one.get("change") not in ("added", "removed", "changed"):
            raise StepFailed(
                f"its observation.json: /differences/{place} needs path, and change: added|removed|changed"
            )
        found.add(Difference(printable(one["path"]), one["change"]))
    return Observation(
        exists=exists, differences=tuple(sorted(found, key=lambda one: (one.path, one.change))), outputs=outputs
    )


def suspension(status: Mapping[str, Any], round_: int) -> StepSuspended | None:
    """What a status.json asks to wait for; None if it does not."""
    wanted = status.get("suspend")
    if wanted in (None, False):
        return None
    reason = status.get("message") if wanted is True else wanted
    if not isinstance(reason, str) or not reason:
        raise StepFailed("its status.json has suspend: true without a message; say what it waits for")
    after, memory, resumable = status.get("retryAfter"), status.get("memory", {}), status.get("resumable", False)
    if not isinstance(memory, dict) or not isinstance(resumable, bool):
        raise StepFailed("its status.json: memory must be an object, and resumable true or false")
    if len(canonical(memory)) > LARGEST_MEMORY:
        raise StepFailed(f"its status.json: memory exceeds {LARGEST_MEMORY // 1024} KiB")
    try:
        seconds = None if after is None else durations.seconds(str(after))
    except ValueError as error:
        raise StepFailed(f"its status.json: retryAfter: {printable(str(error))}") from None
    return StepSuspended(
        printable(reason),
        look_after_seconds=seconds,
        memory={"round": round_ + 1, "memory": memory},
        resumable=resumable,
    )


def said(status: Mapping[str, Any], name: str) -> str | None:
    """A text of a status.json, cut to one printable line."""
    text = status.get(name)
    return printable(text) if isinstance(text, str) and text.strip() else None


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


def _touched(one: Any, place: int) -> Touched:
    known = isinstance(one, dict) and isinstance(one.get("address"), str) and one["address"]
    if not known or one.get("change") not in _TOUCHED or not isinstance(one.get("type"), str | None):
        raise StepFailed(f"its plan.json: /resources/{place} needs address, and change: add|change|destroy|replace")
    change: Literal["add", "change", "destroy", "replace"] = one["change"]
    return Touched(printable(one["address"]), change, None if one.get("type") is None else printable(one["type"]))


def _count(document: Mapping[str, Any], name: str, default: int) -> int:
    number = document.get(name, default)
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= 1_000_000:
        raise StepFailed(f"its plan.json: {name} is no number of things")
    return number


def _list(document: Mapping[str, Any], name: str, file: str) -> list[Any]:
    found = document.get(name, [])
    if not isinstance(found, list) or len(found) > MOST_ENTRIES:
        raise StepFailed(f"its {file}: {name} is no list of at most {MOST_ENTRIES} entries")
    return found
