"""What the readers of YAML and JSON have in common: values with the line of every member, and errors with a place."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

DEEPEST: Final = 64
MOST_NODES: Final = 100_000
"""Values in one file, copies made by aliases included."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """One document of a file: the value, and the line (from 1) of each JSON pointer in it."""

    value: Any
    lines: Mapping[str, int]


class TextError(ValueError):
    """Where and why a text can't be read, and what to do about it."""

    def __init__(self, message: str, line: int, column: int, remedy: str = "") -> None:
        super().__init__(message)
        self.message, self.line, self.column, self.remedy = message, line, column, remedy


def place_of(text: str, offset: int) -> tuple[int, int]:
    """Line and column, both from 1, of a character."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def unusable(text: str) -> str | None:
    """Why a text must not be kept, if it must not: no database and no log stores these."""
    if "\0" in text:
        return "a text holds a NUL character"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "a text holds half of a surrogate pair"
    return None
