"""One writer at a time, whatever is lost: the right to write, the answer to a commit, or the sense of time."""

from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from entresol_eventing import upkeep
from entresol_eventing.nats_server import NatsServer
from entresol_eventing.reactions import Emit, Outcome
from entresol_eventing.service import Service
from entresol_eventing.store import cursor, inbox, outbox
from entresol_eventing.testing import eventually, published, running
from entresol_eventing.testing.postgres import PostgresServer
from entresol_eventing.writer import Unavailable
from sqlalchemy import create_engine, func, insert, select, text
from sqlalchemy import event as hooks
from sqlalchemy.exc import OperationalError
from sqlmodel import Session

from libs.eventing.tests.counting import Counting, cancelled

HOLDERS = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"


def say(key: str) -> Any:
    def unit(_: Session) -> Generator[Outcome, None, None]:
        yield Emit(cancelled(key), subject=key)

    return unit


def ask(url: str, query: str) -> list[Any]:
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        found = list(connection.execute(text(query)).scalars())
    engine.dispose()
    return found


async def insisting(service: Service, key: str) -> None:
    async def said() -> bool:
        try:
            await service.transact(say(key))
        except Unavailable:
            return False
        return True

    await eventually(said, seconds=20)


async def is_published(service: Service, number: int) -> bool:
    return len(await published(service)) == number and service._relay.position == number


async def test_the_lock_is_on_the_connection_that_writes(
    tmp_path: Path, nats: NatsServer, postgres: PostgresServer
) -> None:
    url = postgres.database("lock")
    async with running(Counting().service(tmp_path, nats.url, database_url=url)) as service:
        (holder,) = ask(url, HOLDERS)
        writing: list[int] = []

        def unit(session: Session) -> Generator[Outcome, None, None]:
            writing.append(session.execute(text("SELECT pg_backend_pid()")).scalar_one())
            yield from ()

        await service.transact(unit)
        assert writing == [holder]


async def test_an_instance_whose_connection_was_cut_goes_on_with_a_new_lock(
    tmp_path: Path, nats: NatsServer, postgres: PostgresServer
) -> None:
    url = postgres.database("cut")
    async with running(Counting().service(tmp_path, nats.url, database_url=url)) as service:
        await service.transact(say("a"))
        (before,) = ask(url, HOLDERS)
        ask(url, f"SELECT pg_terminate_backend({before})")
        await insisting(service, "b")
        (after,) = ask(url, HOLDERS)
        assert after != before
        await eventually(lambda: is_published(service, 2))


async def test_an_instance_that_was_overtaken_writes_nothing_more(
    tmp_path: Path, nats: NatsServer, postgres: PostgresServer
) -> None:
    url = postgres.database("overtaken")
    first = Counting().service(tmp_path / "a", nats.url, database_url=url)
    await first.start()
    try:
        await first.transact(say("a"))
        second = Counting().service(tmp_path / "b", nats.url, database_url=url)
        (holder,) = ask(url, HOLDERS)
        ask(url, f"SELECT pg_terminate_backend({holder})")  # the first notices with its next transaction or beat
        await second.start()
        try:
            with pytest.raises(Unavailable):
                await first.transact(say("too late"))
            await eventually(first.fenced.is_set, seconds=20)
            assert not first.health()["ready"]
            with pytest.raises(Unavailable, match="taken over"):
                await first.transact(say("far too late"))
            await insisting(second, "b")
            assert [one.subject for one in await published(second)] == ["a", "b"]
        finally:
            await second.stop()
    finally:
        await first.stop()


async def test_events_of_a_commit_whose_answer_was_lost_are_published_in_their_place(
    tmp_path: Path, nats: NatsServer, database_url: str
) -> None:
    async with running(Counting().service(tmp_path, nats.url, database_url=database_url)) as service:
        await service.transact(say("a"))
        losing = [True]

        @hooks.listens_for(service.database.writer, "commit")
        def lose(connection: Any) -> None:
            said = connection.exec_driver_sql("SELECT count(*) FROM eventing_outbox").scalar()
            if losing and said == 2:  # the runtime has commits of its own
                losing.clear()
                driver = connection.connection.dbapi_connection
                driver.execute("COMMIT") if service.database.dialect == "sqlite" else driver.commit()
                lost = OperationalError("COMMIT", {}, Exception("the answer was lost"), connection_invalidated=True)
                raise lost

        with pytest.raises(Unavailable):
            await service.transact(say("b"))
        await insisting(service, "c")
        assert [one.subject for one in await published(service)] == ["a", "b", "c"]
        await eventually(lambda: is_published(service, 3))
        info = await service._bus.publisher.connection.jetstream().stream_info("EVENTS")
        assert info.state.messages == 3


async def test_a_clock_that_jumps_makes_nothing_old(
    tmp_path: Path, nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(Counting().service(tmp_path, nats.url)) as service:
        await service.transact(say("a"))
        known = {"id": "1", "source": "/x", "seen_at": datetime.now(UTC)}

        def remember(session: Session) -> Generator[Outcome, None, None]:
            session.execute(insert(inbox), [known])
            yield from ()

        await service.transact(remember)
        monkeypatch.setattr(upkeep, "now", lambda: datetime.now(UTC) + timedelta(days=40))
        await service.transact(partial(upkeep.prune, 30, 1, 3600.0))
        count = select(func.count()).select_from(inbox)
        assert await service.read(lambda session: session.execute(count).scalar()) == 1
        await service.transact(partial(upkeep.prune, 30, 1, 32 * 86_400.0))
        assert await service.read(lambda session: session.execute(count).scalar()) == 0, "but time does"
        assert len(await published(service)) == 1, "the newest row stays: positions are counted from it"


async def test_no_position_is_given_twice_even_when_the_outbox_is_empty(tmp_path: Path, nats: NatsServer) -> None:
    async with running(Counting().service(tmp_path, nats.url)) as service:
        await service.transact(say("a"))
        await eventually(lambda: is_published(service, 1))

        def empty(session: Session) -> Generator[Outcome, None, None]:
            session.execute(text("DELETE FROM eventing_outbox"))
            yield from ()

        await service.transact(empty)
    async with running(Counting().service(tmp_path, nats.url)) as service:
        await service.transact(say("b"))
        query = select(outbox.c.position)
        assert await service.read(lambda session: session.execute(query).scalar()) == 2
        relayed = select(cursor.c.position).where(cursor.c.name == "relay")
        assert await service.read(lambda session: session.execute(relayed).scalar()) == 1
        await eventually(lambda: service._relay.position == 2)
