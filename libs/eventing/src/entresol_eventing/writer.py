"""The unit of work: everything a service writes goes through one thread, many units in one commit.

- A unit's state and its events are committed together, or neither is.
- Units that wait at the same moment share a transaction, so one fsync serves all of them.
- If one unit of a group fails, the group is rolled back and repeated with a savepoint around each unit, so the
  others don't notice. A unit must therefore depend on nothing but its session and its arguments.
- If the database does not answer a commit, its outcome is unknown. It is decided before the next transaction begins
  (see `fencing`), and whoever tries again must find in the state what was done: an inbox row, a key, a guarded change.
"""

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from entresol_eventing.availability import is_unavailable
from entresol_eventing.failpoints import failpoint
from entresol_eventing.fencing import BEAT_SECONDS, Fenced, Pen
from entresol_eventing.recording import record, save_cursor
from entresol_eventing.store import cursor, outbox, parked
from entresol_eventing.units import Job, Recorded

log = logging.getLogger(__name__)

_LAST = select(
    select(func.max(outbox.c.position)).scalar_subquery(),
    select(cursor.c.position).where(cursor.c.name == "relay").scalar_subquery(),
)

SAVE_SECONDS = 1.0
"""How often the relay's position is written down at the most."""

MAX_UNITS = 256
"""Units in one transaction. More would only delay the first of them."""


class Unavailable(Exception):
    """The database could not be reached or written. Try again later.

    Nothing of the unit was stored, unless it was the answer to the commit that was lost: then all of it may be.
    """


@dataclass(slots=True)
class Committed:
    """What the rest of the service is told after a commit."""

    events: list[dict[str, Any]]
    deadlines: bool
    parking: bool


@dataclass(frozen=True, slots=True)
class Failed:
    """What is delivered instead of a result."""

    error: Exception


@dataclass(slots=True)
class _Waiting:
    job: Job
    future: "asyncio.Future[Any]"


class Writer:
    """The thread that commits. `run` may be called from the event loop only."""

    def __init__(
        self,
        pen: Pen,
        service: str,
        forget: Callable[[], None],
        committed: Callable[[Committed], None],
        renewed: Callable[[], None] = lambda: None,
        fenced: Callable[[], None] = lambda: None,
    ) -> None:
        self._pen = pen
        self._service = service
        self._forget = forget
        self._committed = committed
        self._renewed = renewed
        self._fenced = fenced
        self._over = False
        """Set in the event loop when another instance has taken over; nothing is accepted from then on."""
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._loop, name=f"{service}-writer", daemon=True)
        self._connection: Connection | None = None
        self._next_position = 0
        self.relayed = 0
        """Set by the relay; written down with the next commit. What a crash loses of it is only published again."""
        self._relayed_saved = 0
        self._saved_at = float("-inf")
        self._parked_keys: set[str] = set()
        self._keys_stale = True

    def start(self) -> None:
        self._events = asyncio.get_running_loop()
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    async def run(self, job: Job) -> Any:
        """Return what the job returns once it is committed; raise what it raises, or Unavailable."""
        if self._over:
            raise Unavailable(f"another {self._service} has taken over")
        waiting = _Waiting(job, self._events.create_future())
        self._queue.put(waiting)
        return await waiting.future

    async def stop(self) -> None:
        """Finish what is queued, then end the thread."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _loop(self) -> None:
        while True:
            try:
                first = self._queue.get(timeout=BEAT_SECONDS)
            except queue.Empty:
                if self._beat():
                    continue
                return
            group = [first]
            while len(group) < MAX_UNITS:
                try:
                    group.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            waiting = [one for one in group if one is not None]
            if waiting and not self._handle(waiting):
                return
            if len(waiting) < len(group):
                self._close()
                return

    def _close(self) -> None:
        if self._connection is not None:
            if self.relayed != self._relayed_saved:
                with contextlib.suppress(DBAPIError), self._connection.begin():
                    save_cursor(self._connection, "relay", self.relayed)
            self._connection.close()

    def _beat(self) -> bool:
        """Show that this instance is alive; return False if another has taken over."""
        try:
            connection = self._connect()
            with connection.begin():
                connection.exec_driver_sql("SELECT 1")
        except Exception as error:
            self._unavailable(error)
            return not self._is_over(error)
        return True

    def _is_over(self, error: Exception) -> bool:
        if isinstance(error, Fenced):
            self._events.call_soon_threadsafe(self._end)
            return True
        return False

    def _end(self) -> None:
        self._over = True
        with contextlib.suppress(queue.Empty):
            while True:
                left = self._queue.get_nowait()
                if left is not None and not left.future.done():
                    left.future.set_exception(Unavailable(f"another {self._service} has taken over"))
        self._fenced()

    def _handle(self, waiting: list[_Waiting]) -> bool:
        """Commit what waits, and tell whoever waits for it; return False if another instance has taken over."""
        results: list[object]
        committed, over = None, False
        try:
            results, committed = self._together([one.job for one in waiting])
        except Exception as first:
            try:
                if is_unavailable(first):
                    raise
                results, committed = self._apart([one.job for one in waiting])
            except Exception as error:
                results = [Failed(self._unavailable(error))] * len(waiting)
                over = self._is_over(error)
        self._events.call_soon_threadsafe(self._deliver, waiting, results, committed)
        return not over

    def _deliver(self, waiting: list[_Waiting], results: "list[object | Failed]", committed: Committed | None) -> None:
        if committed is not None:
            self._committed(committed)
        for one, result in zip(waiting, results, strict=True):
            if one.future.cancelled():
                continue
            if isinstance(result, Failed):
                one.future.set_exception(result.error)
            else:
                one.future.set_result(result)

    def _unavailable(self, error: Exception) -> Exception:
        log.warning("a transaction could not be committed", extra={"service": self._service, "reason": str(error)})
        self._keys_stale = True
        if self._connection is not None:
            with contextlib.suppress(DBAPIError):
                self._connection.invalidate()
            self._connection.close()
            self._connection = None
        return Unavailable(f"{type(error).__name__}: the database of {self._service} does not take writes")

    def _connect(self) -> Connection:
        if self._connection is None:
            self._connection = self._pen.connect()
            with self._connection.begin():
                # The relay's position too: the outbox may be empty, and no position may be given twice.
                last = self._connection.execute(_LAST).one()
                self._next_position = max(last[0] or 0, last[1] or 0, self.relayed) + 1
            # A commit whose answer was lost is decided now: what was cached meanwhile may be older than it is.
            self._forget()
            self._events.call_soon_threadsafe(self._renewed)
        return self._connection

    def _together(self, jobs: list[Job]) -> tuple[list[object], Committed]:
        connection = self._connect()
        recorded = Recorded(self._service, self._parked_keys)
        results: list[object] = []
        try:
            with connection.begin(), Session(connection) as session:
                self._refresh_keys(session)
                for job in jobs:
                    results.append(job.run(session, recorded))
                session.flush()
                self._record(connection, recorded)
                failpoint("commit.before")
        except BaseException:
            self._forget()
            raise
        return results, self._after(recorded)

    def _apart(self, jobs: list[Job]) -> tuple[list[object], Committed]:
        connection = self._connect()
        total = Recorded(self._service, self._parked_keys)
        results: list[object] = []
        self._keys_stale = True
        with connection.begin(), Session(connection) as session:
            self._refresh_keys(session)
            for job in jobs:
                result: object = None
                for part in job.split():
                    try:
                        result = self._guarded(connection, session, part, total)
                    except Exception as error:
                        if is_unavailable(error):
                            raise
                        result = Failed(error)
                results.append(result)
            self._record(connection, total)
            failpoint("commit.before")
        return results, self._after(total)

    def _refresh_keys(self, session: Session) -> None:
        if self._keys_stale:
            query = select(parked.c.partitionkey).where(parked.c.partitionkey.is_not(None)).distinct()
            self._parked_keys.clear()
            self._parked_keys.update(session.execute(query).scalars())
            self._keys_stale = False

    def _guarded(self, connection: Connection, session: Session, part: Job, total: Recorded) -> object:
        own = Recorded(self._service, self._parked_keys)
        connection.exec_driver_sql("SAVEPOINT unit")
        try:
            result = part.run(session, own)
            session.flush()
        except Exception as error:
            connection.exec_driver_sql("ROLLBACK TO SAVEPOINT unit")
            session.expunge_all()
            self._forget()
            if is_unavailable(error):
                raise
            own = Recorded(self._service, self._parked_keys)
            part.failed(error, session, own)
            result = None
        connection.exec_driver_sql("RELEASE SAVEPOINT unit")
        total.merge(own)
        return result

    def _record(self, connection: Connection, recorded: Recorded) -> None:
        relayed = self.relayed
        if relayed != self._relayed_saved and time.monotonic() - self._saved_at > SAVE_SECONDS:
            recorded.cursors["relay"] = relayed
            self._saved_at = time.monotonic()
        record(connection, recorded, self._next_position)

    def _after(self, recorded: Recorded) -> Committed:
        failpoint("commit.after")
        self._next_position += len(recorded.events)
        self._keys_stale |= recorded.parking_changed
        self._relayed_saved = recorded.cursors.get("relay", self._relayed_saved)
        return Committed(
            events=recorded.events,
            deadlines=any(one is not None for one in recorded.deadlines.values()),
            parking=recorded.parking_changed,
        )
