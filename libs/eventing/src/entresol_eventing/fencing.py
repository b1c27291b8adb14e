"""Who may write: at most one instance of a service at a time, whatever freezes, is cut off or wakes late.

- On PostgreSQL the lock lives in the connection that writes. Losing the connection is losing the lock and the open
  transaction together, so a second instance writes only when nothing of the first can be committed any more.
- PostgreSQL ends a connection that said nothing for 15 s, so a frozen instance holds up its successor no longer.
- An instance that finds that another has started since never writes again: what it remembers is old.
- On SQLite a file lock goes with the process: a killed one leaves it, a frozen one keeps it, and nobody takes over.

The locks belong to sessions: between service and PostgreSQL there must be no pooler that shares sessions.
"""

import contextlib
import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import DBAPIError

from entresol_eventing.store import Database, cursor

SILENT_SECONDS = 15
"""How long PostgreSQL waits for a sign of life."""
BEAT_SECONDS = 4.0
"""How often the writer gives one when there is nothing to write."""
PATIENCE_SECONDS = 5.0
"""How long a start waits for an instance before it that is just ending."""

_TAKE = "SELECT pg_try_advisory_lock(hashtext(%s))"
_EPOCH = select(cursor.c.position).where(cursor.c.name == "epoch")
_WHO_AM_I = "SELECT pg_backend_pid()"
_END_MY_LAST = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = %s"
_WATCH_ME = f"""
    SELECT set_config(name, wanted.setting, false)
    FROM pg_settings AS known JOIN (VALUES
        ('idle_in_transaction_session_timeout', '{SILENT_SECONDS}s'),
        ('idle_session_timeout', '{SILENT_SECONDS}s'),
        ('tcp_user_timeout', '{SILENT_SECONDS}s'),
        ('tcp_keepalives_idle', '5'), ('tcp_keepalives_interval', '5'), ('tcp_keepalives_count', '2'),
        ('synchronous_commit', 'on')
    ) AS wanted (name, setting) USING (name)
    WHERE name <> 'synchronous_commit' OR known.setting = 'off'
"""  # noqa: S608
"""Joined with what the server knows: an older one that lacks a setting is content with the others."""


class Taken(Exception):
    """Another connection holds the right to write, perhaps our own last one; try again."""


class Fenced(Exception):
    """Another instance has started on this database since we did; this one must end."""


class Pen:
    """One instance's right to write to its service's database. Used by one thread at a time."""

    def __init__(self, database: Database, service: str) -> None:
        self._database = database
        self._service = service
        self._first: Connection | None = None
        self._epoch: int | None = None
        self._backend: int | None = None

    def take(self) -> None:
        """Get hold of the right and keep it, for what is to be done before the writer starts; raise Taken."""
        until = time.monotonic() + PATIENCE_SECONDS
        while self._database.dialect != "sqlite":
            try:
                self._first = self._locked()
                return
            except Taken:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)

    def connect(self) -> Connection:
        """A connection that may write for as long as it is open.

        Every transaction of the connection before it has ended by then, committed or not. Raises Taken, Fenced, and
        what the database raises if it can't be reached.
        """
        connection, self._first = self._first, None
        connection = connection or self._locked()
        try:
            if self._database.dialect != "sqlite":
                with connection.begin():
                    connection.exec_driver_sql(_WATCH_ME)
                    self._backend = connection.exec_driver_sql(_WHO_AM_I).scalar_one()
            self._claim(connection)
        except BaseException:
            _drop(connection)
            raise
        return connection

    def close(self) -> None:
        if self._first is not None:
            _drop(self._first)
            self._first = None

    def _locked(self) -> Connection:
        connection = self._database.writer.connect()
        if self._database.dialect == "sqlite":
            return connection
        try:
            with connection.begin():
                taken = connection.exec_driver_sql(_TAKE, (f"entresol-{self._service}",)).scalar_one()
                if not taken:
                    self._compare(connection)
                    if self._backend is not None:  # what the server has not noticed to be cut off
                        connection.exec_driver_sql(_END_MY_LAST, (self._backend,))
            if not taken:
                raise Taken(f"another {self._service} holds the right to write")
        except BaseException:
            _drop(connection)
            raise
        return connection

    def _claim(self, connection: Connection) -> None:
        """Count this instance, once; every later connection must still find its number."""
        if self._epoch is not None:
            with connection.begin():
                self._compare(connection)
            return
        with connection.begin():
            before = connection.execute(_EPOCH).scalar()
            epoch = (before or 0) + 1
            if before is None:
                connection.execute(insert(cursor), {"name": "epoch", "position": epoch})
            else:
                connection.execute(update(cursor).where(cursor.c.name == "epoch").values(position=epoch))
        self._epoch = epoch

    def _compare(self, connection: Connection) -> None:
        if self._epoch is not None and connection.execute(_EPOCH).scalar() != self._epoch:
            raise Fenced(f"another {self._service} has started on this database")


@contextmanager
def exclusive(database: Database, service: str) -> Iterator[Pen]:
    """Be the one instance of a service that writes to its database; raise RuntimeError if there is another."""
    pen = Pen(database, service)
    with contextlib.ExitStack() as stack:
        try:
            if database.dialect == "sqlite":
                file = stack.enter_context(open(f"{database.url.database}.lock", "w", encoding="ascii"))
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            pen.take()
        except (BlockingIOError, Taken):
            raise RuntimeError(f"another {service} is running on {database.url.database}") from None
        stack.callback(pen.close)
        yield pen


def _drop(connection: Connection) -> None:
    """Close it, and with it everything that its session holds."""
    with contextlib.suppress(DBAPIError):
        connection.invalidate()
    connection.close()
