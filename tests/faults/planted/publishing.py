"""Bugs in publishing the outbox."""

import asyncio
from collections.abc import Sequence
from typing import Any

import nats.errors
from entresol_eventing import relay
from entresol_eventing.publishing import NotTaken, Outgoing, Publisher
from sqlmodel import Session

from tests.faults.planted.seams import replace


def failed_publish_skipped() -> None:
    """What the bus does not take is passed over."""

    def make(publish: Any) -> Any:
        async def try_once(self: Publisher, batch: Sequence[Outgoing]) -> None:
            try:
                await publish(self, batch)
            except (TimeoutError, NotTaken, nats.errors.Error, OSError):
                await asyncio.sleep(0)

        return try_once

    def admit(_: Any) -> Any:
        async def anything(self: Any) -> bool:
            self._admitted = self._at()
            return True

        return anything

    replace(Publisher, "publish", make)
    replace(relay.Relay, "_admit", admit)


def backlog_newest_first() -> None:
    """What has gathered in the outbox is read from its end."""

    def make(after: Any) -> Any:
        def backwards(position: int, session: Session) -> list[Outgoing]:
            rows: list[Outgoing] = after(position, session)
            return [*reversed(rows[:-1]), *rows[-1:]]

        return backwards

    replace(relay, "_after", make)


def batch_one_by_one() -> None:
    """A batch is published event by event, and a later one may come first."""

    def make(publish: Any) -> Any:
        async def each(self: Publisher, batch: Sequence[Outgoing]) -> None:
            for one in reversed(batch):
                await publish(self, [one])

        return each

    replace(Publisher, "publish", make)
