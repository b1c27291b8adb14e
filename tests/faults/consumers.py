"""Somebody meddles with the consumers on the bus, or purges the stream, while events flow."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from entresol_eventing.nats_server import NatsServer
from entresol_eventing.permissions import EVENTS
from entresol_eventing.service import Service
from entresol_eventing.testing import eventually, nats_server, running
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.client import JetStreamContext
from sqlalchemy import text

from tests.faults.tally import (
    Tally,
    Teller,
    administrator,
    handled,
    judge,
    load,
    log_kept,
    name_of,
    settings,
)
from tests.faults.trials import Evidence, Proof, Trial

HEALED_SECONDS = 15.0
WAITED_SECONDS = 60.0

Meddle = Callable[[JetStreamContext, ConsumerConfig], Awaitable[None]]


async def _delete(streams: JetStreamContext, config: ConsumerConfig) -> None:
    await streams.delete_consumer(EVENTS, config.durable_name or "")


async def _replace(streams: JetStreamContext, config: ConsumerConfig) -> None:
    """By one of the same name that begins at the end of the log and wants every message acknowledged."""
    await _delete(streams, config)
    other = replace(
        config, deliver_policy=DeliverPolicy.NEW, opt_start_seq=None, ack_policy=AckPolicy.EXPLICIT, metadata=None
    )
    await streams.add_consumer(EVENTS, other)


async def _forget_acknowledgements(streams: JetStreamContext, config: ConsumerConfig) -> None:
    await _delete(streams, config)
    await streams.add_consumer(EVENTS, replace(config, ack_policy=AckPolicy.NONE, max_ack_pending=None, metadata=None))


def _change(**attributes: Any) -> Meddle:
    async def change(streams: JetStreamContext, config: ConsumerConfig) -> None:
        wanted = {**replace(config, metadata=None).as_dict(), **attributes}
        request = {"stream_name": EVENTS, "config": wanted, "action": "update"}
        subject = f"$JS.API.CONSUMER.CREATE.{EVENTS}.{config.durable_name}"
        answer = json.loads((await streams._nc.request(subject, json.dumps(request).encode(), timeout=30)).data)
        if "error" in answer:
            raise RuntimeError(f"the bus does not take {attributes}: {answer['error']}")

    return change


async def _pause(streams: JetStreamContext, config: ConsumerConfig) -> None:
    subject = f"$JS.API.CONSUMER.PAUSE.{EVENTS}.{config.durable_name}"
    await streams._nc.request(subject, b'{"pause_until": "2999-01-01T00:00:00Z"}', timeout=30)


MEDDLING: Mapping[str, Meddle] = {
    "deleted": _delete,
    "replaced by another": _replace,
    "made to forget acknowledgements": _forget_acknowledgements,
    "given fewer subjects": _change(filter_subjects=["entresol.intake.change.merged.a"]),
    "given other subjects": _change(filter_subjects=["entresol.intake.token.>"]),
    "allowed one message at a time": _change(max_ack_pending=1),
    "stripped of bodies": _change(headers_only=True),
    "paused": _pause,
}


@dataclass(slots=True)
class _Reader:
    """One tally, and what may be missing in it."""

    tally: Tally
    service: Service
    excused: set[str] = field(default_factory=set)


def meddle_with_consumers(trial: Trial) -> Evidence:
    with log_kept(trial), nats_server(trial.scratch / "nats") as bus:
        return asyncio.run(_meddle(trial, bus))


async def _meddle(trial: Trial, bus: NatsServer) -> Evidence:
    teller, kinds, slowest = Teller(), list(MEDDLING.items()), dict.fromkeys([*MEDDLING, "purged"], 0.0)
    counts = dict.fromkeys(slowest, 0)
    rounds = trial.count(1, 5, 40)
    async with AsyncExitStack() as stack:
        streams = await stack.enter_async_context(administrator(bus))
        telling = await stack.enter_async_context(running(teller.service(settings(trial, "teller", bus.url))))
        tallies = [Tally(f"tally-{number}") for number in range(trial.count(len(kinds), 19, 19))]
        services = [tally.service(settings(trial, tally.name, bus.url)) for tally in tallies]
        await asyncio.gather(*(stack.enter_async_context(running(one, ready_seconds=60)) for one in services))
        readers = [_Reader(tally, service) for tally, service in zip(tallies, services, strict=True)]
        stopping = asyncio.Event()
        loading = asyncio.create_task(load(teller, telling, stopping, count=10, seconds=0.1))
        for number in range(rounds):
            trial.dice.shuffle(kinds)
            chosen = [(one, *kinds[index % len(kinds)]) for index, one in enumerate(readers)]
            took = await asyncio.gather(*(_heal(streams, teller, one, meddle) for one, _, meddle in chosen))
            for (_, kind, _), seconds in zip(chosen, took, strict=True):
                counts[kind] += 1
                slowest[kind] = max(slowest[kind], seconds)
            slowest["purged"] = max(slowest["purged"], await _purge(streams, teller, readers))
            counts["purged"] += 1
            trial.say(f"round {number + 1} of {rounds}")
        stopping.set()
        await loading
        await asyncio.gather(*(eventually(partial(_is_up_to, one, teller.told), seconds=60) for one in readers))
        found = [judge(teller.told, await handled(one.service), one.excused) for one in readers]
    breaches = [
        f"{kind}: healed after {seconds:.1f} s" for kind, seconds in slowest.items() if seconds > HEALED_SECONDS
    ]
    for one, verdict in zip(readers, found, strict=True):
        breaches += verdict.breaches(one.tally.name)
    purged = sum(len(one.excused) for one in readers)
    counts |= {
        "events": teller.told.total(),
        "purged unread": purged,
        "lost otherwise": sum(len(verdict.lost) for verdict in found),
        "handled twice": sum(len(verdict.double) for verdict in found),
        "out of order": sum(len(verdict.inverted) for verdict in found),
    }
    worst = max(slowest, key=lambda kind: slowest[kind])
    return Evidence(counts, breaches, {"slowest to heal": f"{slowest[worst]:.1f} s ({worst})"})


async def _heal(streams: JetStreamContext, teller: Teller, reader: _Reader, meddle: Meddle) -> float:
    """Meddle with a reader's consumer; return the seconds until it is as it was and reads what is told."""
    name = reader.tally.name
    before = await streams.consumer_info(EVENTS, name)
    await meddle(streams, before.config)
    began = time.monotonic()

    async def is_as_before() -> bool:
        try:
            info = await streams.consumer_info(EVENTS, name)
        except Exception:  # it is being made anew
            return False
        return not info.paused and _essence(info.config) == _essence(before.config)

    await eventually(is_as_before, seconds=WAITED_SECONDS)
    await _reads(teller, reader)
    return time.monotonic() - began


def _essence(config: ConsumerConfig) -> ConsumerConfig:
    """What does not change when a consumer is made anew further on."""
    return replace(config, deliver_policy=None, opt_start_seq=None, metadata=None)


async def _purge(streams: JetStreamContext, teller: Teller, readers: list[_Reader]) -> float:
    """Purge the stream under load; what nobody had read by then may be missing, and nothing else."""
    last = [await _last(one) for one in readers]
    await streams.purge_stream(EVENTS)
    began = time.monotonic()
    first = (await streams.stream_info(EVENTS)).state.first_seq
    for one, known in zip(readers, last, strict=True):
        gone = [(teller.keys[index % len(teller.keys)], index // len(teller.keys)) for index in range(first - 1)]
        one.excused |= {name_of(key, number) for key, number in gone if number > known.get(key, -1)}
    await asyncio.gather(*(_reads(teller, one) for one in readers))
    return time.monotonic() - began


async def _reads(teller: Teller, reader: _Reader) -> None:
    """Return when the reader has handled something newer than what was told when this was called."""
    told = dict(teller.told)
    await eventually(lambda: _is_up_to(reader, {key: count + 1 for key, count in told.items()}), seconds=WAITED_SECONDS)


async def _is_up_to(reader: _Reader, told: Mapping[str, int]) -> bool:
    last = await _last(reader)
    return all(last.get(key, -1) >= count - 1 for key, count in told.items())


async def _last(reader: _Reader) -> dict[str, int]:
    """The number of the newest event of each key that the reader has handled."""
    query = text("SELECT key FROM counted ORDER BY position DESC LIMIT 100")
    names = await reader.service.read(lambda session: list(session.execute(query).scalars()))
    last: dict[str, int] = {}
    for name in names:
        key, _, number = name.rpartition("#")
        last[key] = max(last.get(key, -1), int(number))
    return last


PROOFS = (Proof("G10", "a deleted or changed consumer heals itself within 15 s", meddle_with_consumers),)
