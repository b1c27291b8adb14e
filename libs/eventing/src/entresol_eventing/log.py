"""How a service reads the log: one helper makes every subscription, with every guard that the transport needs.

The service's database says how far it is, not the bus: the consumer on the server is made anew behind that position
at each start, after each reconnect and whenever a delivery is missing. So what one batch acknowledges really is
handled up to its last message, and nothing overtakes after a crash.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import nats
import nats.errors
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, DeliverPolicy
from nats.js.errors import NotFoundError

from entresol_eventing.consumer import Message
from entresol_eventing.failpoints import failpoint
from entresol_eventing.permissions import inbox_prefix
from entresol_eventing.pull import REFUSED_SECONDS, Delivery, Linger, Pull
from entresol_eventing.settings import RuntimeSettings
from entresol_eventing.wire import Wire, drop_unsent

log = logging.getLogger(__name__)

CHECK_SECONDS = 5.0
ACK_WAIT_SECONDS = 30.0
ACK_BATCHES = 5

Commit = Callable[[Sequence[Message], str], Awaitable[None]]
"""Commits messages, and the cursor of that name with them; returns only when that is done."""


def connect_options(settings: RuntimeSettings, user: str, purpose: str) -> dict[str, Any]:
    """Options of every connection: never gives up, notices a frozen server within 15 s, says why it was refused."""

    async def on_error(error: Exception) -> None:
        log.warning("NATS reports an error", extra={"connection": purpose, "reason": str(error) or repr(error)})

    options: dict[str, Any] = {
        "name": f"{user} {purpose}",
        "inbox_prefix": inbox_prefix(user),
        "max_reconnect_attempts": -1,
        "reconnect_time_wait": 0.5,
        "ping_interval": 4,  # one that was answered, and three that were not: 12 s at the most
        "max_outstanding_pings": 2,
        "connect_timeout": 5,
        "error_cb": on_error,
    }
    if settings.nats_seed:
        options["nkeys_seed_str"] = settings.nats_seed.get_secret_value()
    return options


async def connect(
    settings: RuntimeSettings,
    user: str,
    purpose: str,
    *,
    lost: Callable[[], Awaitable[None]] | None = None,
    reconnected: Callable[[], Awaitable[None]] | None = None,
) -> Client:
    """Connect as a user; try until somebody answers. From then on it reconnects.

    What was being sent when the connection was lost is dropped, not sent to whoever answers next: that may be a bus
    that has lost its log, and whoever sent it has to look first. Awaits `lost` each time that the connection is gone,
    and `reconnected` when it is back.
    """
    options = connect_options(settings, user, purpose)
    client: Client | None = None

    async def on_disconnect() -> None:
        if client is not None:
            drop_unsent(client)
        if lost is not None:
            await lost()

    options["disconnected_cb"] = on_disconnect
    if settings.nats_password:
        options |= {"user": settings.nats_user or user, "password": settings.nats_password.get_secret_value()}
    client = await nats.connect(
        settings.nats_servers, pending_size=-1, allow_reconnect=True, reconnected_cb=reconnected, **options
    )
    return client


@dataclass(slots=True)
class Lag:
    """How far a consumer is behind, at the time of the last look."""

    messages: int = 0
    looked_at: float = float("-inf")


class Subscription:
    """One durable consumer of one stream, read in batches."""

    def __init__(
        self,
        *,
        wire: Wire,
        stream: str,
        name: str,
        user: str,
        subjects: Sequence[str],
        batch_size: int,
        linger: Linger,
        wants: Callable[[str], bool],
        commit: Commit,
        load: Callable[[str], Awaitable[int]],
        targets: Callable[[], Awaitable[Sequence[str]]] | None = None,
    ) -> None:
        self._wire = wire
        self._stream = stream
        self._name = name
        self._user = user
        self._subjects = sorted(subjects)
        self._wants = wants
        self._commit = commit
        self._load = load
        self._targets = targets
        self._batch_size = batch_size
        self._busy = asyncio.Lock()
        self._expected = 1
        self._position = 0
        self._made: ConsumerInfo | None = None
        """What the server said when it had made the consumer."""
        self._sure = 0
        """Position up to which the consumer is known to have sent everything that we want."""
        self._handled: Delivery | None = None
        """The last message that is handled and not acknowledged."""
        self._unacknowledged = 0
        self._pull = Pull(wire, stream, name, inbox_prefix(user), batch_size, linger)
        self.cursor = name
        self.lag = Lag()

    async def run(self) -> None:
        """Read until cancelled. If it fails, run it again: it begins behind what is committed."""
        await self.reset("the reader begins")
        await self.check()
        while True:
            if delivered := await self._pull.fetch():
                await self._receive(delivered)

    async def pause(self) -> None:
        """Fetch nothing more, and return when what was fetched is committed."""
        self._pull.pause()
        async with self._busy:
            return

    def abandon(self) -> None:
        """Fetch nothing more, and leave the consumer to whoever has it now."""
        self._pull.pause()

    async def watch(self) -> None:
        """Every few seconds, and when the server refuses to send: is the consumer there, and how far behind?"""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK_SECONDS):
                    await self._pull.refused.wait()
                await asyncio.sleep(REFUSED_SECONDS)
            try:
                await self.check()
            except (nats.errors.Error, OSError) as error:
                log.warning("the consumer can't be checked", extra={"consumer": self._name, "reason": repr(error)})

    async def check(self) -> None:
        """Look at the consumer once; make it anew if it is gone or was changed."""
        streams = self._wire.connection.jetstream()
        position = self._position
        try:
            info = await streams.consumer_info(self._stream, self._name)
        except NotFoundError:
            await self.reset("it was deleted")
            return
        if not self._is_ours(info):
            await self.reset("it was changed")
            return
        self._sure = min(position, self._position)
        self._pull.refused.clear()
        if not info.num_waiting:
            self._pull.ask_again()
        await self._acknowledge()
        self.lag = Lag(info.num_pending or 0, asyncio.get_running_loop().time())

    async def retarget(self, subjects: Sequence[str], position: int) -> None:
        """Read other subjects, and those from behind that position on; what was handled before is handled once."""
        if (wanted := sorted(subjects)) != self._subjects:
            self._subjects = wanted
            await self._reset("other subjects are wanted", position)

    async def reset(self, reason: str) -> None:
        """Make the consumer anew behind what is committed, and read from there."""
        async with self._busy:
            await self._reset(reason)

    async def _reset(self, reason: str, position: int | None = None) -> None:
        log.info("reading the log anew", extra={"consumer": self._name, "reason": reason})
        await self._make(position)
        await self._pull.open()

    async def _make(self, position: int | None = None) -> None:
        streams = self._wire.connection.jetstream(timeout=10)
        info = await streams.stream_info(self._stream)
        # A stream that was lost and made again counts from 1: what was committed before says nothing about it.
        self.cursor = f"{self._name}@{info.created}"
        self._position = await self._load(self.cursor) if position is None else position
        if self._made is not None and not await self._is_known():
            self._position = min(self._position, self._sure)
        with contextlib.suppress(NotFoundError):
            await streams.delete_consumer(self._stream, self._name)
        failpoint("consumer.middle")
        from_start = self._position < info.state.first_seq
        self._made = await streams.add_consumer(
            self._stream,
            ConsumerConfig(
                name=self._name,
                durable_name=self._name,
                filter_subjects=self._subjects,
                ack_policy=AckPolicy.ALL,
                ack_wait=ACK_WAIT_SECONDS,
                max_ack_pending=2 * ACK_BATCHES * self._batch_size,
                mem_storage=True,
                deliver_policy=DeliverPolicy.ALL if from_start else DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=None if from_start else self._position + 1,
            ),
        )
        self._sure = self._position
        self._expected, self._handled, self._unacknowledged = 1, None, 0

    def _is_ours(self, info: ConsumerInfo) -> bool:
        """Whether it is the consumer that we made, unchanged: one with other subjects skips, and nobody sees the gap.

        Metadata may differ: the server writes its version there, and another one of a cluster another version.
        """
        return (
            self._made is not None
            and not info.paused
            and info.created == self._made.created
            and replace(info.config, metadata=None) == replace(self._made.config, metadata=None)
        )

    async def _is_known(self) -> bool:
        try:
            return self._is_ours(await self._wire.connection.jetstream().consumer_info(self._stream, self._name))
        except NotFoundError:
            return False

    async def _receive(self, delivered: Sequence[Delivery]) -> None:
        async with self._busy:
            if self._pull.is_stale():
                return  # it waited while the consumer was made anew, and counts as another one did
            # Another consumer of our name counts from 1, too; and one may be told to leave the bodies out.
            if (self._expected == 1 or not all(one.body for one in delivered)) and not await self._is_known():
                await self._reset("another consumer sends")
                return
            fresh: list[Message] = []
            for one in delivered:
                stream_sequence, consumer_sequence = one.sequences
                if consumer_sequence != self._expected:
                    await self._reset(f"delivery {self._expected} is missing")
                    return
                self._expected += 1
                if stream_sequence > self._position and self._wants(one.log_subject):
                    fresh.append(Message(one.log_subject, one.headers, one.body, stream_sequence))
            before = self._position
            if fresh:
                failpoint("receive.before")
                await self._commit(fresh, self.cursor)
            # What nobody wants is passed over without a commit: a crash would only pass it over again.
            self._position = max(self._position, stream_sequence)
            self._handled = delivered[-1]
            self._unacknowledged += len(delivered)
            if self._unacknowledged >= ACK_BATCHES * self._batch_size:
                await self._acknowledge()
            if fresh and self._targets is not None:
                await self.retarget(await self._targets(), before)

    async def _acknowledge(self) -> None:
        """Tell the bus how far we are, for its flow control only; called often enough that nothing is sent again."""
        handled, self._handled, self._unacknowledged = self._handled, None, 0
        if handled is not None:
            failpoint("ack.before")
            await self._pull.acknowledge(handled)
            failpoint("ack.after")
