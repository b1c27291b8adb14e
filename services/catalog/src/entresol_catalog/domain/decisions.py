"""What policy said about a request, and what holds it back or let it pass."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal


@dataclass(slots=True)
class Decision:
    """The last word of policy. Verdicts, quotas and holds are as the fact has them, without what is absent."""

    outcome: Literal["allowed", "denied"]
    at: datetime
    verdicts: list[dict[str, Any]]
    unconcerned: list[str] = field(default_factory=list)
    """Policies in force whose `when` does not hold."""
    policies: int | None = None
    """How many policies were in force."""
    approvals: list[str] = field(default_factory=list)
    """Those that were granted for it."""
    quotas: list[dict[str, Any]] = field(default_factory=list)
    overridden: list[dict[str, Any]] = field(default_factory=list)
    """Locks and windows that somebody let it through."""
    glass_broken: bool = False
    plan_digest: str | None = None


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
    """Somebody wanted a held request to begin; why that did not count, if it did not."""

    by: str
    reason: str
    at: datetime
    refused: str | None = None


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
