"""Fill the platform with stored requests, faster than it could end them: copies of a thousand real ones.

The services are stopped meanwhile. Rows go into every table that the real ones have rows in, by plain SQL; messages
go onto the bus in the order in which the real ones lie there. What is written is safe on disk when a fill returns.
"""

import asyncio
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from multiprocessing import get_context
from pathlib import Path

import nats
from entresol_eventing.permissions import EVENTS, SERVICES
from nats.aio.client import Client

from tests.bench.copies import NAME, Copy, Pattern, Value, Values, digests, tokens
from tests.bench.load import Load
from tests.bench.platform import Platform
from tests.fleet import END_SECONDS

APART = ("eventing_cursor", "eventing_deadline", "eventing_parked", "eventing_version", "alembic_version")
OWN_NUMBERS = ("eventing_outbox", "history", "delivery")
"""Tables that give their rows numbers, in the column `position`."""
TOGETHER = 10
"""Copies in one transaction."""
BATCH = 500
WINDOW = timedelta(seconds=3)
"""How much older each copy is than the next."""
SETTLE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Store:
    """What the real requests left in one service's database."""

    file: Path
    tables: Mapping[str, Pattern]


class Filling:
    """Copies of the requests that it lets the platform end first."""

    def __init__(self, platform: Platform, requests: int, seed: int, most: int) -> None:
        if platform.postgres is not None:
            raise ValueError("only SQLite databases can be filled")
        self._fleet = platform.fleet
        self._requests = requests
        self._seed = seed
        self._most = most
        """Copies that there will ever be: the first of them is the oldest."""
        self._copies = 0
        platform.run(self._end_real_ones())
        self.stop()
        messages = platform.run(self._messages())
        texts = [body for _, body in messages]
        own = frozenset(token for text in texts for token in tokens(text) if len(token) == 36)
        hashed = digests(texts)
        self._stores = [
            read_store(Path(self._fleet.databases[service].removeprefix("sqlite:///")), own, hashed)
            for service in SERVICES
        ]
        self._messages_pattern = Pattern(messages, (), hashed)

    @property
    def stored(self) -> int:
        """How many requests the catalog shows."""
        with closing(sqlite3.connect(self._stores[SERVICES.index("catalog")].file)) as connection:
            count: int = connection.execute("SELECT count(*) FROM request").fetchone()[0]
        return count

    async def _end_real_ones(self) -> None:
        async with Load(self._fleet, NAME) as load:
            await load.closed(16, self._requests, await_ends=True)
        await self._settled()

    async def _settled(self) -> None:
        """Return when everybody has read everything and nobody says more."""
        admin = await self._connect()
        streams = admin.jetstream()
        calm = 0
        async with asyncio.timeout(SETTLE_SECONDS):
            last = -1
            while calm < 5:
                pending = [(await streams.consumer_info(EVENTS, one)).num_pending for one in SERVICES]
                sequence = (await streams.stream_info(EVENTS)).state.last_seq
                calm = calm + 1 if sequence == last and not any(pending) else 0
                last = sequence
                await asyncio.sleep(0.2)
        await admin.close()

    async def _connect(self) -> Client:
        bus = self._fleet.nats
        return await nats.connect(bus.url, user="admin", password=bus.passwords["admin"])

    async def _messages(self) -> list[tuple[str, str]]:
        """Subject and body of everything on the log about the real requests, in its order."""
        admin = await self._connect()
        streams = admin.jetstream()
        found = []
        ours = set()
        for sequence in range(1, (await streams.stream_info(EVENTS)).state.last_seq + 1):
            message = await streams.get_msg(EVENTS, sequence)
            body = (message.data or b"").decode()
            event = json.loads(body)
            if event["data"].get("name", "").startswith(NAME):
                ours.add(event["correlationid"])
            if event["correlationid"] in ours:
                found.append((message.subject or "", body))
        await admin.close()
        return found

    def stop(self) -> None:
        """Stop the five services in order; the bus goes on."""
        for service in SERVICES:
            self._fleet.terminate(service)
        for service in SERVICES:
            self._fleet.await_end(service, END_SECONDS)

    def start(self) -> float:
        """Start the bus anew and the services; return the seconds until they were ready."""
        self._fleet.nats.stop()
        self._fleet.nats.start()
        began = time.perf_counter()
        for service in SERVICES:
            self._fleet.start(service)
        for service in SERVICES:
            self._fleet.await_ready(service)
        return time.perf_counter() - began

    def fill(self, platform: Platform, count: int) -> None:
        """Add copies until about that many requests are stored; the services must be stopped."""
        wanted = max(0, round((count - self.stored) / self._requests))
        numbers = range(self._copies + 1, self._copies + 1 + wanted)
        copies = [Copy(one, self._requests, self._seed, (self._most - one + 1) * WINDOW) for one in numbers]
        self._copies += wanted
        with ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=get_context("spawn")) as pool:
            writing = [pool.submit(fill_store, store, copies) for store in self._stores]
            last = platform.run(self._publish(copies))
            for one in writing:
                one.result()
        for service, store in zip(SERVICES, self._stores, strict=True):
            move_cursors(store.file, service, last)
        os.sync()

    async def _publish(self, copies: Iterable[Copy]) -> int:
        """Return the sequence of the last message on the log."""
        admin = await self._connect()
        batch: list[Values] = []
        for copy in copies:
            for message in self._messages_pattern.copy(copy):
                batch.append(message)
                if len(batch) == BATCH:
                    await _publish_batch(admin, batch)
                    batch.clear()
        if batch:
            await _publish_batch(admin, batch)
        last: int = (await admin.jetstream().stream_info(EVENTS)).state.last_seq
        await admin.close()
        return last


async def _publish_batch(bus: Client, messages: Sequence[Values]) -> None:
    batch_id = os.urandom(16).hex()
    for number, (subject, body) in enumerate(messages, start=1):
        # As long as what the relay writes, but no message id: the bus would remember each for two minutes.
        headers = {"Content-Type": "application/cloudevents+json", "Filled-Id": str(body)[24:60]}
        headers |= {"Nats-Batch-Id": batch_id, "Nats-Batch-Sequence": str(number)}
        if number < len(messages):
            await bus.publish(str(subject), str(body).encode(), headers=headers)
            continue
        headers["Nats-Batch-Commit"] = "1"
        answer = json.loads((await bus.request(str(subject), str(body).encode(), timeout=60, headers=headers)).data)
        if answer.get("count") != len(messages):
            raise RuntimeError(f"the bus did not take a batch: {answer}")


def read_store(file: Path, own: frozenset[str], hashed: Mapping[str, str]) -> Store:
    """The rows of one database that belong to requests with these ids."""
    found: dict[str, Pattern] = {}
    with closing(sqlite3.connect(file)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for table in sorted(name for (name,) in names if name not in APART and not name.startswith("sqlite_")):
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            everything: list[Values] = connection.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608
            rows = [row for row in everything if any(_is_own(value, own) for value in row)]
            in_place = "position" in columns and (table in OWN_NUMBERS or "history" in {name for (name,) in names})
            if rows:
                found[table] = Pattern(rows, [columns.index("position")] if in_place else [], hashed)
    return Store(file, found)


def _is_own(value: Value, own: frozenset[str]) -> bool:
    if not isinstance(value, str | bytes):
        return False
    text = value.decode() if isinstance(value, bytes) else value
    return any(token in own or token.startswith(NAME) for token in tokens(text))


def fill_store(store: Store, copies: Sequence[Copy]) -> int:
    """Insert the copies; return how many rows that were."""
    connection = sqlite3.connect(store.file, isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA cache_size=-400000")
    connection.execute("PRAGMA wal_autocheckpoint=100000")
    rows = 0
    numbering = {table: _numbering(connection, table, store) for table in store.tables}
    for start in range(0, len(copies), TOGETHER):
        some = list(enumerate(copies[start : start + TOGETHER], start))
        connection.execute("BEGIN IMMEDIATE")
        for table, pattern in store.tables.items():
            ahead, span = numbering[table]
            values = chain.from_iterable(pattern.copy(copy, ahead + index * span) for index, copy in some)
            rows += _insert(connection, table, values)
        connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return rows


def _numbering(connection: sqlite3.Connection, table: str, store: Store) -> tuple[int, int]:
    """How far ahead of what is copied the first copy's numbers are, and each further one's of the one before."""
    source = table if table in OWN_NUMBERS else "history"
    pattern = store.tables.get(source)
    if pattern is None:
        return 0, 0
    last: int = connection.execute(f"SELECT coalesce(max(position), 0) FROM {source}").fetchone()[0]  # noqa: S608
    return last + 1 - pattern.first, pattern.span


def _insert(connection: sqlite3.Connection, table: str, rows: Iterator[Values]) -> int:
    first = next(rows, None)
    if first is None:
        return 0
    statement = f"INSERT INTO {table} VALUES ({', '.join('?' * len(first))})"  # noqa: S608
    return connection.executemany(statement, chain([first], rows)).rowcount


def move_cursors(file: Path, service: str, last: int) -> None:
    """Say that the service has read the log up to there and published all it has said."""
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE eventing_cursor SET position = ? WHERE name LIKE ?", (last, f"{service}@%"))
        connection.execute(
            "UPDATE eventing_cursor SET position = (SELECT max(position) FROM eventing_outbox) WHERE name = 'relay'"
        )
