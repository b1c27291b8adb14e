"""Read a stretch of the log once, in its order, by a reader of its own that leaves nothing behind."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

import nats.errors
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.client import JetStreamContext

from entresol_eventing.pull import sequences

FETCH = 500
FETCH_SECONDS = 2.0
SILENT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One message of the log."""

    position: int
    log_subject: str
    message_id: str
    body: bytes


async def replay(
    connection: Client, stream: str, consumer: str, after: int, until: int, *, headers_only: bool = False
) -> AsyncIterator[list[Entry]]:
    """Yield the messages behind `after`, up to `until` and no further, in lists.

    Begins again behind the last one if the bus is away for a while; raises TimeoutError if it is silent for a minute.
    """
    streams = connection.jetstream(timeout=10)
    config = ConsumerConfig(
        name=consumer,
        ack_policy=AckPolicy.NONE,
        mem_storage=True,
        num_replicas=1,
        inactive_threshold=30,
        headers_only=headers_only or None,
    )
    loop = asyncio.get_running_loop()
    heard_at, subscription, expected = loop.time(), None, 1
    try:
        while after < until:
            try:
                if subscription is None:
                    subscription, expected = await _reader(streams, stream, config, after), 1
                messages = await subscription.fetch(FETCH, timeout=FETCH_SECONDS)
            except (nats.errors.Error, OSError, TimeoutError) as error:
                if loop.time() - heard_at > SILENT_SECONDS:
                    raise TimeoutError(f"the bus has sent nothing for {SILENT_SECONDS:g} s ({error!r})") from error
                if await _at_end(streams, stream, consumer, after):
                    return
                await _drop(subscription)
                subscription = None
                await asyncio.sleep(0.2)
                continue
            entries: list[Entry] = []
            for message in messages:
                position, delivery = sequences(message.reply.encode())
                if delivery != expected:
                    await _drop(subscription)
                    subscription = None
                    break
                expected += 1
                if after < position <= until:
                    message_id = (message.headers or {}).get("Nats-Msg-Id", "")
                    entries.append(Entry(position, message.subject, message_id, message.data))
            heard_at = loop.time()
            if entries:
                after = entries[-1].position
                yield entries
            if messages and sequences(messages[-1].reply.encode())[0] >= until:
                return
    finally:
        await _drop(subscription)
        with suppress(nats.errors.Error, OSError):
            await streams.delete_consumer(stream, consumer)


async def _reader(
    streams: JetStreamContext, stream: str, config: ConsumerConfig, after: int
) -> JetStreamContext.PullSubscription:
    assert config.name is not None
    with suppress(nats.errors.Error):
        await streams.delete_consumer(stream, config.name)
    await streams.add_consumer(
        stream, config.evolve(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=after + 1)
    )
    return await streams.pull_subscribe_bind(consumer=config.name, stream=stream)


async def _drop(subscription: JetStreamContext.PullSubscription | None) -> None:
    if subscription is not None:
        with suppress(nats.errors.Error, OSError):
            await subscription.unsubscribe()


async def _at_end(streams: JetStreamContext, stream: str, consumer: str, after: int) -> bool:
    """Whether there is nothing behind a position: what stood there may be past its retention."""
    with suppress(nats.errors.Error, OSError):
        return (await streams.stream_info(stream)).state.last_seq <= after
    return False
