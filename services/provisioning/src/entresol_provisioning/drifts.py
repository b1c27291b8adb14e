"""Drift: whether the world is still what a resource says, and what follows if not.

- A resource is looked at as often as its offering says, spread over time, and at once after an event that hints at it.
- What differs is told when it changes, by paths, never by values. Where it is to be corrected, it is told again with
  each look until it is.
- A look that can't be finished says nothing: not knowing is not drift.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from entresol_contracts.events import Difference, ResourceConverged, ResourceDrifted
from entresol_eventing.reactions import Deadline, Due, Outcome
from entresol_manifests.digest import digest
from sqlalchemy import Connection
from sqlmodel import Session

from entresol_provisioning import store
from entresol_provisioning.domain.drift import is_tolerated, next_ask_seconds
from entresol_provisioning.domain.offering import Drift, Offering
from entresol_provisioning.domain.requests import Resource
from entresol_provisioning.resources import DRIFT, emit, names

MOST: Final = 200
"""Differences that are told."""
LONGEST: Final = 500
REPORTS: Final = "report"


@dataclass(frozen=True, slots=True)
class Sight:
    """What was found of a resource, by step."""

    resource_id: str
    revision: int
    begun_at: datetime
    differences: tuple[Mapping[str, str], ...] = ()
    """{step, path, change}"""
    gone: tuple[str, ...] = ()
    """Steps of which nothing is there."""
    unknown: str | None = None
    """Why it can't be told."""


def begin(
    connection: Connection,
    resource: Resource,
    offering: Offering,
    differences: Sequence[Mapping[str, str]],
    at: datetime,
) -> Iterator[Outcome]:
    """After a run: what was adopted may differ from the start, and what had drifted may be right again."""
    if differences:
        found = Sight(resource.id, resource.revision, at, tuple(differences))
        yield from _tell(connection, resource, offering.drift or Drift(), found, at)
    if resource.drift is not None:
        store.ask_to_look(connection, (resource.id,))
    if offering.drift is not None:
        yield from _schedule(resource, offering.drift, at)


def look(due: Due, session: Session) -> Iterator[Outcome]:
    """It is time to look at the resource."""
    store.ask_to_look(session.connection(), (due.args["resource_id"],))
    yield from ()


def look_soon(connection: Connection, resource: Resource, offering: Offering | None) -> None:
    if offering is not None and offering.drift is not None:
        store.ask_to_look(connection, (resource.id,))


def record(connection: Connection, found: Sight, offering: Offering | None, at: datetime) -> Iterator[Outcome]:
    """Write down what was seen, and look again when it is time; at once if the resource was changed meanwhile."""
    resource = store.find_resource(connection, found.resource_id)
    if resource is None or not resource.exists or resource.paused is not None or offering is None:
        store.forget_look(connection, found.resource_id)
        return
    if resource.revision != found.revision or store.is_busy(connection, resource.id):
        return
    store.forget_look(connection, found.resource_id, found.begun_at)
    drift = offering.drift or Drift()
    if found.unknown is None:
        yield from _tell(connection, resource, drift, found, at)
    yield from _schedule(resource, drift, at)


def _tell(connection: Connection, resource: Resource, drift: Drift, found: Sight, at: datetime) -> Iterator[Outcome]:
    listed = [one for one in found.differences if not is_tolerated(one["path"], drift.tolerate)]
    if not listed and not found.gone:
        if resource.drift is not None:
            current = _remember(connection, resource, None)
            yield emit(current, ResourceConverged(**names(current), owner=current.owner, checked_at=at))
        return
    code = digest({"differences": listed, "gone": found.gone})
    before = resource.drift if resource.drift is not None and resource.drift["digest"] == code else None
    if before is not None and not _is_asked_again(before, drift, at):
        return
    memory: dict[str, Any] = {"digest": code}
    again_at: datetime | None = None
    if drift.mode != REPORTS:
        asked = 1 if before is None else before.get("asked", 0) + 1
        again_at = at + timedelta(seconds=next_ask_seconds(asked, drift.every_seconds))
        memory |= {"asked": asked, "again_at": again_at.isoformat()}
    current = _remember(connection, resource, memory)
    yield emit(
        current,
        ResourceDrifted(
            **names(current),
            owner=current.owner,
            mode=drift.mode,
            differences=[_told(one) for one in listed[:MOST]],
            more=max(0, len(listed) - MOST),
            gone=list(found.gone) or None,
            checked_at=at,
            again_at=again_at,
        ),
    )


def _is_asked_again(before: Mapping[str, Any], drift: Drift, at: datetime) -> bool:
    """Whether what has been told already is told again, so that somebody is asked to put it right."""
    again_at = before.get("again_at")
    return drift.mode != REPORTS and (again_at is None or at >= datetime.fromisoformat(again_at))


def _told(one: Mapping[str, str]) -> Difference:
    path = one["path"] if len(one["path"]) <= LONGEST else f"{one['path'][: LONGEST - 1]}…"
    return Difference(step=one["step"], path=path, change=one["change"])


def _remember(connection: Connection, resource: Resource, drift: dict[str, Any] | None) -> Resource:
    current = replace(resource, drift=drift, revision=resource.revision + 1)
    store.save_resource(connection, current, known=True)
    return current


def _schedule(resource: Resource, drift: Drift, at: datetime) -> Iterator[Outcome]:
    """Nine to eleven tenths of the interval from now, so that what was made together is not looked at together."""
    if drift.every_seconds is None:
        return
    code = hashlib.sha256(f"{resource.id} {at.timestamp()}".encode()).digest()
    spread = 0.9 + 0.2 * int.from_bytes(code[:4]) / 2**32
    due_at = at + timedelta(seconds=drift.every_seconds * spread)
    yield Deadline(f"{DRIFT}:{resource.id}", DRIFT, due_at, {"resource_id": resource.id})
