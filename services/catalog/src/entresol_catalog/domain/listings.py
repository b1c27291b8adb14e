"""The smaller pictures: manifests, tokens, dead letters, notifications."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal


@dataclass(slots=True)
class Manifest:
    kind: str
    name: str
    version: str | None
    digest: str
    applied_at: datetime
    manifest: dict[str, Any]
    removed: bool = False


@dataclass(slots=True)
class Token:
    """Never holds the token, and is shown without its hash."""

    id: str
    actor: str
    groups: list[str]
    role: Literal["admin", "platform", "developer", "publisher", "viewer"]
    projects: list[str]
    issued_at: datetime
    expires_at: datetime | None
    hash: str
    revoked_at: datetime | None = None

    def valid(self, at: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or at < self.expires_at)


@dataclass(slots=True)
class DeadLetter:
    """A message that a service could not handle: it is being retried, or waits for an operator."""

    id: str
    service: str
    reason: str
    attempts: int
    type: str | None
    partitionkey: str | None
    log_subject: str
    size_bytes: int
    digest: str
    body: str | None
    """Its first 64 KiB, base64."""
    since: datetime
    """When it was told of first."""
    state: Literal["retrying", "waiting", "redriven", "discarded", "released"] = "waiting"
    """`released`: a retry succeeded by itself."""
    ended_by: str | None = None
    ended_at: datetime | None = None
    ended_because: str | None = None
    retry_at: datetime | None = None
    """When it is tried next, while it is being retried."""
    behind: int = 0
    """Messages of its partition key that waited behind it when it was told of last."""
    event_id: str | None = None
    correlationid: str | None = None
    """The chain it belongs to, if it could be read."""


@dataclass(slots=True)
class Notification:
    id: str
    state: Literal["delivered", "failed"]
    channel: str
    route: str
    event_id: str
    event_type: str
    attempts: int
    answer: str | None
    """What the receiver said, or why it was given up."""
    at: datetime
    project: str | None
