"""A service: its handlers and workers on the runtime, from start to drain.

Nothing runs before `start`. The bus may be down at start and at any later time: the service stays up, takes what its
door takes, and catches up. `stop` finishes what was begun: no more fetching, last commits, last events published.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from entresol_contracts import EVENT_TYPES
from sqlalchemy import MetaData
from sqlmodel import Session
from starlette.types import ASGIApp

from entresol_eventing import deadlines, migrate, parking, upkeep
from entresol_eventing.bus import LOOK_SECONDS, Bus, Subjects
from entresol_eventing.commits import Commits, Wake
from entresol_eventing.consumer import BatchJob, Handling, Ingest, IngestJob, Message, RetryJob
from entresol_eventing.envelope import Cause
from entresol_eventing.fencing import exclusive
from entresol_eventing.gauges import Gauges, Show
from entresol_eventing.parts import Parts
from entresol_eventing.pull import Linger
from entresol_eventing.reactions import Outcome, Reactions, Unit
from entresol_eventing.relay import Relay
from entresol_eventing.settings import RuntimeSettings
from entresol_eventing.store import Database
from entresol_eventing.telemetry import Telemetry, Tracing
from entresol_eventing.units import Job, UnitJob, backoff
from entresol_eventing.writer import Committed, Unavailable, Writer

R = TypeVar("R")
log = logging.getLogger(__name__)

PRUNE_EVERY = 720
"""Looks between two removals of what is past its retention: once an hour."""


class Service:
    """One of the platform's services. Safe to build anywhere; everything else from the event loop that started it."""

    def __init__(
        self,
        *,
        name: str,
        settings: RuntimeSettings,
        reactions: Reactions,
        metadata: MetaData,
        migrations: Path,
        subjects: Sequence[str] | Subjects,
        workers: "Sequence[Worker]" = (),
        http: ASGIApp | None = None,
        telemetry: Telemetry | None = None,
        ingest: Ingest | None = None,
        linger: Linger = Linger(),  # noqa: B008  (immutable)
        show: Show | None = None,
    ) -> None:
        self.name = name
        self.settings = settings
        self.reactions = reactions
        self.metadata = metadata
        self.migrations = migrations
        self.http = http
        self.telemetry = telemetry or Telemetry()
        self.commits = Commits()
        self.tracing = Tracing(name, "")
        self.stopping = asyncio.Event()
        """Set when the end is near: what holds a connection of the door open lets go of it."""
        self.fenced = asyncio.Event()
        """Set when another instance has taken over: nothing is read, done or published any more; end the process."""
        self.on_start: list[Callable[[], Awaitable[None]]] = []
        """Awaited at start, when the store is ready and before anything is read from the log."""
        self._subjects = subjects
        self._workers = workers
        self._parts, self._at_work = Parts(name), Parts(name)
        self._ingest = ingest
        self._linger = linger
        self._gauges = Gauges(name, self.telemetry.metrics, show)
        self._stack = contextlib.ExitStack()
        self._writer: Writer | None = None
        self._deadline_wake = Wake()
        self._parking_wake = Wake()
        self._pending = 0

    async def start(self) -> None:
        """Migrate the store, start the workers, and connect to the bus in the background.

        Raises if the store can't be used or a step of `on_start` fails; then nothing is left running.
        """
        self.settings.data.mkdir(parents=True, exist_ok=True)
        self.database = Database(self.settings.database_for(self.name))
        self._stack.callback(self.database.close)
        try:
            # In a thread: it may wait a moment for an instance that is just ending.
            self._pen = await asyncio.to_thread(self._stack.enter_context, exclusive(self.database, self.name))
            await asyncio.to_thread(migrate.upgrade, self.database, self.migrations)
            await self._begin()
        except BaseException:
            await self._end()
            raise

    async def _begin(self) -> None:
        self.tracing = Tracing(self.name, self.settings.otel_endpoint)
        self._stack.callback(self.tracing.close)
        self._writer = Writer(
            self._pen, self.name, self.reactions.forget, self._committed, self._renewed, self._step_back
        )
        self._relay = Relay(self.name, lambda: self._bus.publisher, self.read, self._writer, self._count_published)
        self._handling = Handling(
            self.name, self.reactions, self._ingest, self.settings.max_attempts, self.tracing.span
        )
        self._bus = Bus(
            name=self.name,
            settings=self.settings,
            parts=self._parts,
            handling=self._handling,
            subjects=self._subjects,
            ingests=self._ingest is not None,
            linger=self._linger,
            read=self.read,
            commit=self._commit,
            publish=self._relay.run,
        )
        self._writer.start()
        await self.transact(_nothing)  # the right to write is ours, or nothing begins
        for known in EVENT_TYPES:  # a counter that begins at 1 never shows an increase
            if known.publisher in (self.name, "any"):
                self.telemetry.metrics.recorded.labels(self.name, known.fact)
        for prepare in self.on_start:
            await prepare()
        self._parts.begin(self._bus.attach, "bus")
        self._parts.begin(self._run_deadlines, "deadlines")
        self._parts.begin(self._run_retries, "retries")
        self._parts.begin(self._look, "look")
        for worker in self._workers:
            self._at_work.begin(partial(worker, self), "worker")

    def announce_stop(self) -> None:
        """Say that the end is near, before the door closes: a door waits for its open streams."""
        self.stopping.set()
        self.commits.announce()

    async def stop(self) -> None:
        """Drain within the grace time: nothing that was acknowledged is lost, whatever is cut short is repeated."""
        self.announce_stop()
        if self._writer is None:
            return  # it never began
        try:
            async with asyncio.timeout(self.settings.grace_seconds):
                await self._bus.pause()
                await self._at_work.end()
                if self._bus.is_connected and not self.fenced.is_set():
                    await self._relay.drained()
        except TimeoutError:
            log.warning(
                "the grace time is over; what is left is done after the next start", extra={"service": self.name}
            )
        await self._end()

    async def _end(self) -> None:
        await self._at_work.end()
        await self._parts.end()
        if self._writer is not None:
            if self._writer.alive:
                await self._writer.stop()
            await self._bus.close()
        self._stack.close()

    async def transact(self, unit: Unit[R], *, actor: str | None = None, cause: Cause | None = None) -> R:
        """Run a unit in the writer thread; return its result once it is committed.

        Raises what the unit raises, after rolling it back, and Unavailable if the store does not take writes.
        """
        result: R = await self._submit(UnitJob(unit, cause or Cause(traceparent=self.tracing.traceparent()), actor))
        return result

    async def read(self, query: Callable[[Session], R]) -> R:
        """Run a query on a read-only snapshot, in a thread."""
        return await asyncio.to_thread(self.database.read, query)

    @property
    def overloaded(self) -> bool:
        """Whether so much waits to be published that a door should answer 503."""
        return self._pending >= self.settings.outbox_limit

    def health(self) -> dict[str, Any]:
        """What `/health/ready` tells: ready only if the log is being read and the outbox published."""
        problems = []
        if self.fenced.is_set():
            problems.append("another instance has taken over")
        elif not self.live:
            problems.append("the writer has ended")
        if not self._bus.is_connected:
            problems.append("not connected to the bus")
        if self._relay.held:
            problems.append("the bus has lost its log, and waits for `entresol refill`")
        elif self._relay.failing_since is not None:
            problems.append("the bus does not take events")
        problems += self._bus.problems()
        return {
            "service": self.name,
            "ready": not problems,
            "problems": problems,
            "lag_messages": self._bus.lag_messages,
            "outbox_pending": self._pending,
        }

    @property
    def live(self) -> bool:
        """Whether the process can still do its work; if not, it is to be restarted."""
        return self._writer is not None and self._writer.alive

    async def _submit(self, job: Job) -> Any:
        if self._writer is None:
            raise RuntimeError(f"{self.name} is not started")
        return await self._writer.run(job)

    def _renewed(self) -> None:
        """Look at everything again: what a commit without an answer left behind was announced to nobody."""
        self._relay.look_again()
        self._deadline_wake.set()
        self._parking_wake.set()
        self.commits.announce()

    def _step_back(self) -> None:
        log.error("another instance has taken over; this one does nothing more", extra={"service": self.name})
        self.fenced.set()
        self._at_work.cancel()
        self._parts.cancel()
        self._bus.abandon()

    def _committed(self, committed: Committed) -> None:
        if committed.events:
            self._pending += len(committed.events)
            for fact, count in Counter(_fact(row["log_subject"]) for row in committed.events).items():
                self.telemetry.metrics.recorded.labels(self.name, fact).inc(count)
            self._relay.offer(committed.events)
        if committed.deadlines:
            self._deadline_wake.set()
        if committed.parking:
            self._parking_wake.set()
        self.commits.announce()

    def _count_published(self, count: int) -> None:
        self._pending = max(0, self._pending - count)
        self.telemetry.metrics.published.labels(self.name).inc(count)

    async def _commit(self, kind: type[BatchJob | IngestJob], messages: Sequence[Message], consumer: str) -> None:
        """Commit a batch, however long the database is away: what follows must not overtake it."""
        job = kind(self._handling, messages, consumer)
        began, attempt = time.perf_counter(), 0
        while True:
            try:
                await self._submit(job)
                break
            except Unavailable:
                if self.fenced.is_set():
                    raise
                attempt += 1
                await asyncio.sleep(backoff(attempt, random.random(), first_seconds=0.1, most_seconds=5))
        metrics = self.telemetry.metrics
        metrics.handled.labels(self.name).inc(len(job.messages))
        metrics.batch_seconds.labels(self.name).observe(time.perf_counter() - began)

    async def _run_deadlines(self) -> None:
        while True:
            keys, wait = await self.read(partial(deadlines.due, self.reactions.longest_waits))
            if keys:
                jobs = (self._attempt(deadlines.DueJob(self.reactions, key)) for key in keys)
                await asyncio.gather(*jobs)
            else:
                await self._deadline_wake.wait(wait)

    async def _run_retries(self) -> None:
        while True:
            positions, wait = await self.read(parking.due)
            if positions:
                await asyncio.gather(*(self._attempt(RetryJob(self._handling, position)) for position in positions))
            else:
                await self._parking_wake.wait(wait)

    async def _attempt(self, job: Job) -> None:
        try:
            await self._submit(job)
        except Unavailable:
            await asyncio.sleep(1.0)

    async def _look(self) -> None:
        """Tell Prometheus how things stand, and remove what is past its retention."""
        rounds, pruned_at = 0, time.monotonic()
        logs: set[str] = set()
        while True:
            with contextlib.suppress(Exception):
                self._pending = await self._gauges.measure(self.read, self._relay.position, self._bus.lag_messages)
            if logs != (logs := {one.cursor for one in self._bus.subscriptions}):
                self._relay.doubt()
            if rounds % PRUNE_EVERY == 0:
                moment, days = time.monotonic(), self.settings.retention_days
                with contextlib.suppress(Unavailable):
                    await self.transact(partial(upkeep.prune, days, self._relay.position, moment - pruned_at))
                    pruned_at = moment
            rounds += 1
            await asyncio.sleep(LOOK_SECONDS)


Worker: TypeAlias = Callable[[Service], Awaitable[None]]
"""Touches the world: looks at the service's own tables, acts, and records what happened with `transact`."""


def _nothing(_: Session) -> Generator[Outcome, None, None]:
    yield from ()


def _fact(log_subject: str) -> str:
    return ".".join(log_subject.split(".", 4)[2:4])
