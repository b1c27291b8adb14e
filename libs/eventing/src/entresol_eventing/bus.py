"""A service's hold on the bus: one connection to publish with, one to read with, and the consumers that it reads.

The bus may be away at any time: `attach` goes on until it is there once, and from then on the client reconnects.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from nats.aio.client import Client
from sqlalchemy import select
from sqlmodel import Session

from entresol_eventing.consumer import BatchJob, Handling, IngestJob, Message
from entresol_eventing.envelope import covered
from entresol_eventing.log import Subscription, connect
from entresol_eventing.parts import Parts
from entresol_eventing.permissions import EVENTS, INGEST, INGEST_CONSUMER, inbox_prefix
from entresol_eventing.publishing import Publisher
from entresol_eventing.pull import Linger
from entresol_eventing.settings import RuntimeSettings
from entresol_eventing.store import cursor
from entresol_eventing.units import backoff
from entresol_eventing.wire import Wire

log = logging.getLogger(__name__)

OPERATOR_SUBJECTS = ("entresol.intake.redrive.>", "entresol.intake.discard.>")
"""What every service reads besides its own subjects: operators' orders about its dead letters."""
LOOK_SECONDS = 5.0
"""How often a consumer is looked at; one that was not seen for three of these is told of."""

Subjects: TypeAlias = Callable[[Session], Sequence[str]]
"""Tells from the service's state which subjects of the log it reads; asked again after each batch."""
Commit: TypeAlias = Callable[[type[BatchJob | IngestJob], Sequence[Message], str], Awaitable[None]]
"""Commits a batch that a consumer has delivered, and returns once it is committed."""


@dataclass(kw_only=True)
class Bus:
    """What one service has of the bus. Everything from its event loop."""

    name: str
    settings: RuntimeSettings
    parts: Parts
    """Where its tasks live."""
    handling: Handling
    subjects: Sequence[str] | Subjects
    ingests: bool
    linger: Linger
    read: Callable[[Callable[[Session], Any]], Awaitable[Any]]
    commit: Commit
    publish: Callable[[], Awaitable[None]]
    """Begun once there is a connection to publish with."""
    subscriptions: list[Subscription] = field(default_factory=list, init=False)
    _reader: Client | None = field(default=None, init=False)
    _publisher: Publisher | None = field(default=None, init=False)

    async def attach(self) -> None:
        """Connect, make the consumers, read. Repeated until it succeeds once."""
        attempt = 0
        while True:
            try:
                if self._publisher is None:
                    connection = await connect(self.settings, self.name, "publisher", lost=self._lost)
                    self._publisher = Publisher(connection, inbox_prefix(self.name))
                    self.parts.begin(self.publish, "relay")
                if self._reader is None:
                    self._reader = await connect(self.settings, self.name, "reader", reconnected=self._reconnected)
                self.subscriptions = await self._subscribe(Wire(self._reader))
                return
            except Exception as error:
                attempt += 1
                log.warning("the bus can't be reached yet", extra={"service": self.name, "reason": repr(error)})
                await asyncio.sleep(backoff(attempt, random.random(), first_seconds=0.1, most_seconds=5))

    async def close(self) -> None:
        """End both connections, in at most two seconds each."""
        for connection in (self._reader, self._publisher.connection if self._publisher else None):
            with contextlib.suppress(Exception):
                if connection is not None:
                    await asyncio.wait_for(connection.close(), 2)

    async def pause(self) -> None:
        """Fetch no more; what was fetched is still committed."""
        for subscription in self.subscriptions:
            await subscription.pause()

    def abandon(self) -> None:
        """Drop what was fetched, too: somebody else reads on from here."""
        for subscription in self.subscriptions:
            subscription.abandon()

    @property
    def publisher(self) -> Publisher:
        """Only for what `attach` has begun."""
        assert self._publisher is not None
        return self._publisher

    @property
    def is_connected(self) -> bool:
        """Whether something can be published now."""
        return self._publisher is not None and self._publisher.connection.is_connected

    @property
    def lag_messages(self) -> int:
        """How many messages wait on the log, of the consumer that has most of them."""
        return max((one.lag.messages for one in self.subscriptions), default=0)

    def problems(self) -> Iterator[str]:
        """Why the log is not being read, for people."""
        moment = asyncio.get_running_loop().time()
        if not self.subscriptions:
            yield "not reading the log yet"
        for subscription in self.subscriptions:
            if moment - subscription.lag.looked_at > 3 * LOOK_SECONDS:
                yield f"the consumer {subscription.cursor.split('@')[0]} was not seen for a while"

    async def _lost(self) -> None:
        if self._publisher is not None:
            self._publisher.give_up()

    async def _reconnected(self) -> None:
        for one in self.subscriptions:
            self.parts.begin(partial(_again, one), "reconnected")

    async def _subscribe(self, wire: Wire) -> list[Subscription]:
        """Begin to read."""
        consumers: list[tuple[str, str, Sequence[str], type[BatchJob | IngestJob]]] = [
            (EVENTS, self.name, await self._targets(), BatchJob)
        ]
        if self.ingests:
            consumers.append((INGEST, INGEST_CONSUMER, ["entresol.ingest.>"], IngestJob))
        subscriptions: list[Subscription] = []
        for stream, consumer, subjects, job in consumers:
            subscription = Subscription(
                wire=wire,
                stream=stream,
                name=consumer,
                user=self.name,
                subjects=subjects,
                batch_size=self.settings.batch_size,
                linger=self.linger,
                wants=self.handling.wants if stream == EVENTS else lambda _: True,
                commit=partial(self.commit, job),
                load=self._load_cursor,
                targets=self._targets if stream == EVENTS and callable(self.subjects) else None,
            )
            subscriptions.append(subscription)
            self.parts.begin(subscription.run, "reader")
            self.parts.begin(subscription.watch, "watch")
        return subscriptions

    async def _targets(self) -> list[str]:
        wanted: Sequence[str] = await self.read(self.subjects) if callable(self.subjects) else self.subjects
        return [*wanted, *(one for one in OPERATOR_SUBJECTS if not covered(one, wanted))]

    async def _load_cursor(self, name: str) -> int:
        query = select(cursor.c.position).where(cursor.c.name == name)
        position: int = await self.read(lambda session: session.execute(query).scalar() or 0)
        return position


async def _again(subscription: Subscription) -> None:
    try:
        await subscription.reset("the connection was lost for a while")
    except Exception as error:  # the watch looks again within seconds
        log.warning("the log can't be read anew yet", extra={"reason": repr(error)})
