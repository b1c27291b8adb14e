"""Publish what the outbox holds, in its order, many at a time.

- An event is published at least once; a copy after a crash or a lost answer is dropped by the consumers' inbox.
- Nothing overtakes: the relay stops at the first event that the bus does not take, and tries again.
- A log that is not the one it has published into gets nothing until it was refilled (see `lineage`).
- Two relays on one outbox (an instance that was frozen wakes beside its successor) only add copies: each begins
  behind what is known to be published and goes on in order, so whatever either publishes, all before it is there.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Sequence
from itertools import islice
from typing import Any

import nats.errors
from nats.aio.client import Client
from sqlalchemy import select
from sqlmodel import Session

from entresol_eventing.envelope import Cause
from entresol_eventing.failpoints import failpoint
from entresol_eventing.lineage import log_name, refilled, strange
from entresol_eventing.permissions import EVENTS
from entresol_eventing.publishing import NotTaken, Outgoing, Publisher
from entresol_eventing.reactions import Outcome
from entresol_eventing.recording import save_cursor
from entresol_eventing.store import cursor, outbox
from entresol_eventing.units import UnitJob, backoff
from entresol_eventing.writer import Unavailable, Writer

log = logging.getLogger(__name__)

MAX_BATCH = 200
MAX_BATCH_BYTES = 1024 * 1024
MAX_AHEAD = 4096
"""Events kept in memory between commit and publish; beyond, they are read from the outbox again."""


INFO_SECONDS = 5.0


class Held(NotTaken):
    """The bus has lost the log, and the outboxes have not refilled it yet."""


class Relay:
    """Publishes one service's outbox; `offer` hands it what was just committed."""

    def __init__(
        self,
        service: str,
        publisher: Callable[[], Publisher],
        read: Callable[[Callable[[Session], Any]], Awaitable[Any]],
        writer: Writer,
        published: Callable[[int], None],
    ) -> None:
        self._service = service
        self._publisher = publisher
        self._read = read
        self._writer = writer
        self._published = published
        self._ahead: deque[Outgoing] = deque()
        self._wake = asyncio.Event()
        self._complete = False
        """Whether `_ahead` holds everything that is not published yet."""
        self._admitted: tuple[Client, int] | None = None
        """The connection, and its count of reconnections, on which the log was last known to be ours."""
        self._reading = False
        """Whether the outbox is being read: what is offered meanwhile is joined to it afterwards."""
        self.position = 0
        self.failing_since: float | None = None
        self.held = False
        """Whether it waits for a lost log to be refilled."""

    def offer(self, rows: Sequence[dict[str, Any]]) -> None:
        """Take over what was just committed; where something before it is missing, read it from the outbox.

        A commit whose answer was lost is not offered: `look_again`, and the gap that it leaves, tell of it.
        """
        follows = self._ahead[-1].position if self._ahead else self.position
        room = len(self._ahead) + len(rows) <= MAX_AHEAD
        if self._complete and room and (self._reading or rows[0]["position"] == follows + 1):
            self._ahead.extend(Outgoing(row["position"], row["id"], row["log_subject"], row["body"]) for row in rows)
        else:
            self._complete = False
        self._wake.set()

    def look_again(self) -> None:
        """Look into the outbox again: it may hold what was never offered."""
        self._complete = False
        self._wake.set()

    async def drained(self) -> None:
        """Return when everything that was committed is published, or the bus does not take it."""
        while self.failing_since is None and (self._ahead or not self._complete):  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    async def run(self) -> None:
        """Publish until cancelled."""
        self._complete = False
        self._ahead.clear()
        self.position = self._writer.relayed = max(self.position, await self._read(_position))
        attempt = 0
        self._admitted = None
        while True:
            self._wake.clear()
            batch = await self._next()
            if not batch and self._admitted == self._at():
                await self._wake.wait()
                continue
            try:
                if self._admitted != self._at() and not await self._admit():
                    self.failing_since = None  # the log has all of it from a refill
                    continue
                if batch:
                    failpoint("publish.before")
                    await self._publisher().publish(batch)
                    failpoint("publish.after")
            except (TimeoutError, NotTaken, Unavailable, nats.errors.Error, OSError) as error:
                attempt += 1
                self._admitted = None
                if self.failing_since is None:
                    self.failing_since = asyncio.get_running_loop().time()
                    log.warning("the bus does not take events; trying again", extra={"reason": _reason(error)})
                await asyncio.sleep(backoff(attempt, random.random(), first_seconds=0.05, most_seconds=2.0))
                continue
            if self.failing_since is not None:
                log.info("the bus takes events again")
            attempt, self.failing_since = 0, None
            if batch:
                for _ in range(min(len(batch), len(self._ahead))):
                    self._ahead.popleft()
                self.position = self._writer.relayed = batch[-1].position
                self._published(len(batch))

    def doubt(self) -> None:
        """The log may be another one than before: look again, before anything is published."""
        self._admitted = None
        self._wake.set()

    def _at(self) -> tuple[Client, int]:
        connection = self._publisher().connection
        return connection, connection.stats["reconnects"]

    async def _admit(self) -> bool:
        """Make sure that the log is ours to publish into; False if there may be other events to publish now.

        Raises Held if it is strange to us and nobody has refilled it.
        """
        at = self._at()
        info = await at[0].jetstream(timeout=INFO_SECONDS).stream_info(EVENTS)
        name = log_name(info.created)
        if await self._read(lambda session: _cursor(name, session)) is not None:
            self.held, self._admitted = False, at
            return True
        ends = refilled(info)
        if ends is None and await self._read(lambda session: strange(self._service, info, session)):
            self.held = True
            raise Held("the bus has lost its log; `entresol refill` puts back what the services have kept")
        position = self.position if ends is None else ends.get(self._service, 0)

        def remember(session: Session) -> Generator[Outcome, None, None]:
            save_cursor(session.connection(), name, 0)
            save_cursor(session.connection(), "relay", position)
            yield from ()

        await self._writer.run(UnitJob(remember, Cause(), None))
        self.held, self._admitted = False, at
        if position == self.position:
            return True
        self._published(max(0, position - self.position))
        self.position = self._writer.relayed = position
        self._ahead.clear()
        self._complete = False
        return False

    async def _next(self) -> list[Outgoing]:
        if not self._ahead and not self._complete:
            self._complete = self._reading = True  # before reading: what is committed from now on is offered as well
            position = self.position
            try:
                rows: list[Outgoing] = await self._read(lambda session: _after(position, session))
            finally:
                self._reading = False
            self._complete = self._complete and len(rows) < MAX_AHEAD
            for one in self._ahead if self._complete else ():
                if one.position == (rows[-1].position if rows else position) + 1:
                    rows.append(one)
                elif not rows or one.position > rows[-1].position:
                    self._complete = False
                    break
            self._ahead = deque(rows)
        batch: list[Outgoing] = []
        size = 0
        for one in islice(self._ahead, MAX_BATCH):
            size += len(one.body)
            if batch and size > MAX_BATCH_BYTES:
                break
            batch.append(one)
        return batch


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _position(session: Session) -> int:
    return _cursor("relay", session) or 0


def _cursor(name: str, session: Session) -> int | None:
    return session.execute(select(cursor.c.position).where(cursor.c.name == name)).scalar()


def _after(position: int, session: Session) -> list[Outgoing]:
    query = (
        select(outbox.c.position, outbox.c.id, outbox.c.log_subject, outbox.c.body)
        .where(outbox.c.position > position)
        .order_by(outbox.c.position)
        .limit(MAX_AHEAD)
    )
    return [Outgoing(row.position, row.id, row.log_subject, row.body) for row in session.execute(query)]
