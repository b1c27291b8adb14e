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
from faststream.nats import JStream, NatsBroker, NatsMessage, PullSub
from faststream.nats.message import NatsBatchMessage
from faststream.nats.subscriber.usecases import BatchPullStreamSubscriber
from faststream.security import SASLPlaintext
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy as JetStreamAckPolicy
from nats.js.api import ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from entresol_eventing.consumer import Message
from entresol_eventing.permissions import inbox_prefix
from entresol_eventing.settings import RuntimeSettings

log = logging.getLogger(__name__)

CHECK_SECONDS = 5.0
FETCH_SECONDS = 5.0
ACK_WAIT_SECONDS = 30.0

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
    return NatsBroker(settings.nats_servers, reconnected_cb=reconnected, security=security, logger=None, **options)


async def connect(settings: RuntimeSettings, user: str, purpose: str) -> Client:
    """Connect for publishing or administration; raise after `connect_timeout` if nobody answers at first."""
    options = connect_options(settings, user, purpose)
    if settings.nats_password:
        options |= {"user": settings.nats_user or user, "password": settings.nats_password.get_secret_value()}
    return await nats.connect(settings.nats_servers, pending_size=-1, allow_reconnect=True, **options)


class PromptPull:
    """A pull subscription that answers with what there is.

    FastStream's batch loop asks again until its batch is full or its time-out is over, so an idle event would wait
    for the whole of it. This answers the second question with "nothing more", which ends the loop's round.
    """

    def __init__(self, subscription: JetStreamContext.PullSubscription, batch_size: int) -> None:
        self._subscription = subscription
        self._batch_size = batch_size
        self._paused = False
        self._fetching: asyncio.Task[list[Msg]] | None = None

    async def fetch(self, batch: int, timeout: float | None) -> list[Msg]:
        if batch < self._batch_size:
            raise nats.errors.TimeoutError
        if self._paused:
            await asyncio.sleep(0.05)
            raise nats.errors.TimeoutError
        self._fetching = asyncio.create_task(self._subscription.fetch(batch, timeout=timeout))
        await asyncio.wait({self._fetching})
        if self._fetching.cancelled():
            raise nats.errors.TimeoutError
        error = self._fetching.exception()
        if error is None:
            return self._fetching.result()
        if not isinstance(error, asyncio.TimeoutError):
            # A deleted consumer or a closed connection answers at once: without a pause this would be a hot loop.
            log.info("nothing can be fetched from the log now", extra={"reason": f"{type(error).__name__}: {error}"})
            await asyncio.sleep(0.25)
        raise nats.errors.TimeoutError

    def pause(self) -> None:
        """Fetch nothing more. What the server has sent and nobody looked at is sent again to the next reader."""
        self._paused = True
        self._interrupt()

    async def rebind(self, subscription: JetStreamContext.PullSubscription) -> None:
        """Use another subscription, so that what is queued for the old one is never seen."""
        old, self._subscription = self._subscription, subscription
        self._interrupt()
        with contextlib.suppress(nats.errors.Error):  # it may be gone already
            await old.unsubscribe()

    def _interrupt(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()

    async def unsubscribe(self, *_: object) -> None:
        self._interrupt()
        await self._subscription.unsubscribe()


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
        commit: Commit,
        load: Callable[[str], Awaitable[int]],
    ) -> None:
        self._broker = broker
        self._stream = stream
        self._name = name
        self._user = user
        self._subjects = sorted(subjects)
        self._commit = commit
        self._load = load
        self._batch_size = batch_size
        self._busy = asyncio.Lock()
        self._expected = 1
        self._position = 0
        self._pull: PromptPull | None = None
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

    def started(self) -> None:
        """Put the guard around FastStream's subscription; call after the broker has started."""
        assert self._subscriber.subscription is not None
        self._pull = PromptPull(self._subscriber.subscription, self._batch_size)
        self._subscriber.subscription = self._pull  # type: ignore[assignment]

    async def pause(self) -> None:
        """Fetch nothing more, and return when what was fetched is committed."""
        if self._pull is not None:
            self._pull.pause()
        async with self._busy:
            return

    async def watch(self) -> None:
        """Every few seconds: is the consumer there, as it should be, and how far behind is it?"""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
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
        self.lag = Lag((info.num_pending or 0) + (info.num_ack_pending or 0), asyncio.get_running_loop().time())

    async def reset(self, reason: str) -> None:
        """Make the consumer anew behind what is committed, and read from there."""
        async with self._busy:
            await self._reset(reason)

    async def _reset(self, reason: str) -> None:
        log.info("reading the log anew", extra={"consumer": self._name, "reason": reason})
        streams = await self._make()
        if self._pull is not None:
            prefix = inbox_prefix(self._user).encode() + b"."
            await self._pull.rebind(await streams.pull_subscribe_bind(self._name, self._stream, inbox_prefix=prefix))

    async def _make(self) -> JetStreamContext:
        streams = self._broker.connection.jetstream(timeout=10)
        info = await streams.stream_info(self._stream)
        # A stream that was lost and made again counts from 1: what was committed before says nothing about it.
        self.cursor = f"{self._name}@{info.created}"
        self._position = await self._load(self.cursor)
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
                max_ack_pending=10 * self._batch_size,
                deliver_policy=DeliverPolicy.ALL if from_start else DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=None if from_start else self._position + 1,
            ),
        )
        self._expected = 1
        return streams

    async def _receive(self, batch: NatsMessage) -> None:
        delivered: Sequence[Msg] = batch.raw_message  # type: ignore[assignment]
        async with self._busy:
            fresh: list[Message] = []
            for raw in delivered:
                sequence = raw.metadata.sequence
                if sequence.consumer != self._expected:
                    await self._reset(f"delivery {self._expected} is missing")
                    return
                self._expected += 1
                if sequence.stream > self._position:
                    fresh.append(Message(raw.subject, raw.headers or _NO_HEADERS, raw.data, sequence.stream))
            if fresh:
                await self._commit(fresh, self.cursor)
                self._position = fresh[-1].position
            await delivered[-1].ack()


_NO_HEADERS: Mapping[str, str] = {}


async def _parse(messages: list[Msg]) -> NatsBatchMessage:
    return NatsBatchMessage(raw_message=messages, body=[], path={}, headers={}, batch_headers=[])


async def _decode(_message: object) -> None:
    """Decoding happens in `consumer`: what fails here would be gone."""
