"""Drift: whether the world is still what a resource says, and what follows if not.

- A resource is looked at as often as its offering says, spread over time, and at once after an event that hints at it.
- What differs is told when it changes, by paths, never by values. Where it is to be corrected, it is told again with
  each look until it is.
- A look that can't be finished says nothing of drift, and is tried again soon. That nobody can look any more is told
  once, at once if somebody has to do something about it, else after some looks in a row; so is the end of that.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from entresol_contracts.events import (
    Difference,
    ResourceConverged,
    ResourceDrifted,
    ResourceObserved,
    ResourceUnobserved,
)
from entresol_eventing.reactions import Deadline, Due, Outcome
from entresol_manifests.digest import digest
from sqlalchemy import Connection
from sqlmodel import Session

from entresol_provisioning import store
from entresol_provisioning.domain.drift import is_tolerated, next_ask_seconds
from entresol_provisioning.domain.offering import Drift, Offering
from entresol_provisioning.domain.requests import Resource, next_delay_seconds
from entresol_provisioning.resources import DRIFT, emit, names

MOST: Final = 200
"""Differences that are told."""
LONGEST: Final = 500
LONGEST_REASON: Final = 1000
REPORTS: Final = "report"
PATIENCE: Final = 3
"""Looks in a row that fail before that is told, if they may succeed without anybody doing anything."""
SOONEST_SECONDS: Final = 60.0
LATEST_SECONDS: Final = 900.0
"""How long after a look that failed the next one comes; doubled each time."""


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
    passing: bool = False
    """Whether that may pass by itself."""


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
    if resource.drift is not None or resource.missed is not None:
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
    if found.unknown is not None:
        yield from _miss(connection, resource, found, found.unknown, at)
        return
    drift = offering.drift or Drift()
    seen = replace(resource, seen_at=found.begun_at, missed=None, unobserved=False)
    if resource.missed is not None and resource.unobserved:
        seen = _changed(connection, seen)
        since = datetime.fromisoformat(resource.missed["since"])
        yield emit(seen, ResourceObserved(**names(seen), owner=seen.owner, since=since, checked_at=found.begun_at))
    else:
        store.change_resource(connection, seen.id, seen_at=seen.seen_at, missed=None)
    yield from _tell(connection, seen, drift, found, at)
    yield from _schedule(resource, drift, at)


def _miss(connection: Connection, resource: Resource, found: Sight, reason: str, at: datetime) -> Iterator[Outcome]:
    """The look has failed: look again soon, and say so if it is to be told and was not."""
    before = resource.missed or {"since": found.begun_at.isoformat(), "count": 0}
    missed = {**before, "count": before["count"] + 1}
    if resource.unobserved or (found.passing and missed["count"] < PATIENCE):
        store.change_resource(connection, resource.id, missed=missed)
    else:
        current = _changed(connection, resource, missed=missed, unobserved=True)
        yield emit(
            current,
            ResourceUnobserved(
                **names(current),
                owner=current.owner,
                since=datetime.fromisoformat(missed["since"]),
                reason=_short(reason, LONGEST_REASON),
                checked_at=found.begun_at,
                seen_at=current.seen_at,
            ),
        )
    spread = _spread(resource, at)
    delay = next_delay_seconds(missed["count"], spread, first=SOONEST_SECONDS, longest=LATEST_SECONDS)
    yield _look_at(resource, at + timedelta(seconds=delay))


def _tell(connection: Connection, resource: Resource, drift: Drift, found: Sight, at: datetime) -> Iterator[Outcome]:
    listed = [one for one in found.differences if not is_tolerated(one["path"], drift.tolerate)]
    if not listed and not found.gone:
        if resource.drift is not None:
            current = _changed(connection, resource, drift=None)
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
    current = _changed(connection, resource, drift=memory)
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
    return Difference(step=one["step"], path=_short(one["path"], LONGEST), change=one["change"])


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _changed(connection: Connection, resource: Resource, **changes: Any) -> Resource:
    current = replace(resource, revision=resource.revision + 1, **changes)
    store.save_resource(connection, current, known=True)
    return current


def _schedule(resource: Resource, drift: Drift, at: datetime) -> Iterator[Outcome]:
    """Nine to eleven tenths of the interval from now, so that what was made together is not looked at together."""
    if drift.every_seconds is None:
        return
    yield _look_at(resource, at + timedelta(seconds=drift.every_seconds * (0.9 + 0.2 * _spread(resource, at))))


def _look_at(resource: Resource, due_at: datetime) -> Deadline:
    return Deadline(f"{DRIFT}:{resource.id}", DRIFT, due_at, {"resource_id": resource.id})


def _spread(resource: Resource, at: datetime) -> float:
    """From 0 to 1, another for each resource and time."""
    code = hashlib.sha256(f"{resource.id} {at.timestamp()}".encode()).digest()
    return int.from_bytes(code[:4]) / 2**32
