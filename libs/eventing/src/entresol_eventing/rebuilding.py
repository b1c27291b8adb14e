"""Build a projection anew from the log, beside the live one, and say where they differ or put it in its place.

The same handler folds the same events in the same order, so both must be equal at the same position. The live one's
position is read in the snapshot that is compared, and the fresh one stops exactly there: nothing has to stand still.
What the handler says while it rebuilds is dropped: it was said when it was true, and lies on the log itself.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nats.aio.client import Client
from nats.js.api import StreamInfo
from sqlalchemy import Connection, MetaData, Table, delete, func, insert, select
from sqlalchemy.event import listen
from sqlmodel import Session

from entresol_eventing import migrate
from entresol_eventing.comparing import Comparison, compare
from entresol_eventing.envelope import MAX_HOPS, Event, Malformed, decode, now
from entresol_eventing.lineage import began_late
from entresol_eventing.permissions import EVENTS, replay_consumer
from entresol_eventing.reactions import BatchHandler
from entresol_eventing.recording import save_cursor
from entresol_eventing.replay import Entry, replay
from entresol_eventing.statements import Statement
from entresol_eventing.store import Database, cursor, inbox, parked
from entresol_eventing.store import metadata as runtime_tables

BATCH = 200
"""As large as the batches that the service handles."""
KEPT_FAILURES = 20
_REMEMBER = Statement(insert(inbox))


class Refused(Exception):
    """A projection can't be rebuilt; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Projection:
    """What is rebuilt: a service's tables, and the handler that is their only writer."""

    service: str
    handler: BatchHandler
    metadata: MetaData
    migrations: Path
    own_time: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Columns by table that are no function of the log: rebuilt, and not compared."""
    announce: Callable[[Connection], None] | None = None
    """Where the service keeps more than what is rebuilt: tells it, in the transaction of the exchange."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a rebuild is."""

    position: int
    until: int
    events: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.events / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        return (self.until - self.position) / self.rate if self.rate else None


@dataclass(slots=True)
class Rebuilt:
    """What was read, and what came of it."""

    position: int = 0
    """Up to where on the log."""
    events: int = 0
    copies: int = 0
    """Messages that were on the log already."""
    unreadable: int = 0
    """Messages that are no event of the contract."""
    failures: list[str] = field(default_factory=list)
    """Events that the handler could not fold, the first few of them."""
    failed: int = 0
    seconds: float = 0.0
    comparison: Comparison | None = None


class Rebuild:
    """One rebuild in a scratch directory; `compare` or `replace`, once."""

    def __init__(
        self,
        projection: Projection,
        connection: Client,
        live: Database,
        scratch: Path,
        progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self._projection = projection
        self._connection = connection
        self._live = live
        self._progress = progress
        self._database = Database(f"sqlite:///{scratch / 'rebuilt.db'}")
        self._began = time.monotonic()
        self.result = Rebuilt()

    async def compare(self, limit: int = 1000) -> Rebuilt:
        """Say where the live projection differs; at most `limit` differences are kept, all are counted."""
        info = await self._prepare()
        live_at = await asyncio.to_thread(self._live.read, lambda session: self._position(info, session))
        if live_at is None:
            raise Refused(f"{self._projection.service} has not read this log yet; there is nothing to compare")
        await self._advance(live_at)
        loop = asyncio.get_running_loop()

        def look(session: Session) -> Comparison:
            self._catch_up(self._position(info, session), loop)
            with self._reading() as fresh:
                return compare(session, fresh, self._projection.metadata, self._projection.own_time, limit)

        self.result.comparison = await asyncio.to_thread(self._live.read, look)
        return self._done()

    async def replace(self) -> Rebuilt:
        """Put the fresh projection in the place of the live one, in one transaction: all of it or nothing.

        A service that runs waits for that transaction with its next batch, and its readers see what was before.
        """
        await asyncio.to_thread(migrate.upgrade, self._live, self._projection.migrations)
        info = await self._prepare()
        live_at = await asyncio.to_thread(self._live.read, lambda session: self._position(info, session))
        await self._advance(info.state.last_seq if live_at is None else live_at)
        await asyncio.to_thread(self._swap, info, asyncio.get_running_loop())
        return self._done()

    def close(self) -> None:
        self._database.close()

    async def _prepare(self) -> StreamInfo:
        info = await self._connection.jetstream(timeout=10).stream_info(EVENTS)
        if reason := began_late(info):
            raise Refused(f"{reason}, so what came before can't be rebuilt from it; nothing was done")
        await asyncio.to_thread(self._make_tables)
        return info

    def _make_tables(self) -> None:
        listen(self._database.writer, "connect", _unsafely)
        runtime_tables.create_all(self._database.writer)
        self._projection.metadata.create_all(self._database.writer)

    def _position(self, info: StreamInfo, session: Session) -> int | None:
        name = f"{self._projection.service}@{info.created}"
        return session.execute(select(cursor.c.position).where(cursor.c.name == name)).scalar()

    def _catch_up(self, until: int | None, loop: asyncio.AbstractEventLoop) -> None:
        """From a thread that holds the live snapshot: read on to its position."""
        if until is not None and until > self.result.position:
            asyncio.run_coroutine_threadsafe(self._advance(until), loop).result()

    async def _advance(self, until: int) -> None:
        consumer = replay_consumer(self._projection.service)
        async for entries in replay(self._connection, EVENTS, consumer, self.result.position, until):
            for start in range(0, len(entries), BATCH):
                await asyncio.to_thread(self._fold, entries[start : start + BATCH])
            self.result.position = entries[-1].position
            self._progress(Progress(self.result.position, until, self.result.events, time.monotonic() - self._began))
        self.result.position = max(self.result.position, until)

    def _fold(self, entries: Sequence[Entry]) -> None:
        with self._database.writer.connect() as connection, connection.begin(), Session(connection) as session:
            events = self._new(entries, connection)
            if not events:
                return
            try:
                self._handle(events, session)
            except Exception:
                for event in events:
                    try:
                        self._handle([event], session)
                    except Exception as error:
                        self._note_failure(event, error)
            seen_at = now()
            _REMEMBER.many(connection, [{"id": one.id, "source": one.source, "seen_at": seen_at} for one in events])
            self.result.events += len(events)

    def _new(self, entries: Sequence[Entry], connection: Connection) -> list[Event[Any]]:
        decoded: list[Event[Any]] = []
        for entry in entries:
            try:
                event = decode(entry.body)
            except Malformed:
                self.result.unreadable += 1
                continue
            if event.hopcount > MAX_HOPS:
                self.result.unreadable += 1
            else:
                decoded.append(event)
        query = select(inbox.c.id, inbox.c.source).where(inbox.c.id.in_([event.id for event in decoded]))
        seen = {(row.id, row.source) for row in connection.execute(query)}
        new = []
        for event in decoded:
            if (key := (event.id, event.source)) in seen:
                self.result.copies += 1
            else:
                seen.add(key)
                new.append(event)
        return new

    def _handle(self, events: Sequence[Event[Any]], session: Session) -> None:
        connection = session.connection()
        connection.exec_driver_sql("SAVEPOINT fold")
        try:
            for _ in self._projection.handler(events, session):
                pass
            session.flush()
        except Exception:
            connection.exec_driver_sql("ROLLBACK TO SAVEPOINT fold")
            session.expunge_all()
            raise
        finally:
            connection.exec_driver_sql("RELEASE SAVEPOINT fold")

    def _note_failure(self, event: Event[Any], error: Exception) -> None:
        self.result.failed += 1
        if len(self.result.failures) < KEPT_FAILURES:
            self.result.failures.append(f"{event.type} {event.id}: {type(error).__name__}: {error}")

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        with self._database.writer.connect() as connection, connection.begin(), Session(connection) as session:
            yield session

    def _swap(self, info: StreamInfo, loop: asyncio.AbstractEventLoop) -> None:
        tables = self._projection.metadata.sorted_tables
        with self._live.writer.connect() as connection, connection.begin(), Session(connection) as session:
            self._keep_out_writers(connection, tables)
            if waiting := session.execute(select(func.count()).select_from(parked)).scalar_one():
                raise Refused(
                    f"{self._projection.service} holds {waiting} messages that it could not handle; "
                    "redrive or discard them first (`entresol dead-letters`)"
                )
            position = self._position(info, session)
            if position is None and self._projection.announce is not None:
                raise Refused(
                    f"{self._projection.service} has not read this log yet, and keeps more than can be rebuilt from it;"
                    " start it, and it reads all of it"
                )
            self._catch_up(position, loop)
            if self.result.failed:
                raise Refused(f"{self.result.failed} events can't be folded; nothing was replaced")
            with self._reading() as fresh:
                for table in reversed(tables):
                    connection.execute(delete(table))
                for table in tables:
                    _copy(table, fresh, connection)
                if position is None:  # the database is new: it has to know what it must not handle again
                    connection.execute(delete(inbox))
                    _copy(inbox, fresh, connection)
                    name = f"{self._projection.service}@{info.created}"
                    save_cursor(connection, name, self.result.position)
            if self._projection.announce is not None:
                self._projection.announce(connection)

    def _keep_out_writers(self, connection: Connection, tables: Sequence[Table]) -> None:
        if self._live.dialect == "sqlite":
            return  # BEGIN IMMEDIATE has done it
        names = ", ".join(table.name for table in (*tables, cursor, parked))
        connection.exec_driver_sql(f"LOCK TABLE {names} IN EXCLUSIVE MODE")

    def _done(self) -> Rebuilt:
        self.result.seconds = time.monotonic() - self._began
        return self.result


def _unsafely(connection: Any, _record: object) -> None:
    """What a crash leaves of a scratch database is thrown away, so nothing of it needs to reach the disk in order."""
    connection.execute("PRAGMA synchronous=OFF")


def _copy(table: Table, fresh: Session, into: Connection) -> None:
    inserting = insert(table)
    query = select(table).execution_options(yield_per=1000)
    for rows in fresh.connection().execute(query).mappings().partitions():
        into.execute(inserting, [dict(row) for row in rows])
