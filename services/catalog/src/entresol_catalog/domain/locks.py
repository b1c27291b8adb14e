"""What keeps requests from beginning, and what keeps rules from applying: locks and waivers, with what they are about.

Both end once, by somebody or by themselves, and stay to be seen. Whether one fits a request is policy's to say.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

NOBODY = ""
"""The project of what is about something that is not known: only who reaches everything may see it."""


@dataclass(slots=True)
class Scope:
    """A request that fits every field that is there."""

    project: str | None = None
    environment: str | None = None
    offering: str | None = None
    resource: str | None = None
    action: str | None = None
    request: str | None = None


def concerned(scope: Scope, project_of_request: str | None) -> str | None:
    """The project that a scope is about; None if it is about every one."""
    if scope.project is not None:
        return scope.project
    if scope.resource is not None:
        return scope.resource.split("/", 1)[0]
    if scope.request is not None:
        return NOBODY if project_of_request is None else project_of_request
    return None


@dataclass(slots=True)
class Lock:
    id: str
    scope: Scope
    project: str | None
    """The project that it is about; None if it is about every one."""
    reason: str
    by: str
    exempt: list[str]
    placed_at: datetime
    until: datetime | None
    """When it ends by itself; None: somebody has to lift it."""
    state: Literal["active", "ended"] = "active"
    ended: Literal["lifted", "expired"] | None = None
    ended_at: datetime | None = None
    ended_by: str | None = None
    """Who lifted it."""
    ended_because: str | None = None

    def end(self, how: Literal["lifted", "expired"], at: datetime, by: str | None, because: str | None) -> bool:
        if self.state == "ended":
            return False
        self.state, self.ended, self.ended_at, self.ended_by, self.ended_because = "ended", how, at, by, because
        return True


@dataclass(slots=True)
class Waiver:
    id: str
    waives: str
    """Kind/name, such as Policy/sensible-sizes."""
    rule: int | None
    """Only this rule of the policy, from 0."""
    scope: Scope
    project: str | None
    """The project that it is about; None if it is about every one."""
    reason: str
    ticket: str
    by: str
    granted_at: datetime
    until: datetime
    state: Literal["active", "ended"] = "active"
    ended: Literal["revoked", "expired"] | None = None
    ended_at: datetime | None = None
    ended_by: str | None = None
    """Who revoked it."""
    ended_because: str | None = None

    def end(self, how: Literal["revoked", "expired"], at: datetime, by: str | None, because: str | None) -> bool:
        if self.state == "ended":
            return False
        self.state, self.ended, self.ended_at, self.ended_by, self.ended_because = "ended", how, at, by, because
        return True
