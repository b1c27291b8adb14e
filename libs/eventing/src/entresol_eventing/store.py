"""Where a service keeps its state: SQLite by default, PostgreSQL by URL, and the runtime's own tables.

One connection writes (the writer thread's, see `writer`), any number read. On SQLite a write transaction begins with
`BEGIN IMMEDIATE`: a deferred one that is upgraded later fails with "database is locked" or loses an update.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic_core import from_json, to_json
from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    DateTime,
    Dialect,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    and_,
    create_engine,
    event,
    false,
    literal_column,
    make_url,
    tuple_,
)
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import registry
from sqlalchemy.pool import NullPool
from sqlalchemy.types import TypeDecorator
from sqlmodel import Session, SQLModel

R = TypeVar("R")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time; naive values are refused. SQLite keeps it without zone, PostgreSQL as timestamptz."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else _utc(value)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    # On SQLite straight to text and back: SQLAlchemy's way there takes ten times as long, for every time of every row.
    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any] | None:
        return _to_text if dialect.name == "sqlite" else super().bind_processor(dialect)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        return _from_text if dialect.name == "sqlite" else super().result_processor(dialect, coltype)


def _utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a time without a zone")
    return value if value.tzinfo is UTC else value.astimezone(UTC)


def _to_text(value: datetime | None) -> str | None:
    return None if value is None else _utc(value).isoformat(" ", "microseconds")[:-6]


def _from_text(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value).replace(tzinfo=UTC)


def table_base() -> type[SQLModel]:
    """A base class for one service's tables, with metadata of its own: five services share one process."""

    class Base(SQLModel, registry=registry()):
        pass

    return Base


metadata = MetaData()
_Sequence = BigInteger().with_variant(Integer(), "sqlite")

inbox = Table(
    "eventing_inbox",
    metadata,
    Column("id", String, primary_key=True),
    Column("source", String, primary_key=True),
    Column("seen_at", UtcDateTime, nullable=False),
)
"""Every event that was handled; a second delivery of one is dropped.

Its rows keep the order in which they were inserted, the log's: in SQLite's row ids, on PostgreSQL in the column
`arrival`, which numbers itself. A refill of a lost log follows it.
"""


def arrival(connection: Connection) -> ColumnElement[int]:
    """The order of the inbox's rows."""
    name = "rowid" if connection.dialect.name == "sqlite" else "arrival"
    return literal_column(f"eventing_inbox.{name}", Integer)


outbox = Table(
    "eventing_outbox",
    metadata,
    Column("position", _Sequence, primary_key=True, autoincrement=False),
    Column("id", String, nullable=False),
    Column("log_subject", String, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
)
"""Every event that the service said, in order; kept after publishing, so that it can refill an empty bus."""

deadline = Table(
    "eventing_deadline",
    metadata,
    Column("key", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("args", JSON, nullable=False),
    Column("cause", JSON, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Index("eventing_deadline_due", "due_at"),
)

parked = Table(
    "eventing_parked",
    metadata,
    Column("position", _Sequence, primary_key=True),
    Column("id", String, nullable=False, unique=True),
    Column("state", String, nullable=False),
    Column("partitionkey", String),
    Column("retry_at", UtcDateTime),
    Column("attempts", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("log_subject", String, nullable=False),
    Column("headers", JSON, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("redriven_by", String),
    Column("parked_at", UtcDateTime, nullable=False),
    Index("eventing_parked_key", "partitionkey"),
    Index("eventing_parked_due", "state", "retry_at"),
)
"""Messages that could not be handled: `retrying`, `behind` another of the same key, or `dead`."""

cursor = Table(
    "eventing_cursor",
    metadata,
    Column("name", String, primary_key=True),
    Column("position", BigInteger, nullable=False),
)
"""How far things are: `relay` in the outbox, each consumer on its stream; `epoch` counts the starts."""


def _to_json(value: Any) -> str:
    return to_json(value).decode()


_JSON: dict[str, Any] = {"json_serializer": _to_json, "json_deserializer": from_json, "hide_parameters": True}
"""Several times as fast as the standard library's. Errors name the statement, never the values: reasons are shown."""

_LIVELY: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 15_000,
}
"""libpq's settings by which a server that has vanished is noticed within 15 s."""


class Unusable(Exception):
    """The database is none, or has a shape that only a later version of the service knows; the text says which."""


@contextmanager
def usable(database: "Database") -> Iterator[None]:
    """Raise Unusable for what the database raises."""
    try:
        yield
    except DatabaseError as error:
        raise Unusable(f"{database.url.database} can't be used: {error.orig}") from error


class Database:
    """The two ways into one service's database: `writer()` for its writer thread, `read()` for anyone."""

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        if parsed.drivername in {"postgresql", "postgres"}:
            parsed = parsed.set(drivername="postgresql+psycopg")
        self.dialect = parsed.get_backend_name()
        if self.dialect == "sqlite":
            if not parsed.database or parsed.database == ":memory:":
                raise ValueError("an SQLite database needs a file: the writer and the readers share it")
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
            self._write = create_engine(parsed, pool_size=1, max_overflow=0, **_JSON)
            self._read = create_engine(parsed, pool_size=4, max_overflow=4, **_JSON)
            _on_sqlite(self._write, "BEGIN IMMEDIATE")
            _on_sqlite(self._read, "BEGIN", read_only=True)
        else:
            # Not pooled: what the writer closes must really end, because the right to write goes with it.
            self._write = create_engine(parsed, poolclass=NullPool, connect_args=_LIVELY, **_JSON)
            self._read = create_engine(
                parsed, pool_size=4, max_overflow=4, pool_pre_ping=True, connect_args=_LIVELY, **_JSON
            )
        self.url = parsed
        self._closed = False

    @property
    def writer(self) -> Engine:
        return self._write

    def read(self, query: Callable[[Session], R]) -> R:
        """Run a query on one snapshot of the database."""
        with self._read.connect() as connection:
            if self.dialect != "sqlite":
                connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            try:
                with connection.begin(), Session(connection) as session:
                    return query(session)
            finally:
                if self._closed:  # a read that the end has overtaken: its pool takes nothing back
                    connection.invalidate()

    def close(self) -> None:
        self._closed = True
        self._write.dispose()
        self._read.dispose()


def _on_sqlite(engine: Engine, begin: str, *, read_only: bool = False) -> None:
    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the driver must not begin transactions by itself
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA busy_timeout=10000")
        if read_only:
            cursor.execute("PRAGMA query_only=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def start(connection: Any) -> None:
        connection.exec_driver_sql(begin)


def one_of(columns: Sequence[ColumnElement[Any]], keys: Sequence[Sequence[Any]]) -> ColumnElement[bool]:
    """The condition that these columns together equal one of the keys, found by an index on them.

    SQLite reads the whole table for a list of pairs alone; each column's own list leads it to the index.
    """
    if not keys:
        return false()
    each = [
        column.in_(list(dict.fromkeys(values))) for column, values in zip(columns, zip(*keys, strict=True), strict=True)
    ]
    return and_(*each, tuple_(*columns).in_(keys))
