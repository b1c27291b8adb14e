"""What is wrong with something that arrived, and where in it."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong; the text never repeats the value, which may be a secret."""

    pointer: str
    """JSON pointer (RFC 6901) into the body."""
    detail: str


class Invalid(ValueError):
    """Something that arrived can't be accepted; `faults` says all that is wrong with it."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{fault.pointer or '/'} {fault.detail}" for fault in self.faults))


def pointer(*parts: str | int) -> str:
    """The JSON pointer of a path."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def prefixed(prefix: str, faults: Iterable[Fault]) -> list[Fault]:
    """The same faults, seen from the document that holds this one."""
    return [Fault(prefix + fault.pointer, fault.detail) for fault in faults]
