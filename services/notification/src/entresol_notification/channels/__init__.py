"""What every channel promises: hand a notice over, or say why not.

- `deliver` returns only when the receiver has taken the notice; what it returns may be shown to anyone.
- It raises Undelivered for whatever the receiver or the network does, with a text that holds no secret and no URL.
- It may be called again for the same notice, with the same `delivery_id`; the receiver can tell the copies by it.
"""

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Answering:
    """Where the reader answers what a notice asks. The URL is a secret: whoever has it answers as them."""

    actor: str
    url: str = field(repr=False)

    @property
    def line(self) -> str:
        """For a text; one line without control characters."""
        return f"Answer as {self.actor}: {self.url}"


@dataclass(frozen=True, slots=True)
class Notice:
    """What is to be told."""

    delivery_id: str
    event_type: str
    event: str
    """The CloudEvent in structured JSON."""
    message: str
    """One line without control characters."""
    answering: Answering | None = None


class Undelivered(Exception):
    """The receiver did not take it."""

    def __init__(
        self, reason: str, *, final: bool = False, retry_after_seconds: float | None = None, text: str = ""
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.final = final
        """Trying again would change nothing."""
        self.retry_after_seconds = retry_after_seconds
        self.text = text
        """What the receiver said besides; for channels that know what it may hold, never shown as it is."""


class Channel(Protocol):
    """One receiver."""

    async def deliver(self, notice: Notice) -> str: ...
