"""How a service reads the log: one helper makes every subscription, with every guard that the transport needs.

The service's database says how far it is, not the bus: the consumer on the server is made anew behind that position
at each start, after each reconnect and whenever a delivery is missing. So what one batch acknowledges really is
handled up to its last message, and nothing overtakes after a crash.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import nats.errors
from faststream import AckPolicy
from faststream.message import StreamMessage
from faststream.nats import JStream, NatsBroker, PullSub
from faststream.nats.message import NatsBatchMessage
from faststream.nats.subscriber.usecases import BatchPullStreamSubscriber
from faststream.security import SASLPlaintext
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy as JetStreamAckPolicy
from nats.js.api import ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from entresol_eventing.consumer import Message
from entresol_eventing.failpoints import failpoint
from entresol_eventing.permissions import inbox_prefix
from entresol_eventing.pull import REFUSED_SECONDS, Linger, Pull
from entresol_eventing.settings import RuntimeSettings

log = logging.getLogger(__name__)

CHECK_SECONDS = 5.0
FETCH_SECONDS = 5.0
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
        "ping_interval": 5,
        "max_outstanding_pings": 2,
        "connect_timeout": 5,
        "error_cb": on_error,
    }
    if settings.nats_seed:
        options["nkeys_seed_str"] = settings.nats_seed.get_secret_value()
    return options


def broker(settings: RuntimeSettings, user: str, reconnected: Callable[[], Awaitable[None]]) -> NatsBroker:
    """A FastStream broker for reading, not connected yet."""
    security = None
    if settings.nats_password:
        security = SASLPlaintext(settings.nats_user or user, settings.nats_password.get_secret_value())
    options = connect_options(settings, user, "reader")
    return NatsBroker(
        settings.nats_servers, reconnected_cb=reconnected, security=security, apply_types=False, logger=None, **options
    )


async def connect(settings: RuntimeSettings, user: str, purpose: str) -> Client:
    """Connect for publishing or administration; raise after `connect_timeout` if nobody answers at first."""
    options = connect_options(settings, user, purpose)
    if settings.nats_password:
        options |= {"user": settings.nats_user or user, "password": settings.nats_password.get_secret_value()}
    return await nats.connect(settings.nats_servers, pending_size=-1, allow_reconnect=True, **options)


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
        broker: NatsBroker,
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
        self._broker = broker
        self._stream = stream
        self._name = name
        self._user = user
        self._subjects = sorted(subjects)
        self._linger = linger
        self._wants = wants
        self._commit = commit
        self._load = load
        self._targets = targets
        self._batch_size = batch_size
        self._busy = asyncio.Lock()
        self._expected = 1
        self._position = 0
        self._handled: Msg | None = None
        """The last message that is handled and not acknowledged."""
        self._unacknowledged = 0
        self._pull: Pull | None = None
        self.cursor = name
        self.lag = Lag()
        self._subscriber = self._subscribe(broker, batch_size)

    def _subscribe(self, broker: NatsBroker, batch_size: int) -> BatchPullStreamSubscriber:
        subscriber = broker.subscriber(
            stream=JStream(self._stream, declare=False),
            durable=self._name,
            config=ConsumerConfig(filter_subjects=list(self._subjects)),
            pull_sub=PullSub(batch_size=batch_size, timeout=FETCH_SECONDS, batch=True),
            inbox_prefix=inbox_prefix(self._user).encode() + b".",
            ack_policy=AckPolicy.MANUAL,
            no_reply=True,
            parser=_parse,
            decoder=_decode,
            title=self._name,
        )
        subscriber(self._receive)
        return subscriber

    async def prepare(self) -> None:
        """Make the consumer behind what the database has; call before the broker starts."""
        await self._make()

    async def started(self) -> None:
        """Put our pull in the place of FastStream's; call after the broker has started."""
        subscriber, theirs = self._subscriber, self._subscriber.subscription
        for task in subscriber.tasks:
            task.cancel()  # its fetch would hold the loop for as long as nothing comes
        subscriber.tasks.clear()
        if theirs is not None:
            await theirs.unsubscribe()
        inbox = inbox_prefix(self._user)
        self._pull = Pull(self._broker.connection, self._stream, self._name, inbox, self._batch_size, self._linger)
        subscriber.subscription = self._pull  # type: ignore[assignment]
        # What was on its way to theirs is lost with it, and nothing may follow that would show the gap.
        await self.reset("the reader is in place")
        subscriber.add_task(subscriber._consume_pull)

    async def pause(self) -> None:
        """Fetch nothing more, and return when what was fetched is committed."""
        if self._pull is not None:
            self._pull.pause()
        async with self._busy:
            return

    async def watch(self) -> None:
        """Every few seconds, and when the server refuses to send: is the consumer there, and how far behind?"""
        assert self._pull is not None
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
        streams = self._broker.connection.jetstream()
        try:
            info = await streams.consumer_info(self._stream, self._name)
        except NotFoundError:
            await self.reset("it was deleted")
            return
        if sorted(info.config.filter_subjects or [info.config.filter_subject or ""]) != self._subjects:
            await self.reset("its configuration was changed")
            return
        if self._pull is not None:
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
        if self._pull is not None:
            await self._pull.open()

    async def _make(self, position: int | None = None) -> None:
        streams = self._broker.connection.jetstream(timeout=10)
        info = await streams.stream_info(self._stream)
        # A stream that was lost and made again counts from 1: what was committed before says nothing about it.
        self.cursor = f"{self._name}@{info.created}"
        self._position = await self._load(self.cursor) if position is None else position
        with contextlib.suppress(NotFoundError):
            await streams.delete_consumer(self._stream, self._name)
        from_start = self._position < info.state.first_seq
        await streams.add_consumer(
            self._stream,
            ConsumerConfig(
                name=self._name,
                durable_name=self._name,
                filter_subjects=self._subjects,
                ack_policy=JetStreamAckPolicy.ALL,
                ack_wait=ACK_WAIT_SECONDS,
                max_ack_pending=2 * ACK_BATCHES * self._batch_size,
                deliver_policy=DeliverPolicy.ALL if from_start else DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=None if from_start else self._position + 1,
            ),
        )
        self._expected, self._handled, self._unacknowledged = 1, None, 0

    async def _receive(self, delivered: list[Msg]) -> None:
        async with self._busy:
            fresh: list[Message] = []
            for raw in delivered:
                stream_sequence, consumer_sequence = _sequences(raw)
                if consumer_sequence != self._expected:
                    await self._reset(f"delivery {self._expected} is missing")
                    return
                self._expected += 1
                if stream_sequence > self._position and self._wants(raw.subject):
                    fresh.append(Message(raw.subject, raw.headers or _NO_HEADERS, raw.data, stream_sequence))
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
            await handled.ack()
            failpoint("ack.after")


def _sequences(message: Msg) -> tuple[int, int]:
    """Sequence in the stream and of the delivery: `$JS.ACK.[domain.account.]stream.consumer.times.S.D.time.pending`.

    Read by hand from the right place: nats-py's `metadata` reads everything, times included.
    """
    tokens = message.reply.split(".")
    first = 5 if len(tokens) < 11 else 7
    return int(tokens[first]), int(tokens[first + 1])


_NO_HEADERS: Mapping[str, str] = {}


async def _parse(messages: list[Msg]) -> NatsBatchMessage:
    return NatsBatchMessage(raw_message=messages, body=[], path={}, headers={}, batch_headers=[])


async def _decode(message: StreamMessage[list[Msg]]) -> list[Msg]:
    """Hand the messages over as they are: decoding is `consumer`'s part, for what fails here would be gone."""
    return message.raw_message
