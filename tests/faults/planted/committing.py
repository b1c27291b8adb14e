"""Bugs in what is committed together, and when."""

import fcntl
import json
import socket
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace as changed
from typing import Any
from urllib.parse import urlsplit

from entresol_eventing import deadlines, units, upkeep
from entresol_eventing.envelope import now
from entresol_eventing.failpoints import failpoint
from entresol_eventing.reactions import Cancel, Deadline, Outcome
from entresol_eventing.recording import save_cursor
from entresol_eventing.service import Service
from entresol_eventing.settings import RuntimeSettings
from entresol_eventing.store import outbox
from entresol_eventing.units import Recorded
from entresol_eventing.writer import Committed, Writer
from sqlalchemy import delete, insert
from sqlmodel import Session

from tests.faults.planted.seams import replace

PUBLISHED_SECONDS = 5.0


def acknowledged_before_commit() -> None:
    """The position of a batch is saved before the batch is handled."""

    def make(commit: Any) -> Any:
        async def save_first(self: Service, kind: Any, messages: Sequence[Any], consumer: str) -> None:
            def save(session: Session) -> Generator[Outcome, None, None]:
                save_cursor(session.connection(), consumer, messages[-1].position)
                yield from ()

            await self.transact(save)
            await commit(self, kind, messages, consumer)

        return save_first

    replace(Service, "_commit", make)


def published_before_commit() -> None:
    """Events are published while their transaction is still open."""

    def make(record: Any) -> Any:
        def publish_at_once(self: Any, connection: Any, recorded: Recorded) -> None:
            record(self, connection, recorded)
            if recorded.events:
                service = self._committed.__self__
                failpoint("publish.before")
                _publish(service.settings, service.name, recorded.events)
                failpoint("publish.after")

        return publish_at_once

    replace(Writer, "_record", make)


def _publish(settings: RuntimeSettings, user: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """By a connection of its own: the service's may only be used from the event loop."""
    bus = urlsplit(settings.nats_servers[0])
    assert settings.nats_password is not None
    login = {"user": user, "pass": settings.nats_password.get_secret_value(), "verbose": False}
    with socket.create_connection((bus.hostname, bus.port), PUBLISHED_SECONDS) as connection:
        lines = connection.makefile("rwb")
        lines.readline()
        lines.write(f"CONNECT {json.dumps(login)}\r\n".encode())
        for row in rows:
            lines.write(f"PUB {row['log_subject']} {len(row['body'])}\r\n".encode() + row["body"] + b"\r\n")
        lines.write(b"PING\r\n")
        lines.flush()
        while lines.readline() not in (b"PONG\r\n", b""):
            continue


def outbox_after_commit() -> None:
    """The state is committed first, and the events that go with it by a second transaction."""

    def leave_out(record: Any) -> Any:
        def without_events(self: Any, connection: Any, recorded: Recorded) -> None:
            events, recorded.events = recorded.events, []
            record(self, connection, recorded)
            for offset, row in enumerate(events):
                row["position"] = self._next_position + offset
            recorded.events = events

        return without_events

    def catch_up(after: Any) -> Any:
        def then_events(self: Any, recorded: Recorded) -> Committed:
            committed: Committed = after(self, recorded)
            if recorded.events:
                with self._connection.begin():
                    self._connection.execute(insert(outbox), recorded.events)
            return committed

        return then_events

    replace(Writer, "_record", leave_out)
    replace(Writer, "_after", catch_up)


def relay_ahead_of_itself() -> None:
    """The relay's position is saved when events are recorded, not when they are published."""

    def make(record: Any) -> Any:
        def and_position(self: Any, connection: Any, recorded: Recorded) -> None:
            record(self, connection, recorded)
            if recorded.events:
                save_cursor(connection, "relay", recorded.events[-1]["position"])

        return and_position

    replace(Writer, "_record", make)


def pruned_unpublished() -> None:
    """The outbox is pruned without a look at what is published, and of everything but the last moment."""

    def make(prune: Any) -> Any:
        def and_more(*arguments: Any) -> Iterator[Outcome]:
            arguments[-1].execute(delete(outbox).where(outbox.c.recorded_at < now()))
            yield from prune(*arguments)

        return and_more

    replace(upkeep, "prune", make)


def two_writers() -> None:
    """Nothing keeps a second instance of a service away from the database."""
    replace(fcntl, "flock", lambda _: lambda *arguments: None)


def cause_forgotten() -> None:
    """Events don't say what they follow from."""

    def make(row: Any) -> Any:
        def alone(publisher: str, emit: Any, cause: Any, *rest: Any) -> Any:
            return row(publisher, emit, cause.model_copy(update={"id": None}), *rest)

        return alone

    replace(units, "_row", make)


def wrong_key() -> None:
    """Events are kept in order by what they are about, not by the resource."""

    def make(row: Any) -> Any:
        return lambda publisher, emit, *rest: row(publisher, changed(emit, partitionkey=None), *rest)

    replace(units, "_row", make)


def deadlines_in_memory() -> None:
    """Only deadlines that this very process has set ever come."""
    own: set[str] = set()

    def noting(add: Any) -> Any:
        def note(self: Recorded, outcomes: Any, *rest: Any) -> None:
            add(self, _through(outcomes, lambda one: own.add(one.key) if isinstance(one, Deadline) else None), *rest)

        return note

    def filtering(due: Any) -> Any:
        def of_our_own(*arguments: Any) -> tuple[list[str], float]:
            keys, wait = due(*arguments)
            return [key for key in keys if key in own], max(wait, 0.2)

        return of_our_own

    replace(Recorded, "add", noting)
    replace(deadlines, "due", filtering)


def deadlines_never_cancelled() -> None:
    """A deadline comes although what it waited for has happened."""

    def make(add: Any) -> Any:
        def keep(self: Recorded, outcomes: Any, *rest: Any) -> None:
            add(self, (one for one in outcomes if not isinstance(one, Cancel)), *rest)

        return keep

    replace(Recorded, "add", make)


def _through(outcomes: Any, look: Callable[[Outcome], None]) -> Iterator[Outcome]:
    for one in outcomes:
        look(one)
        yield one
