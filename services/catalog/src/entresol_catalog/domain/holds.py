"""What holds a request back that nobody objects to, and how it was let pass all the same."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(slots=True)
class Hold:
    """Why a request that nobody objects to may not begin yet."""

    kind: Literal["lock", "window"]
    name: str
    because: str
    by: str | None
    until: datetime | None
    """When it ends or opens by itself; None if somebody has to lift it."""

    def __str__(self) -> str:
        by = f" by {self.by}" if self.by else ""
        until = f" until {self.until:%Y-%m-%d %H:%M} UTC" if self.until else ""
        return f"{self.kind} {self.name}{by}{until}: {self.because}"


@dataclass(slots=True)
class Override:
    """Somebody wanted a held request to begin."""

    by: str
    reason: str
    at: datetime
    event: str
    """The id of the event in which it was said."""
    counts: bool | None = None
    """None until policy has said so."""
    refused: str | None = None
    """Why it does not count."""


@dataclass(slots=True)
class Glass:
    """It was broken: the request went past what stood in its way, and somebody has to sign that off."""

    reason: str
    by: str
    at: datetime
    bypassed: list[str]
    review_id: str
    reviewers: list[str]
    review_by: datetime
    policy: str | None
