"""Getting messages of one consumer from the bus: all there are, as soon as there are any."""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import nats.errors

from entresol_eventing.envelope import new_id
from entresol_eventing.wire import Wire, frame, status

REQUEST_SECONDS = 30.0
FETCH_SECONDS = 5.0
REFUSED_SECONDS = 0.1
"""Pause after the server refused to send: without one, a deleted consumer would be a hot loop."""


@dataclass(frozen=True, slots=True)
class Linger:
    """How long to wait for company of what has arrived, unless it is urgent: a few large batches cost less than many.

    A small platform spends most of its time on waking up, not on working.
    """

    seconds: float = 0.0
    urgent: frozenset[str] = frozenset()
    """Facts that don't wait, such as `run.succeeded`."""

    def is_urgent(self, log_subject: str) -> bool:
        return ".".join(log_subject.split(".", 4)[2:4]) in self.urgent


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as the bus has sent it."""

    log_subject: str
    reply: bytes
    """Where to acknowledge: `$JS.ACK.[domain.account.]stream.consumer.times.S.D.time.pending`."""
    body: bytes
    headers: bytes | None

    @property
    def sequences(self) -> tuple[int, int]:
        """Its place in the stream, and which delivery of the consumer it is."""
        return sequences(self.reply)


def sequences(reply: bytes) -> tuple[int, int]:
    """What an acknowledgement's subject says: the place in the stream, and which delivery of the consumer it is."""
    tokens = reply.split(b".")
    first = 5 if len(tokens) < 11 else 7
    return int(tokens[first]), int(tokens[first + 1])


class Pull:
    """The messages of one consumer, as many at a time as there are.

    One request for messages is always under way at the server, so an idle event arrives at once and costs no question
    of its own.
    """

    def __init__(self, wire: Wire, stream: str, consumer: str, inbox: str, batch_size: int, linger: Linger) -> None:
        self._wire = wire
        self._linger = linger
        self._urgent = False
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._inbox = inbox
        self._at = b""
        """The inbox in use."""
        self._taken_at = b""
        """The inbox that the last batch came by."""
        self._batch_size = batch_size
        self._arrived: deque[Delivery] = deque()
        self._wake = asyncio.Event()
        self._due = 0
        """Messages that the server may still send for what was requested."""
        self._requested_at = 0.0
        self._paused = False
        self.refused = asyncio.Event()
        """Set when the server would not have the request: the consumer is gone, or nobody answers."""
        self._unsubscribe: Callable[[], Awaitable[None]] | None = None

    async def open(self) -> None:
        """Listen at a fresh inbox, so that what is under way for an earlier reader is never seen."""
        old, at = self._unsubscribe, f"{self._inbox}.{new_id()}"
        self._at = at.encode()
        self._arrived.clear()
        self._due = 0
        self._unsubscribe = await self._wire.subscribe(at, partial(self._receive, self._at))
        self.refused.clear()
        self._wake.set()  # whoever waits at the old inbox asks again at this one
        if old is not None:
            with contextlib.suppress(nats.errors.Error):  # it may be gone already
                await old()

    def _receive(self, inbox: bytes, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        if inbox != self._at:
            return
        if subject == inbox:
            self._due = 0  # a status: nothing more comes for this request
            if status(headers) not in ("404", "408"):
                self.refused.set()
        else:
            self._due -= 1
            log_subject = subject.decode()
            self._arrived.append(Delivery(log_subject, reply, data, headers))
            self._urgent = self._urgent or self._linger.is_urgent(log_subject)
        self._wake.set()

    async def fetch(self) -> list[Delivery]:
        """Return what has arrived, at most a batch, as soon as there is any; empty if nothing came for a while."""
        if not self._arrived:
            self._wake.clear()  # before asking: an answer may come while the question is still being written
            await self._request()
            await self._woken(FETCH_SECONDS)
        until = asyncio.get_running_loop().time() + self._linger.seconds
        while 0 < len(self._arrived) < self._batch_size and not self._urgent and not self._paused:
            if (left := until - asyncio.get_running_loop().time()) <= 0:
                break
            self._wake.clear()
            await self._woken(left)
        self._urgent = False
        if self._paused or not self._arrived:
            await asyncio.sleep(REFUSED_SECONDS if self._paused or self.refused.is_set() else 0)
            return []
        self._taken_at = self._at
        taken = [self._arrived.popleft() for _ in range(min(self._batch_size, len(self._arrived)))]
        if self._due < self._batch_size // 2:
            await self._request()
        return taken

    def is_stale(self) -> bool:
        """Whether another inbox was opened since the last batch was fetched."""
        return self._taken_at != self._at

    async def _woken(self, timeout: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._wake.wait()

    async def _request(self) -> None:
        moment = asyncio.get_running_loop().time()
        if self._paused or self._unsubscribe is None:
            return
        if self._due > 0 and moment - self._requested_at < REQUEST_SECONDS:
            return
        self._due, self._requested_at = self._batch_size, moment
        request = {"batch": self._batch_size, "expires": int(REQUEST_SECONDS * 1e9)}
        with contextlib.suppress(ConnectionError):  # asked again when the connection is back
            await self._wire.send(frame(self._subject, json.dumps(request).encode(), reply=self._at.decode()))

    async def acknowledge(self, delivery: Delivery) -> None:
        """Tell the bus that this one and all before it are handled."""
        with contextlib.suppress(ConnectionError):
            await self._wire.send(frame(delivery.reply.decode(), b"+ACK"))

    def ask_again(self) -> None:
        """The server has no request of ours, whatever we believe."""
        self._due = 0
        self._wake.set()

    def pause(self) -> None:
        """Hand out nothing more. What nobody looked at is sent again to the next reader."""
        self._paused = True
        self._arrived.clear()
        self._wake.set()
