"""What every kind of webhook is given, and what it answers with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from entresol_intake.domain.outside import Fact


class Refused(Exception):
    """A delivery that is not let in; the text names no content of it."""

    def __init__(self, reason: str, status: int = 401) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


@dataclass(frozen=True, slots=True)
class Posted:
    """A delivery as it came in."""

    source: str
    """Name of the Source manifest."""
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes
    secrets: Sequence[bytes]
    """Any of them may have signed it: there are two while one is being rotated."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery whose signature is good."""

    id: str
    """The sender's id of it, the same when it is sent again."""
    source: str
    """The CloudEvents source of what it says."""
    actor: str
    """Who is behind it, if the Source manifest names nobody."""
    type: str
    """What the sender calls it; the CloudEvents type where Entresol has no word."""
    fact: Fact | None
    payload: Mapping[str, Any]
    silent: bool = False
    """Whether it is only a greeting, which makes no event."""
