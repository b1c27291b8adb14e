"""The small service as a process, the load on it, and the judge of what became of it.

The judge reads what clients were told, the service's tables and the log; the service has no word in it.
"""

import asyncio
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import nats
from entresol_contracts.events import ChangeMerged, Repository
from entresol_eventing.envelope import Malformed, decode, encode
from entresol_eventing.nats_server import NatsServer
from entresol_eventing.testing import event, make_streams
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.errors import NotFoundError
from sqlalchemy import Engine, create_engine, make_url, text

from tests.faults.scribe import NAME
from tests.fleet import free_port

T = TypeVar("T")
READY_SECONDS = 60.0
END_SECONDS = 120.0
ANSWER_SECONDS = 20.0


def until(what: str, look: Callable[[], T], seconds: float = END_SECONDS) -> T:
    """Return the first true value; raise AssertionError with the last one when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        value = look()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}; the last value was {value!r}")
        time.sleep(0.05)


class Scribe:
    """One instance of the service in a process of its own."""

    def __init__(self, log: Path, nats_url: str, database_url: str, **environment: str) -> None:
        self.log = log
        self.port = free_port()
        self.failpoint = ""
        self._settings = {"data": str(log.parent), "nats_url": nats_url, "database_url": database_url}
        self._environment = {**os.environ, **environment}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Scribe":
        self.start()
        self.await_ready()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.end()

    def end(self) -> None:
        """End it in order, or by force if it takes too long."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.signal(signal.SIGCONT)
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
        self._process.kill()
        self._process.wait()

    def start(self) -> None:
        settings = self._settings | {"port": self.port, "failpoint": self.failpoint}
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.scribe", json.dumps(settings)],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    @property
    def ended(self) -> int | None:
        """Its exit code, if it has ended."""
        assert self._process is not None
        return self._process.poll()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def is_frozen(self) -> bool:
        assert self._process is not None
        state = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
        return state == "T"

    def await_ready(self) -> None:
        def ready() -> bool:
            if self.ended is not None:
                raise RuntimeError(f"the service has ended: {self.log.read_text(encoding='utf-8')[-3000:]}")
            return self.status("GET", "/health/ready") == 200

        until("the service is ready", ready, READY_SECONDS)

    def status(self, method: str, path: str, body: bytes = b"", seconds: float = ANSWER_SECONDS) -> int:
        """The status of the answer; 0 if there was none."""
        return self.answer(method, path, body, seconds)[0]

    def answer(
        self, method: str, path: str, body: bytes = b"", seconds: float = ANSWER_SECONDS
    ) -> tuple[int, Mapping[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            answer.read()
            return answer.status, dict(answer.getheaders())
        except (OSError, http.client.HTTPException):
            return 0, {}
        finally:
            connection.close()


@dataclass(slots=True)
class Load:
    """Clients that insist on each of their notes, and a publisher on the bus, until `stop`."""

    doors: Callable[[], Scribe]
    """Whichever instance is to be called now."""
    bus: NatsServer
    clients: int = 4
    pause_seconds: float = 0.01
    filling: int = 0
    """Size of a note's body, in hexadecimal digits of chance, so that no store can make it smaller."""
    answer_seconds: float = 30.0
    told: set[str] = field(default_factory=set)
    """Notes that were answered with 2xx."""
    sent: list[str] = field(default_factory=list)
    """What the bus has taken, in its order."""
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> "Load":
        self._threads = [
            *(threading.Thread(target=self._insist, args=(number,)) for number in range(self.clients)),
            threading.Thread(target=lambda: asyncio.run(self._publish())),
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Return when every client has the answer to its last note."""
        self._over.set()
        for thread in self._threads:
            thread.join(2 * END_SECONDS)

    def _insist(self, client: int) -> None:
        number = 0
        while not self._over.is_set():
            key, deadline = f"{client}-{number}", time.monotonic() + END_SECONDS
            while True:
                body = os.urandom(self.filling // 2).hex().encode()
                status, headers = self.doors().answer("POST", f"/notes/{key}", body, self.answer_seconds)
                self.statuses[status] += 1
                if status == 202:
                    self.told.add(key)
                    break
                if status not in (0, 503):
                    self.wrong.append(f"the door answered {status} to {key}")
                elif status == 503 and "retry-after" not in headers:
                    self.wrong.append(f"a 503 without Retry-After to {key}")
                if time.monotonic() > deadline:
                    self.wrong.append(f"the door did not take {key} within {END_SECONDS:g} s")
                    return
                time.sleep(0.05)
            number += 1
            time.sleep(self.pause_seconds)

    async def _publish(self) -> None:
        """One after the other, each repeated with its id until the bus has said that it has it."""
        connection = await nats.connect(
            self.bus.url, max_reconnect_attempts=-1, reconnect_time_wait=0.1, error_cb=_unimpressed
        )
        number = 0
        while not self._over.is_set():
            name = f"r{number % 5}"
            merged = ChangeMerged(
                repository=Repository(name=name, full_name=f"shop/{name}"),
                branch="main",
                revision="c4295bd",
                number=number,
            )
            body = encode(event(merged, subject=f"shop/{name}", partitionkey=name))
            deadline = time.monotonic() + END_SECONDS
            while time.monotonic() < deadline:
                try:
                    await connection.jetstream().publish("entresol.intake.change.merged.x", body, timeout=5)
                    self.sent.append(f"{name}#{number}")
                    break
                except (nats.errors.Error, OSError, NotFoundError):
                    await asyncio.sleep(0.1)
            number += 1
            await asyncio.sleep(self.pause_seconds)
        await connection.close()


async def _unimpressed(_: Exception) -> None:
    """The faults are ours."""


class Books:
    """What the service's database holds, read from outside."""

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        self._engine: Engine = create_engine(parsed, pool_pre_ping=True)

    def __enter__(self) -> "Books":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._engine.dispose()

    def column(self, query: str) -> list[Any]:
        with self._engine.connect() as connection:
            return list(connection.execute(text(query)).scalars())

    def keys(self, table: str) -> list[str]:
        return self.column(f"SELECT key FROM {table} ORDER BY position")  # noqa: S608

    def one(self, query: str) -> Any:
        return self.column(query)[0]


def judge(load: Load, books: Books, bus: NatsServer) -> tuple[dict[str, int], list[str]]:
    """Wait until all is done that was begun; return counts, and what was lost, doubled or out of order."""
    told, sent = load.told, load.sent

    def done() -> bool:
        open_notes = books.one("SELECT count(*) FROM noted WHERE state <> 'filed'")
        return (
            books.one("SELECT count(DISTINCT key) FROM heard") >= len(sent)
            and open_notes == 0
            and books.one("SELECT count(*) FROM eventing_deadline") == 0
            and asyncio.run(log_of(bus))[1].keys() >= set(books.column("SELECT id FROM eventing_outbox"))
        )

    breaches = list(load.wrong)
    try:
        until("everything is noted, filed, rung, heard and on the log", done)
    except AssertionError as error:
        breaches.append(str(error))
    noted, heard, rung = map(books.keys, ("noted", "heard", "rung"))
    copies, on_log = asyncio.run(log_of(bus))
    outbox = books.column("SELECT id FROM eventing_outbox ORDER BY position")
    lost = [*(told - set(noted)), *(set(sent) - set(heard)), *(set(noted) - set(rung)), *(set(outbox) - set(on_log))]
    doubled = [key for rows in (noted, heard, rung) for key, times in Counter(rows).items() if times > 1]
    subjects = Counter(books.column("SELECT log_subject FROM eventing_outbox"))
    doubled += [subject for subject, times in subjects.items() if times > 1 and "cancelled" in subject]
    first_seen = [one for one in on_log if one in set(outbox)]
    inversions = sum(a != b for a, b in zip(first_seen, outbox, strict=False))
    for name in {key.partition("#")[0] for key in heard}:
        numbers = [int(key.partition("#")[2]) for key in heard if key.startswith(f"{name}#")]
        inversions += sum(a > b for a, b in pairwise(numbers))
    if phantom := set(on_log) - set(outbox):
        breaches.append(f"on the log and not in the outbox: {sorted(phantom)[:5]}")
    if lost:
        breaches.append(f"{len(lost)} lost: {sorted(lost)[:10]}")
    if doubled:
        breaches.append(f"{len(doubled)} doubled: {sorted(doubled)[:10]}")
    if inversions:
        breaches.append(f"{inversions} out of order")
    counts = {
        "notes": len(told),
        "messages": len(sent),
        "events": len(outbox),
        "refusals": load.statuses[503],
        "copies on the log": copies,
        "lost": len(lost),
        "doubled": len(doubled),
        "out of order": inversions,
    }
    return counts, breaches


async def log_of(bus: NatsServer) -> tuple[int, dict[str, None]]:
    """Copies among the service's events on the log, and their ids in the order in which each first came."""
    connection = await nats.connect(bus.url)
    try:
        streams = connection.jetstream()
        config = ConsumerConfig(ack_policy=AckPolicy.NONE)
        reader = await streams.pull_subscribe(f"entresol.{NAME}.>", stream="EVENTS", config=config)
        left = (await reader.consumer_info()).num_pending or 0
        total, ids = 0, dict[str, None]()
        while total < left:
            for message in await reader.fetch(min(1000, left - total), timeout=10):
                total += 1
                with contextlib.suppress(Malformed):
                    ids.setdefault(decode(message.data).id)
        await reader.unsubscribe()
        return total - len(ids), ids
    finally:
        await connection.close()


def fresh_bus(data: Path) -> NatsServer:
    """A server with the platform's streams, to be stopped by the caller."""
    server = NatsServer(data)
    server.start()
    asyncio.run(make_streams(server))
    return server
