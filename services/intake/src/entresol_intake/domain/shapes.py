"""Reading JSON objects by hand: collects every fault instead of stopping at the first."""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from entresol_intake.domain.faults import Fault, Invalid, pointer

SLUG: Final = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
VERSION: Final = r"^(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})$"
_slug = re.compile(SLUG.removeprefix("^").removesuffix("$")).fullmatch
_version = re.compile(VERSION.removeprefix("^").removesuffix("$")).fullmatch

SLUG_RULE: Final = "must be 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit"

_TEXT_RULE: Final = "must be a text of 1 to {} characters, and not only blanks"


def is_slug(value: object) -> bool:
    return isinstance(value, str) and _slug(value) is not None


def is_version(value: object) -> bool:
    return isinstance(value, str) and _version(value) is not None


def is_actor(value: str, kinds: Collection[str]) -> bool:
    """Whether it is one of the kinds, a colon, and a name without blanks."""
    kind, _, name = value.partition(":")
    return kind in kinds and name != "" and name.isprintable() and " " not in name


def _says_something(value: object, most: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= most and not value.isspace()


class Fields:
    """One JSON object being read. `done()` raises Invalid with everything that was wrong."""

    def __init__(self, document: object, known: Collection[str]) -> None:
        self.faults: list[Fault] = []
        self.values: Mapping[str, Any] = {}
        if not isinstance(document, dict):
            raise Invalid([Fault("", "must be a JSON object")])
        self.values = document
        for name in document:
            if name not in known:
                self.faults.append(Fault(pointer(name), f"is not known here; known are {', '.join(known)}"))

    def refuse(self, name: str, detail: str) -> None:
        self.faults.append(Fault(pointer(name), detail))

    def slug(self, name: str, default: str | None = None) -> str:
        value = self.values.get(name, default)
        if value is None and name not in self.values:
            self.refuse(name, "is missing")
        elif not is_slug(value):
            self.refuse(name, SLUG_RULE)
        else:
            return str(value)
        return ""

    def text(self, name: str, *, most: int, required: bool = False) -> str | None:
        """A text of 1 to `most` characters, not all blank; JSON null counts as absent unless it is required."""
        value = self.values.get(name)
        if value is None and not (required and name in self.values):
            if required:
                self.refuse(name, "is missing")
            return None
        if not _says_something(value, most):
            self.refuse(name, _TEXT_RULE.format(most))
            return None
        return str(value)

    def flag(self, name: str) -> bool:
        value = self.values.get(name, False)
        if not isinstance(value, bool):
            self.refuse(name, "must be true or false")
            return False
        return value

    def record(self, name: str) -> dict[str, Any]:
        value = self.values.get(name)
        if value is None and name not in self.values:
            return {}
        if not isinstance(value, dict):
            self.refuse(name, "must be a JSON object")
            return {}
        return value

    def choice(self, name: str, among: Collection[str]) -> str:
        value = self.values.get(name)
        if not isinstance(value, str) or value not in among:
            self.refuse(name, f"must be one of {', '.join(among)}")
            return ""
        return value

    def texts(self, name: str, *, most: int, default: list[str]) -> list[str]:
        """Up to 100 different texts of 1 to `most` characters each, none of them all blank."""
        value = self.values.get(name, default)
        if not isinstance(value, list) or len(value) > 100:
            self.refuse(name, "must be an array of at most 100 texts")
            return []
        for index, item in enumerate(value):
            if not _says_something(item, most):
                self.faults.append(Fault(pointer(name, index), _TEXT_RULE.format(most)))
        return [item for item in value if isinstance(item, str)]

    def done(self) -> None:
        if self.faults:
            raise Invalid(self.faults)
