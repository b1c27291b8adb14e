"""What the tests of services need: plain events, a store in memory, a real nats-server, a running service."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar, overload

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from entresol_contracts import Payload
from sqlalchemy import MetaData, create_engine, select
from sqlalchemy.pool import StaticPool
from sqlmodel import Session

from entresol_eventing import migrate
from entresol_eventing.envelope import Event, decode, new_id, now, types_by_model
from entresol_eventing.log import connect
from entresol_eventing.nats_server import NatsServer
from entresol_eventing.service import Service
from entresol_eventing.settings import RuntimeSettings
from entresol_eventing.store import Database, outbox
from entresol_eventing.streams import bootstrap

P = TypeVar("P", bound=Payload)
T = TypeVar("T")


def event(data: P, **attributes: Any) -> Event[P]:
    """An event around a payload, with sane attributes unless given."""
    known = types_by_model()[type(data)]
    event_id = attributes.pop("id", None) or new_id()
    subject = attributes.pop("subject", None) or getattr(data, "request_id", None) or event_id
    sane: dict[str, Any] = {
        "source": f"/entresol/{known.publisher}",
        "type": known.type,
        "time": now(),
        "dataschema": known.dataschema,
        "correlationid": event_id,
        "partitionkey": getattr(data, "resource_id", None) or subject,
        "actor": "user:ada",
    }
    envelope: Event[P] = Event.model_construct(id=event_id, subject=subject, data=data, **(sane | attributes))
    return envelope


@contextmanager
def memory_session(metadata: MetaData) -> Iterator[Session]:
    """A session on an empty SQLite database in memory, in one transaction, as handlers get it."""
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    metadata.create_all(engine)
    with Session(engine) as session:
        yield session
    engine.dispose()


@contextmanager
def nats_server(data: Path) -> Iterator[NatsServer]:
    """A real server with the platform's streams and no users, on a free port, ended at exit."""
    with NatsServer(data) as server:
        asyncio.run(make_streams(server))
        yield server


async def make_streams(server: NatsServer) -> None:
    password = server.passwords.get("admin")
    settings = RuntimeSettings(nats_url=server.url, nats_password=password)
    connection = await connect(settings, "admin", "bootstrap")
    try:
        await bootstrap(connection)
    finally:
        await connection.close()


@asynccontextmanager
async def running(service: Service, *, ready_seconds: float = 10.0) -> AsyncIterator[Service]:
    """The service, started and ready; stopped at exit."""
    await service.start()
    try:
        await eventually(lambda: service.health()["ready"], seconds=ready_seconds)
        yield service
    finally:
        await service.stop()


@overload
async def eventually(check: Callable[[], Awaitable[T | None]], *, seconds: float = 10.0) -> T: ...
@overload
async def eventually(check: Callable[[], T | None], *, seconds: float = 10.0) -> T: ...
async def eventually(check: Callable[[], T | Awaitable[T | None] | None], *, seconds: float = 10.0) -> T:
    """Return the first true value of the check; raise AssertionError when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        value = check()
        if isinstance(value, Awaitable):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s; the last value was {value!r}")
        await asyncio.sleep(0.01)


async def published(service: Service) -> list[Event[Any]]:
    """Every event that the service has said, in order."""
    query = select(outbox.c.body).order_by(outbox.c.position)
    bodies = await service.read(lambda session: list(session.execute(query).scalars()))
    return [decode(body) for body in bodies]


@cache
def migrated(migrations: Path) -> bytes:
    """An SQLite database of the service's current shape, to be written where a service of a test finds it."""
    with TemporaryDirectory() as place:
        file = Path(place) / "migrated.db"
        database = Database(f"sqlite:///{file}")
        migrate.upgrade(database, migrations)
        database.close()
        return file.read_bytes()


def assert_migrations_match(migrations: Path, metadata: MetaData, data: Path) -> None:
    """What the migrations make is what the models say."""
    database = Database(f"sqlite:///{data / 'migrated.db'}")
    try:
        migrate.upgrade(database, migrations)
        with database.writer.connect() as connection:
            differences = [
                one
                for one in compare_metadata(
                    MigrationContext.configure(connection, opts={"compare_type": True}), metadata
                )
                if not (one[0] == "remove_table" and one[1].name.startswith("eventing_"))
                and not (one[0] == "remove_index" and one[1].name.startswith("eventing_"))
            ]
    finally:
        database.close()
    assert not differences, differences
