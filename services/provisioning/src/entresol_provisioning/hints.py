"""Hints: events that may mean that somebody has changed resources, which are then looked at.

- The handler only writes an event down that some offering takes for a hint. A worker finds out which resources it
  concerns, so thousands of them keep nobody waiting, and neither does a condition that takes long.
- It is a deadline until that is done: if nobody has found out when it comes, all resources of these offerings are
  looked at. So are all where it can't be said or takes too long: to look once more does no harm.
"""

import asyncio
import contextlib
import time
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final

from entresol_eventing.envelope import Event, now
from entresol_eventing.reactions import Cancel, Deadline, Due, Outcome
from entresol_eventing.service import Service
from entresol_eventing.store import deadline
from entresol_eventing.writer import Unavailable
from entresol_manifests.expressions import ExpressionError, Scope, compile_expression
from entresol_manifests.guard import Guard
from sqlalchemy import select
from sqlmodel import Session

from entresol_provisioning import store
from entresol_provisioning.domain.graph import Impossible
from entresol_provisioning.offerings import Offerings
from entresol_provisioning.tables import resource

HINT: Final = "hint"
AT_THE_LATEST: Final = timedelta(minutes=10)
AT_ONCE: Final = 20
"""Hints that are weighed before any of it is written down."""
LOOK_SECONDS: Final = 5.0
WEIGHING_SECONDS: Final = 10.0
"""After so long the rest of an offering's resources is taken to be concerned."""

_ABOUT: Final = tuple(resource.c[name] for name in ("id", "project", "environment", "name", "inputs", "outputs"))


@dataclass(frozen=True, slots=True)
class Hint:
    """An event, with the offerings that take such events for hints."""

    key: str
    event: Mapping[str, Any]
    offerings: tuple[str, ...]
    """Their digests."""


@dataclass(frozen=True, slots=True)
class Concerned:
    """Whom it concerns of one offering: all of its resources that come after `all_after`, and those listed."""

    offering: str
    listed: tuple[str, ...] = ()
    all_after: str | None = None


class Hints:
    """Hears hints in the writer's thread, and weighs them in another."""

    def __init__(self, offerings: Offerings) -> None:
        self._offerings = offerings
        self._guard = Guard()
        self._heard: list[str] = []
        """Keys of what is to be weighed, perhaps not yet committed, perhaps never; all of it lies in the store."""

    def hear(self, event: Event[Any], session: Session) -> Iterator[Outcome]:
        """Write down that this event may concern resources."""
        hinted = self._offerings.hinted(session.connection(), event.type)
        if hinted:
            key = f"{HINT}:{event.source} {event.id}"
            args = {
                "event": event.model_dump(mode="json", by_alias=True, exclude_none=True),
                "offerings": [one.digest for one in hinted],
            }
            self._heard.append(key)
            yield Deadline(key, HINT, now() + AT_THE_LATEST, args)

    def give_up(self, due: Due, session: Session) -> Iterator[Outcome]:
        """Nobody found out whom it concerns: look at all of them."""
        hint = _read(due.key, due.args)
        for digest in hint.offerings:
            _ask(session, Concerned(digest, all_after=""))
        yield from ()

    async def work(self, service: Service) -> None:
        """Weigh what was heard until it is cancelled."""
        looked_at = float("-inf")
        async with service.commits.subscribe() as wake:
            while True:
                if everything := time.monotonic() - looked_at >= LOOK_SECONDS:
                    looked_at = time.monotonic()
                    self._heard.clear()
                keys = None if everything else tuple(self._heard)
                hints = await service.read(partial(_pending, keys)) if keys != () else []
                if not hints:
                    await wake.wait(LOOK_SECONDS)
                for hint in hints:
                    await _record(service, hint, await service.read(partial(self.weigh, hint)))
                    with contextlib.suppress(ValueError):
                        self._heard.remove(hint.key)
                if everything and hints:  # perhaps not all of them
                    looked_at = float("-inf")

    def weigh(self, hint: Hint, session: Session) -> list[Concerned]:
        """Whom it concerns."""
        return [self._weigh(hint, digest, session) for digest in hint.offerings]

    def _weigh(self, hint: Hint, digest: str, session: Session) -> Concerned:
        try:
            offering = self._offerings.get(session.connection(), digest)
        except Impossible:
            return Concerned(digest, all_after="")
        hints = offering.drift.hints if offering is not None and offering.drift is not None else ()
        scope = Scope(event=hint.event)
        of_each: list[str] = []
        for condition in (one.when for one in hints if one.on == hint.event["type"]):
            verdict = None if condition is None else self._of_all(condition, scope)
            if condition is None or verdict:
                return Concerned(digest, all_after="")
            if verdict is None:
                of_each.append(condition)
        return self._of_each(digest, of_each, scope, session) if of_each else Concerned(digest)

    def _of_all(self, condition: str, scope: Scope) -> bool | None:
        """Whether it holds whatever the resource is; None if that depends on the resource."""
        try:
            return self._guard.holds(condition, scope)
        except ExpressionError:
            return None if _reads_resource(condition) else True

    def _of_each(self, digest: str, conditions: Sequence[str], scope: Scope, session: Session) -> Concerned:
        begun, last = time.monotonic(), ""
        listed: list[str] = []
        query = select(*_ABOUT).where(*store.existing(digest)).order_by(resource.c.id)
        for row in session.connection().execution_options(yield_per=500).execute(query):
            if time.monotonic() - begun > WEIGHING_SECONDS:
                return Concerned(digest, tuple(listed), all_after=last)
            last = row.id
            scope.put("resource", dict(row._mapping))
            if any(self._holds(one, scope) for one in conditions):
                listed.append(row.id)
        return Concerned(digest, tuple(listed))

    def _holds(self, condition: str, scope: Scope) -> bool:
        try:
            return self._guard.holds(condition, scope)
        except ExpressionError:
            return True


def _reads_resource(condition: str) -> bool:
    try:
        return "resource" in compile_expression(condition).names()
    except ExpressionError:
        return False


def _pending(keys: Collection[str] | None, session: Session) -> list[Hint]:
    """The oldest hints that are to be weighed, all or among these."""
    query = select(deadline.c.key, deadline.c.args).order_by(deadline.c.due_at).limit(AT_ONCE)
    query = query.where(deadline.c.kind == HINT if keys is None else deadline.c.key.in_(list(keys)[:AT_ONCE]))
    return [_read(row.key, row.args) for row in session.connection().execute(query)]


def _read(key: str, args: Mapping[str, Any]) -> Hint:
    return Hint(key, args["event"], tuple(args["offerings"]))


def _ask(session: Session, one: Concerned) -> None:
    connection = session.connection()
    if one.all_after is not None:
        store.ask_to_look_at_all(connection, one.offering, one.all_after)
    store.ask_to_look(connection, one.listed)


async def _record(service: Service, hint: Hint, found: Sequence[Concerned]) -> None:
    def unit(session: Session) -> Generator[Outcome, None, None]:
        for one in found:
            _ask(session, one)
        yield Cancel(hint.key)

    while True:
        try:
            await service.transact(unit)
            return
        except Unavailable:
            await asyncio.sleep(1.0)
