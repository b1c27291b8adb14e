"""Resolve secret references at the moment of use.

Events, manifests, logs and git hold only the reference. The value is returned to the caller and kept nowhere.
"""

import os
from pathlib import Path
from typing import Final

LARGEST_BYTES: Final = 64 * 1024


class SecretMissing(Exception):
    """A reference that leads to nothing; the text names the reference, never a value."""


def resolve(reference: str) -> str:
    """The value behind `env:NAME` or `file:/PATH` (one trailing line end is dropped); raise SecretMissing."""
    scheme, _, place = reference.partition(":")
    if scheme == "env" and place:
        value = os.environ.get(place, "")
    elif scheme == "file" and place.startswith("/"):
        value = _content(place)
    else:
        raise SecretMissing("a secret reference is written env:NAME or file:/PATH")
    if not value:
        raise SecretMissing(f"{reference} is not set or empty; provide it where this service runs")
    return value


def _content(place: str) -> str:
    try:
        with Path(place).open("rb") as file:
            raw = file.read(LARGEST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise SecretMissing(f"file:{place} can't be read: {reason}") from None
    if len(raw) > LARGEST_BYTES:
        raise SecretMissing(f"file:{place} is larger than {LARGEST_BYTES // 1024} KiB")
    try:
        return raw.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise SecretMissing(f"file:{place} is not UTF-8 text") from None
