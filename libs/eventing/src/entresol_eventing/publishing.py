"""Putting events onto the log in their order, many for little: as a whole, or up to the first that is refused.

A few go by fast ingest (NATS ADR-50): each is stored as it arrives, with an fsync of its own; one that is there already
counts; and after one that is refused the server takes no more. Many go as an atomic batch: one fsync, but with files of
its own on the server, which cost as much as eight fsyncs. Plain publishes in a row would be as fast as the former, but
what follows a refused one could be stored, and overtake it.
"""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nats.aio.client import Client

from entresol_eventing.envelope import CONTENT_TYPE, new_id
from entresol_eventing.wire import Wire, frame

ATOMIC_FROM = 9
"""Events from which an atomic batch is cheaper."""
ANSWER_SECONDS = 5.0


class NotTaken(Exception):
    """The bus refused, or did not answer in time; whether it stored the events, or some, is unknown."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An event of the outbox."""

    position: int
    id: str
    log_subject: str
    body: bytes


class Publisher:
    """The way of one connection onto the log; one batch at a time."""

    def __init__(self, connection: Client, inbox: str) -> None:
        self.connection = connection
        self._wire = Wire(connection)
        self._inbox = f"{inbox}.{new_id()}"
        self._answer: asyncio.Future[dict[str, Any]] | None = None
        self._expected = b""
        self._unsubscribe: Callable[[], Awaitable[None]] | None = None

    async def publish(self, batch: Sequence[Outgoing]) -> None:
        """Return when the bus has stored all of them, in this order; raise NotTaken or an OSError otherwise.

        What was stored before it failed may be published again: the server drops copies for two minutes, and the
        consumers' inboxes for ever.
        """
        if self._unsubscribe is None:
            self._unsubscribe = await self._wire.subscribe(f"{self._inbox}.>", self._receive)
        if len(batch) < ATOMIC_FROM:
            await self._ingest(batch)
            return
        try:
            await self._atomically(batch)
        except NotTaken:
            # A batch that holds an event the bus already has is refused whole.
            for start in range(0, len(batch), ATOMIC_FROM - 1):
                await self._ingest(batch[start : start + ATOMIC_FROM - 1])

    async def _ingest(self, batch: Sequence[Outgoing]) -> None:
        count = len(batch)
        # The reply subject says: answers wanted, what to do at a gap, number in the batch; 0 begins, 1 adds, 2 ends.
        prefix = f"{self._inbox}.{new_id()}.{count + 1}.fail"
        replies = [f"{prefix}.{number}.{1 if number > 1 else 0}.$FI" for number in range(1, count)]
        replies.append(f"{prefix}.{count}.2.$FI")
        frames = [
            frame(one.log_subject, one.body, reply=reply, headers=_headers(one))
            for one, reply in zip(batch, replies, strict=True)
        ]
        await self._exchange(frames, prefix, count)

    async def _atomically(self, batch: Sequence[Outgoing]) -> None:
        count, batch_id = len(batch), new_id()
        reply = f"{self._inbox}.{batch_id}"
        frames = [
            frame(
                one.log_subject,
                one.body,
                reply=reply if number == count else "",
                headers=f"{_headers(one)}Nats-Batch-Id: {batch_id}\r\nNats-Batch-Sequence: {number}\r\n"
                + ("Nats-Batch-Commit: 1\r\n" if number == count else ""),
            )
            for number, one in enumerate(batch, start=1)
        ]
        await self._exchange(frames, reply, count)

    async def _exchange(self, frames: Sequence[bytes], replies: str, count: int) -> None:
        self._expected = replies.encode()
        self._answer = asyncio.get_running_loop().create_future()
        await self._wire.send(b"".join(frames))
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await self._answer
        except TimeoutError:
            raise NotTaken(f"the bus did not answer within {ANSWER_SECONDS:g} s") from None
        if error := answer.get("error"):
            raise NotTaken(f"{error.get('err_code')}: {error.get('description')}")
        if answer.get("count") != count:
            raise NotTaken(f"the bus stored {answer.get('count')} of {count} events")

    def give_up(self) -> None:
        """The connection is lost, and with it the answer under way: whoever waits for it is told at once."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the connection was lost before the bus answered"))

    def _receive(self, subject: bytes, _reply: bytes, data: bytes, _headers: bytes | None) -> None:
        """Take the last word on the batch: an error, or how many were stored. Earlier ones are flow control."""
        if self._answer is None or self._answer.done() or not subject.startswith(self._expected):
            return
        try:
            answer = json.loads(data or b"{}")
        except ValueError:
            answer = {}
        if "error" in answer or "type" not in answer:
            self._answer.set_result(answer)


def message_id(position: int, event_id: str) -> str:
    """What the bus tells an event of an outbox by, however often it is published.

    With the position: two senders outside may give their events the same id, and the bus would drop the second.
    """
    plain = event_id.isascii() and event_id.isprintable()
    return f"{position}:{event_id if plain else hashlib.sha256(event_id.encode()).hexdigest()}"


def _headers(one: Outgoing) -> str:
    return f"Content-Type: {CONTENT_TYPE}\r\nNats-Msg-Id: {message_id(one.position, one.id)}\r\n"
