"""Getting messages of one consumer from the bus: all there are, as soon as there are any."""

import asyncio
import contextlib
import json
from collections import deque
from dataclasses import dataclass
from functools import partial

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from entresol_eventing.envelope import new_id

REQUEST_SECONDS = 30.0
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


class Pull:
    """The messages of one consumer, as many at a time as there are: what FastStream's batch loop fetches from.

    One request for messages is always under way at the server, so an idle event arrives at once and costs no question
    of its own. FastStream's loop asks again until its batch is full or its time is over; the second question of a
    round is answered with "nothing more", which ends the round.
    """

    def __init__(
        self, connection: Client, stream: str, consumer: str, inbox: str, batch_size: int, linger: Linger
    ) -> None:
        self._connection = connection
        self._linger = linger
        self._urgent = False
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._inbox = inbox
        self._at = ""
        """The inbox in use."""
        self._batch_size = batch_size
        self._arrived: deque[Msg] = deque()
        self._wake = asyncio.Event()
        self._due = 0
        """Messages that the server may still send for what was requested."""
        self._requested_at = 0.0
        self._paused = False
        self.refused = asyncio.Event()
        """Set when the server would not have the request: the consumer is gone, or nobody answers."""
        self._subscription: Subscription | None = None

    async def open(self) -> None:
        """Listen at a fresh inbox, so that what is under way for an earlier reader is never seen."""
        old = self._subscription
        self._at = f"{self._inbox}.{new_id()}"
        self._arrived.clear()
        self._due = 0
        self._subscription = await self._connection.subscribe(self._at, cb=partial(self._on_message, self._at))
        self.refused.clear()
        self._wake.set()  # whoever waits at the old inbox asks again at this one
        if old is not None:
            with contextlib.suppress(nats.errors.Error):  # it may be gone already
                await old.unsubscribe()

    async def _on_message(self, inbox: str, message: Msg) -> None:
        if inbox != self._at:
            return
        if message.subject == inbox:
            self._due = 0  # a status: nothing more comes for this request
            if (message.headers or {}).get("Status") not in ("404", "408"):
                self.refused.set()
        else:
            self._due -= 1
            self._arrived.append(message)
            self._urgent = self._urgent or self._linger.is_urgent(message.subject)
        self._wake.set()

    async def fetch(self, batch: int, timeout: float | None) -> list[Msg]:
        """Return what has arrived, at most `batch`, as soon as there is any; raise TimeoutError if nothing comes."""
        if batch < self._batch_size:
            raise nats.errors.TimeoutError
        if not self._arrived:
            self._wake.clear()  # before asking: an answer may come while the question is still being written
            await self._request()
            await self._woken(timeout)
        until = asyncio.get_running_loop().time() + self._linger.seconds
        while 0 < len(self._arrived) < batch and not self._urgent and not self._paused:
            if (left := until - asyncio.get_running_loop().time()) <= 0:
                break
            self._wake.clear()
            await self._woken(left)
        self._urgent = False
        if self._paused or not self._arrived:
            await asyncio.sleep(REFUSED_SECONDS if self.refused.is_set() else 0)
            raise nats.errors.TimeoutError
        taken = [self._arrived.popleft() for _ in range(min(batch, len(self._arrived)))]
        if self._due < self._batch_size // 2:
            await self._request()
        return taken

    async def _woken(self, timeout: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._wake.wait()

    async def _request(self) -> None:
        moment = asyncio.get_running_loop().time()
        if self._paused or self._subscription is None or not self._connection.is_connected:
            return
        if self._due > 0 and moment - self._requested_at < REQUEST_SECONDS:
            return
        self._due, self._requested_at = self._batch_size, moment
        request = {"batch": self._batch_size, "expires": int(REQUEST_SECONDS * 1e9)}
        await self._connection.publish(self._subject, json.dumps(request).encode(), self._at)

    def ask_again(self) -> None:
        """The server has no request of ours, whatever we believe."""
        self._due = 0
        self._wake.set()

    def pause(self) -> None:
        """Hand out nothing more. What nobody looked at is sent again to the next reader."""
        self._paused = True
        self._arrived.clear()
        self._wake.set()

    async def unsubscribe(self, *_: object) -> None:
        self.pause()
        if self._subscription is not None:
            await self._subscription.unsubscribe()
