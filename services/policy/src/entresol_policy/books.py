"""What is in force, compiled once and dropped whenever something of it changes.

Only the writer thread comes here. After a rollback it is dropped as well, because what it was read from may be gone.
"""

from collections.abc import Mapping
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
    policies = {f"Policy/{name}": found for kind, name, _, found in manifests if kind == "Policy"}
    return InForce(
        policies=tuple(read_policy(name, digest, found) for kind, name, digest, found in manifests if kind == "Policy"),
        windows=tuple(read_window(name, found) for kind, name, _, found in manifests if kind == "Window"),
        quotas=tuple(read_quota(name, found) for kind, name, _, found in manifests if kind == "Quota"),
        locks=tuple(_lock(row) for row in store.locks(session)),
        waivers=tuple(found for row in store.waivers(session) if (found := _waiver(row, policies)) is not None),
    )


def _lock(row: dict[str, Any]) -> Lock:
    return Lock(row["id"], Scope(**row["scope"]), row["because"], row["by"], tuple(row["exempt"]), row["until"])


def _waiver(row: dict[str, Any], policies: Mapping[str, Any]) -> Waiver | None:
    """None if what it waives is not there any more. A rule is found again where others have come before it."""
    rule, wanted = row["rule"], row["rule_digest"]
    if rule is not None and wanted is not None:
        there = store.rule_digests(policies.get(row["waives"]))
        if wanted not in there:
            return None
        rule = rule if there[rule : rule + 1] == [wanted] else there.index(wanted)
    return Waiver(row["id"], row["waives"], rule, Scope(**row["scope"]), row["until"])
