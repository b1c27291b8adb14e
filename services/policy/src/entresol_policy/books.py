"""What is in force, compiled once and dropped whenever something of it changes.

Only the writer thread comes here. After a rollback it is dropped as well, because what it was read from may be gone.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session

from entresol_policy.domain.judging import Policy
from entresol_policy.domain.quotas import Quota
from entresol_policy.domain.scopes import Scope
from entresol_policy.rules import Window, read_policy, read_quota, read_window
from entresol_policy.store import books as store

KINDS = frozenset({"Policy", "Window", "Quota"})


@dataclass(frozen=True, slots=True)
class Lock:
    id: str
    scope: Scope
    because: str
    by: str
    exempt: tuple[str, ...]
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Waiver:
    id: str
    waives: str
    rule: int | None
    scope: Scope
    until: datetime


@dataclass(frozen=True, slots=True)
class InForce:
    """Everything that requests are held against."""

    policies: tuple[Policy, ...]
    windows: tuple[Window, ...]
    quotas: tuple[Quota, ...]
    locks: tuple[Lock, ...]
    waivers: tuple[Waiver, ...]


class Books:
    """Reads what is in force when it is first asked for."""

    def __init__(self) -> None:
        self._known: InForce | None = None

    def forget(self) -> None:
        self._known = None

    def open(self, session: Session) -> InForce:
        if self._known is None:
            self._known = _read(session)
        return self._known


def _read(session: Session) -> InForce:
    manifests = store.manifests(session)
    return InForce(
        policies=tuple(read_policy(name, digest, found) for kind, name, digest, found in manifests if kind == "Policy"),
        windows=tuple(read_window(name, found) for kind, name, _, found in manifests if kind == "Window"),
        quotas=tuple(read_quota(name, found) for kind, name, _, found in manifests if kind == "Quota"),
        locks=tuple(_lock(row) for row in store.locks(session)),
        waivers=tuple(_waiver(row) for row in store.waivers(session)),
    )


def _lock(row: dict[str, Any]) -> Lock:
    return Lock(row["id"], Scope(**row["scope"]), row["because"], row["by"], tuple(row["exempt"]), row["until"])


def _waiver(row: dict[str, Any]) -> Waiver:
    return Waiver(row["id"], row["waives"], row["rule"], Scope(**row["scope"]), row["until"])
