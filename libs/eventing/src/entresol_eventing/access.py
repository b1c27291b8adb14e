"""Who may do what: tokens, principals, roles. Used by the two doors, intake (write) and catalog (read)."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

TOKEN_PREFIX: Final = "entresol_"

PERMISSIONS: Final[Mapping[str, frozenset[str]]] = {
    "viewer": frozenset({"catalog:read"}),
    "publisher": frozenset({"events:publish"}),
    "developer": frozenset({"catalog:read", "requests:write", "approvals:answer", "events:publish", "locks:write"}),
    "platform": frozenset(
        {
            "catalog:read",
            "requests:write",
            "approvals:answer",
            "events:publish",
            "locks:write",
            "locks:everything",
            "waivers:write",
            "manifests:write",
            "dead-letters:manage",
        }
    ),
    "admin": frozenset(
        {
            "catalog:read",
            "requests:write",
            "approvals:answer",
            "events:publish",
            "locks:write",
            "locks:everything",
            "waivers:write",
            "manifests:write",
            "dead-letters:manage",
            "tokens:manage",
        }
    ),
}
"""What each role may do; anything that is not listed is refused.

`locks:everything` is to lock without naming anything, and to lift what others placed.
"""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a bearer token speaks for."""

    token_id: str
    actor: str
    groups: tuple[str, ...]
    role: str
    projects: tuple[str, ...]
    expires_at: datetime | None = None

    def may(self, permission: str) -> bool:
        return permission in PERMISSIONS.get(self.role, frozenset())

    @property
    def reaches_all(self) -> bool:
        return "*" in self.projects

    def reaches(self, project: str) -> bool:
        """Whether the project exists for this principal; another project's things are a 404, not a 403."""
        return self.reaches_all or project in self.projects


def new_token() -> str:
    """A fresh token of 256 random bits; shown once, stored only as its hash."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """SHA-256, hex. The token is 256 random bits, so a slow hash would protect nothing more."""
    return hashlib.sha256(token.encode()).hexdigest()
