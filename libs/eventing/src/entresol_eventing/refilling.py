"""Put back what a bus has lost with its disk: every outbox, merged so that no effect lies before its cause.

- Each service's events keep their order, and each follows its cause.
- What the reader of everything has seen comes first, in the order in which it was on the lost log.
- What is on the log already is left out, so a refill that was interrupted goes on when it is repeated.
- Nobody else may publish meanwhile: the services wait for the mark at the end, and the bus refuses a step between two.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from nats.aio.client import Client
from nats.js.api import StreamInfo
from pydantic_core import from_json
from sqlalchemy import Row, Select, func, select
from sqlmodel import Session

from entresol_eventing.envelope import CONTENT_TYPE, new_id, now
from entresol_eventing.lineage import INCOMPLETE, REFILLED, refilled, strange
from entresol_eventing.permissions import EVENTS, REBUILT
from entresol_eventing.publishing import message_id
from entresol_eventing.replay import Entry, replay
from entresol_eventing.store import Database, arrival, inbox, outbox, usable

MAX_BATCH = 200
MAX_BATCH_BYTES = 8 * 1024 * 1024
ANSWER_SECONDS = 30.0


class Disturbed(Exception):
    """Somebody else has published during a refill, or the bus refused; what is done is done, repeat the rest."""


class NotNeeded(Exception):
    """The log is one that the services know, or was refilled already; publishing into it again would disorder it."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One event in an outbox, without its body."""

    service: str
    position: int
    message_id: str
    id: str
    source: str
    cause: str | None
    recorded_at: datetime


@dataclass(slots=True)
class Refill:
    """What there is to do, or what was done."""

    kept: dict[str, int] = field(default_factory=dict)
    """Events in each outbox that the bus would still keep."""
    missing: dict[str, int] = field(default_factory=dict)
    """Of those, what the log does not have."""
    complete: bool = True
    """Whether every outbox goes back to its beginning."""
    published: int = 0


def _now(_: int, __: int) -> None:
    return


async def refill(
    connection: Client,
    databases: Mapping[str, Database],
    *,
    retention_days: int = 30,
    preview: bool = False,
    progress: Callable[[int, int], None] = _now,
) -> Refill:
    """Publish what the log lacks, then mark it as refilled, so that the services go on; needs an administrator.

    Events past the retention are left out: consumers may have forgotten that they have handled them.
    Raises NotNeeded if no service waits for it, and Disturbed if somebody else publishes meanwhile.
    """
    streams = connection.jetstream(timeout=30)
    info = await streams.stream_info(EVENTS)
    if not await asyncio.to_thread(needed, info, databases):
        raise NotNeeded("the bus has not lost this log, or it was refilled already; there is nothing to put back")
    present = {entry.message_id async for entry in _headers(connection, info)}
    since = now() - timedelta(days=retention_days)
    result = Refill()
    outboxes: dict[str, list[Kept]] = {}
    ends: dict[str, int] = {}
    for service, database in databases.items():
        load = partial(_load, service, since)
        outboxes[service], ends[service], whole = await asyncio.to_thread(database.read, load)
        result.complete &= whole
        result.kept[service] = len(outboxes[service])
        result.missing[service] = sum(1 for one in outboxes[service] if one.message_id not in present)
    if preview:
        return result
    wanted = await asyncio.to_thread(_lacking, outboxes, databases, present)
    position = info.state.last_seq
    for start in range(0, len(wanted), MAX_BATCH):
        bodies = await asyncio.to_thread(_bodies, wanted[start : start + MAX_BATCH], databases)
        for batch in _batches(bodies):
            position = await _publish(connection, batch, position)
            result.published += len(batch)
            progress(result.published, len(wanted))
    marks = {REFILLED: json.dumps(ends)} | ({} if result.complete else {INCOMPLETE: "true"})
    config = (await streams.stream_info(EVENTS)).config
    await streams.update_stream(config.evolve(metadata={**(config.metadata or {}), **marks}))
    return result


def _lacking(
    outboxes: Mapping[str, Sequence[Kept]], databases: Mapping[str, Database], present: set[str]
) -> list[Kept]:
    seen = databases[REBUILT].read(_order) if REBUILT in databases else []
    return [one for one in merged(outboxes, seen) if one.message_id not in present]


def needed(info: StreamInfo, databases: Mapping[str, Database]) -> bool:
    """Whether a service has lived with another log, and nobody has refilled this one. Raises Unusable."""

    def lived_elsewhere(service: str, database: Database) -> bool:
        with usable(database):
            return database.read(partial(strange, service, info))

    return refilled(info) is None and any(lived_elsewhere(*one) for one in databases.items())


def merged(outboxes: Mapping[str, Sequence[Kept]], seen: Iterable[tuple[str, str]]) -> Iterator[Kept]:
    """All events in one order: each outbox in its own, each event behind its cause, what was seen as it was seen."""
    ranks = {key: rank for rank, key in enumerate(seen)}
    unseen = len(ranks)
    waiting = {one.id for kept in outboxes.values() for one in kept}
    heads = {service: 0 for service, kept in outboxes.items() if kept}

    def precedence(one: Kept) -> tuple[int, datetime, str]:
        return ranks.get((one.id, one.source), unseen), one.recorded_at, one.service

    while heads:
        first = [outboxes[service][index] for service, index in heads.items()]
        # A cause that waits elsewhere comes first. Should two outboxes wait for each other, the earlier one goes on.
        free = [one for one in first if one.cause is None or one.cause == one.id or one.cause not in waiting]
        chosen = min(free or first, key=precedence)
        yield chosen
        waiting.discard(chosen.id)
        heads[chosen.service] += 1
        if heads[chosen.service] == len(outboxes[chosen.service]):
            del heads[chosen.service]


def _load(service: str, since: datetime, session: Session) -> tuple[list[Kept], int, bool]:
    """The outbox within the retention, its last position, and whether it goes back to its beginning."""
    columns = (outbox.c.position, outbox.c.id, outbox.c.body, outbox.c.recorded_at)
    query = select(*columns).where(outbox.c.recorded_at >= since).order_by(outbox.c.position)
    kept = []
    for row in session.connection().execute(query.execution_options(yield_per=1000)):
        event: dict[str, Any] = from_json(row.body)
        kept.append(
            Kept(
                service,
                row.position,
                message_id(row.position, row.id),
                event["id"],
                event["source"],
                event.get("causationid"),
                row.recorded_at,
            )
        )
    end = session.execute(select(func.max(outbox.c.position))).scalar() or 0
    return kept, end, len(kept) == end


def _order(session: Session) -> list[tuple[str, str]]:
    """(id, source) of what a service has read, in the order in which it lay on the log."""
    query = select(inbox.c.id, inbox.c.source).order_by(arrival(session.connection()))
    return [(row.id, row.source) for row in session.execute(query)]


async def _headers(connection: Client, info: StreamInfo) -> AsyncIterator[Entry]:
    async for entries in replay(connection, EVENTS, "refill", 0, info.state.last_seq, headers_only=True):
        for entry in entries:
            yield entry


Outgoing = tuple[str, str, bytes]
"""Message id, subject on the log, body."""


def _batches(events: Sequence[Outgoing]) -> Iterator[list[Outgoing]]:
    """Cut into atomic batches that the bus takes at once."""
    batch: list[Outgoing] = []
    size = 0
    for one in events:
        if batch and size + len(one[2]) > MAX_BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += len(one[2])
    if batch:
        yield batch


def _bodies(wanted: Sequence[Kept], databases: Mapping[str, Database]) -> list[Outgoing]:
    found: dict[tuple[str, int], tuple[str, bytes]] = {}
    for service in {one.service for one in wanted}:
        positions = [one.position for one in wanted if one.service == service]
        query = select(outbox.c.position, outbox.c.log_subject, outbox.c.body).where(outbox.c.position.in_(positions))
        for row in databases[service].read(partial(_rows, query)):
            found[service, row.position] = (row.log_subject, row.body)
    return [(one.message_id, *found[one.service, one.position]) for one in wanted]


def _rows(query: Select[Any], session: Session) -> Sequence[Row[Any]]:
    return session.execute(query).all()


async def _publish(connection: Client, batch: Sequence[Outgoing], last: int) -> int:
    """Publish behind that position and nowhere else; return the position of the last event."""
    batch_id = new_id()
    for sequence, (known_by, log_subject, body) in enumerate(batch, start=1):
        headers = {"Content-Type": CONTENT_TYPE, "Nats-Msg-Id": known_by}
        if sequence == 1:
            headers["Nats-Expected-Last-Sequence"] = str(last)
        if len(batch) > 1:
            headers |= {"Nats-Batch-Id": batch_id, "Nats-Batch-Sequence": str(sequence)}
        if sequence < len(batch):
            await connection.publish(log_subject, body, headers=headers)
            continue
        if len(batch) > 1:
            headers["Nats-Batch-Commit"] = "1"
        answer = json.loads((await connection.request(log_subject, body, ANSWER_SECONDS, headers=headers)).data)
        if answer.get("error") or answer.get("duplicate"):
            raise Disturbed(f"the bus refused a part of the refill: {answer.get('error') or 'a copy'}")
    return int(answer["seq"])
