"""What arrives by the log: each message is handled once, or parked; none is lost and none blocks another key.

- A copy of an event that was handled is dropped by the inbox.
- What is no event of the contract is kept whole as a dead letter.
- A message whose handler fails is parked and retried with backoff; later ones of its partition key wait behind it.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from entresol_contracts import Payload
from entresol_contracts.events import DiscardRequested, RedriveRequested
from sqlalchemy import Connection, bindparam, insert, select
from sqlmodel import Session

from entresol_eventing import notices, parking
from entresol_eventing.envelope import MAX_HOPS, Cause, Event, Malformed, decode, now, types_by_model
from entresol_eventing.reactions import Outcome, Reactions
from entresol_eventing.statements import Statement, asks_each
from entresol_eventing.store import cursor, inbox
from entresol_eventing.units import Job, Recorded
from entresol_eventing.wire import parse_headers

log = logging.getLogger(__name__)

_SEEN = select(inbox.c.id, inbox.c.source).where(inbox.c.id.in_(bindparam("ids", expanding=True)))
_SEEN_ONE = Statement(select(inbox.c.id).where(inbox.c.id == bindparam("id"), inbox.c.source == bindparam("source")))
_REMEMBER = Statement(insert(inbox))

Ingest: TypeAlias = Callable[[str, Mapping[str, str], bytes, Session], Iterable[Outcome]]
"""Handles a message that somebody outside published: (log subject, headers, body, session)."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it came by the log."""

    log_subject: str
    raw_headers: bytes | None
    """In wire form: few messages are ever asked for theirs."""
    body: bytes
    position: int
    """Its sequence in the stream."""

    @property
    def headers(self) -> Mapping[str, str]:
        return parse_headers(self.raw_headers)


@dataclass(slots=True)
class Handling:
    """What is needed to handle a message, whichever way it comes: new, again, or redriven."""

    service: str
    reactions: Reactions
    ingest: Ingest | None
    max_attempts: int
    span: Callable[[Event[Any]], AbstractContextManager[Cause]]
    facts: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        models: set[type[Payload]] = {*self.reactions.to, RedriveRequested, DiscardRequested}
        self.facts = frozenset(types_by_model()[model].fact for model in models)

    def wants(self, log_subject: str) -> bool:
        """Whether any handler looks at what lies under this subject; told from the subject alone, which is cheap."""
        tokens = log_subject.split(".", 4)
        return self.reactions.to_batch is not None or len(tokens) < 4 or f"{tokens[2]}.{tokens[3]}" in self.facts

    def handle(self, events: Sequence[Event[Any]], session: Session, recorded: Recorded) -> None:
        """Run the handlers of events, in order."""
        for event in events:
            if isinstance(event.data, RedriveRequested):
                parking.redrive(event.data, self.service, session, recorded)
            elif isinstance(event.data, DiscardRequested):
                recorded.add(parking.discard(event.data, self.service, session, recorded), event.cause)
            if handler := self.reactions.to.get(type(event.data)):
                with self.span(event) as cause:
                    recorded.add(handler(event, session), cause)
        if self.reactions.to_batch is not None:
            recorded.add(self.reactions.to_batch(events, session), events[-1].cause)


@dataclass(slots=True)
class BatchJob:
    """Messages of the platform's log, handled in their order in one transaction."""

    handling: Handling
    messages: Sequence[Message]
    consumer: str

    def run(self, session: Session, recorded: Recorded) -> int:
        """Return how many messages were new."""
        events = self._new(session, recorded)
        free, behind = _by_key(events, recorded.parked_keys)
        for message, event in behind:
            parking.park_behind(message, event.partitionkey, session, recorded)
        if free:
            self.handling.handle([event for _, event in free], session, recorded)
        if events:
            seen_at = now()
            rows = [{"id": event.id, "source": event.source, "seen_at": seen_at} for _, event in events]
            _REMEMBER.many(session.connection(), rows)
        recorded.cursors[self.consumer] = self.messages[-1].position
        return len(events)

    def _new(self, session: Session, recorded: Recorded) -> list[tuple[Message, Event[Any]]]:
        decoded: list[tuple[Message, Event[Any]]] = []
        for message in self.messages:
            try:
                event = decode(message.body)
                if event.hopcount > MAX_HOPS:
                    raise Malformed(f"a chain of more than {MAX_HOPS} causes: a loop")
            except Malformed as error:
                quarantined = parking.quarantine(message, self.handling.service, str(error), session, recorded)
                recorded.add(quarantined, notices.origin(message))
            else:
                decoded.append((message, event))
        if not decoded:
            return []
        seen = _seen([event for _, event in decoded], session.connection())
        new = []
        for message, event in decoded:
            if (key := (event.id, event.source)) not in seen:
                seen.add(key)
                new.append((message, event))
        return new

    def split(self) -> Sequence[Job]:
        return [BatchJob(self.handling, (message,), self.consumer) for message in self.messages]

    def failed(self, error: Exception, session: Session, recorded: Recorded) -> None:
        """Park the one message of this part; it counts as seen, because it is kept."""
        (message,) = self.messages
        event = decode(message.body)
        log.warning(
            "a message could not be handled and is parked",
            extra={"event_type": event.type, "event_id": event.id, "correlation_id": event.correlationid},
            exc_info=error,
        )
        parking.park(message, event.partitionkey, error, session, recorded, self.handling)
        _REMEMBER.many(session.connection(), [{"id": event.id, "source": event.source, "seen_at": now()}])
        recorded.cursors[self.consumer] = message.position


def _seen(events: Sequence[Event[Any]], connection: Connection) -> set[tuple[str, str]]:
    """Id and source of those events that were handled already."""
    if not asks_each(connection, len(events)):
        return {(row.id, row.source) for row in connection.execute(_SEEN, {"ids": [event.id for event in events]})}
    known = (one for one in events if _SEEN_ONE.first(connection, id=one.id, source=one.source))
    return {(one.id, one.source) for one in known}


def _by_key(
    events: list[tuple[Message, Event[Any]]], parked: set[str]
) -> tuple[list[tuple[Message, Event[Any]]], list[tuple[Message, Event[Any]]]]:
    if not parked:
        return events, []
    return (
        [pair for pair in events if pair[1].partitionkey not in parked],
        [pair for pair in events if pair[1].partitionkey in parked],
    )


@dataclass(slots=True)
class IngestJob:
    """Messages that somebody outside published."""

    handling: Handling
    messages: Sequence[Message]
    consumer: str

    def run(self, session: Session, recorded: Recorded) -> int:
        assert self.handling.ingest is not None
        # An outside message need not have an id, so the position tells what a commit of unknown outcome has stored.
        done = session.execute(select(cursor.c.position).where(cursor.c.name == self.consumer)).scalar() or 0
        for message in self.messages:
            if message.position <= done:
                continue
            recorded.add(
                self.handling.ingest(message.log_subject, message.headers, message.body, session),
                notices.origin(None),
            )
        recorded.cursors[self.consumer] = max(done, self.messages[-1].position)
        return len(self.messages)

    def split(self) -> Sequence[Job]:
        return [IngestJob(self.handling, (message,), self.consumer) for message in self.messages]

    def failed(self, error: Exception, session: Session, recorded: Recorded) -> None:
        (message,) = self.messages
        log.warning("a message from outside could not be handled and is parked", exc_info=error)
        parking.park(message, None, error, session, recorded, self.handling)
        recorded.cursors[self.consumer] = message.position


@dataclass(slots=True)
class RetryJob:
    """A parked message that is tried again."""

    handling: Handling
    position: int

    def run(self, session: Session, recorded: Recorded) -> bool:
        """Return whether there was anything to do."""
        row = parking.head(self.position, session)
        if row is None:
            return False
        if row.log_subject.startswith("entresol.ingest.") and self.handling.ingest is not None:
            recorded.add(self.handling.ingest(row.log_subject, row.headers, row.body, session), notices.origin(None))
        else:
            self._handle(decode(row.body), new=row.partitionkey is None, session=session, recorded=recorded)
        recorded.add(parking.released(row, self.handling.service, session, recorded), notices.origin(row))
        return True

    def _handle(self, event: Event[Any], *, new: bool, session: Session, recorded: Recorded) -> None:
        """Handle it; what could not be read when it came is not in the inbox yet, where a copy of it may be by now."""
        if new:
            if _seen((event,), session.connection()):
                return
            _REMEMBER.many(session.connection(), [{"id": event.id, "source": event.source, "seen_at": now()}])
        self.handling.handle((event,), session, recorded)

    def split(self) -> Sequence[Job]:
        return (self,)

    def failed(self, error: Exception, session: Session, recorded: Recorded) -> None:
        row = parking.head(self.position, session)
        if row is not None:
            parking.retry_later(row, error, session, recorded, self.handling)
