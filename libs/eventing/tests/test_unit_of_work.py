"""State and events are committed together, many units at once, and a failing unit fails alone."""

import asyncio
from collections.abc import Generator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from entresol_eventing.envelope import Cause, now
from entresol_eventing.nats_server import NatsServer
from entresol_eventing.reactions import Cancel, Deadline, Due, Emit, Outcome, Reactions, Unit
from entresol_eventing.service import Service
from entresol_eventing.settings import RuntimeSettings
from entresol_eventing.testing import eventually, published, running
from entresol_eventing.testing.postgres import PostgresServer
from sqlalchemy import MetaData, text
from sqlmodel import Session

from libs.eventing.tests.counting import (
    MIGRATIONS,
    Counting,
    cancelled,
    counted,
)


def write(key: str, *, fail: bool = False) -> Unit[str]:
    def unit(session: Session) -> Generator[Outcome, None, str]:
        session.execute(text("INSERT INTO counted (event_id, key) VALUES ('x', :key)"), {"key": key})
        yield Emit(cancelled(key), subject=key)
        if fail:
            raise KeyError(key)
        return key

    return unit


async def test_a_unit_returns_its_result_after_the_commit(tmp_path: Path, nats: NatsServer, database_url: str) -> None:
    async with running(Counting().service(tmp_path, nats.url, database_url=database_url)) as service:
        assert await service.transact(write("a"), actor="user:grace") == "a"
        assert await counted(service) == ["a"]
        (event,) = await published(service)
        assert event.actor == "user:grace"
        assert event.correlationid == event.id
        assert event.causationid is None


async def test_one_failing_unit_of_many_leaves_no_trace_and_no_other_notices(
    tmp_path: Path, nats: NatsServer, database_url: str
) -> None:
    async with running(Counting().service(tmp_path, nats.url, database_url=database_url)) as service:
        units = [service.transact(write(f"{number}", fail=number % 7 == 3)) for number in range(100)]
        results = await asyncio.gather(*units, return_exceptions=True)
        good = [f"{number}" for number in range(100) if number % 7 != 3]
        assert [one for one in results if isinstance(one, str)] == good
        assert sum(isinstance(one, KeyError) for one in results) == 100 - len(good)
        assert await counted(service) == good
        assert [one.subject for one in await published(service)] == good


async def test_the_chain_goes_on_from_the_cause_that_a_worker_kept(tmp_path: Path, nats: NatsServer) -> None:
    async with running(Counting().service(tmp_path, nats.url)) as service:
        cause = Cause(id="e1", correlationid="c1", hopcount=4, actor="user:ada")
        await service.transact(write("a"), cause=cause)
        (event,) = await published(service)
        assert (event.causationid, event.correlationid, event.hopcount, event.actor) == ("e1", "c1", 5, "user:ada")


def with_deadlines(data: Path, nats_url: str, url: str, fail_first: list[int]) -> Service:
    def answer(due: Due, session: Session) -> Iterator[Outcome]:
        if fail_first:
            fail_first.pop()
            raise RuntimeError("not yet")
        session.execute(text("INSERT INTO counted (event_id, key) VALUES ('x', :key)"), {"key": due.key})
        yield Emit(cancelled(due.args["name"]), subject=due.key)

    return Service(
        name="policy",
        settings=RuntimeSettings(data=data, nats_url=nats_url, database_url=url),
        reactions=Reactions(when_due={"look": answer}),
        metadata=MetaData(),
        migrations=MIGRATIONS,
        subjects=(),
    )


def remember(*outcomes: Outcome) -> Any:
    def unit(_: Session) -> Generator[Outcome, None, None]:
        yield from outcomes

    return unit


async def test_a_deadline_is_answered_when_it_is_due_unless_it_was_cancelled(
    tmp_path: Path, nats: NatsServer, database_url: str
) -> None:
    async with running(with_deadlines(tmp_path, nats.url, database_url, [])) as service:
        soon = now() + timedelta(milliseconds=150)
        kept = Deadline("kept", "look", soon, {"name": "k"}, Cause(id="e1", correlationid="c1", hopcount=0))
        await service.transact(remember(kept, Deadline("given-up", "look", soon, {"name": "g"})))
        await service.transact(remember(Cancel("given-up"), Cancel("never-was")))
        await eventually(lambda: counted(service))
        await asyncio.sleep(0.2)
        assert await counted(service) == ["kept"]
        (event,) = await published(service)
        assert (event.subject, event.causationid, event.correlationid) == ("kept", "e1", "c1")


async def test_a_deadline_survives_a_restart_and_a_failing_handler(tmp_path: Path, nats: NatsServer) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    async with running(with_deadlines(tmp_path, nats.url, url, [])) as service:
        await service.transact(remember(Deadline("later", "look", now() + timedelta(seconds=0.5), {"name": "l"})))
    failures = [1]
    async with running(with_deadlines(tmp_path, nats.url, url, failures)) as service:
        await eventually(lambda: counted(service))
        assert not failures


async def test_an_event_that_is_too_large_fails_its_unit_only(tmp_path: Path, nats: NatsServer) -> None:
    def huge(_: Session) -> Generator[Outcome, None, None]:
        yield Emit(cancelled("x" * 300_000), subject="x")

    async with running(Counting().service(tmp_path, nats.url)) as service:
        with pytest.raises(ValueError, match="256 KiB"):
            await service.transact(huge)
        assert await published(service) == []


async def test_what_is_due_while_the_database_is_away_happens_when_it_is_back(
    tmp_path: Path, nats: NatsServer, postgres: PostgresServer
) -> None:
    url = postgres.database("restarted")
    async with running(with_deadlines(tmp_path, nats.url, url, [])) as service:
        await service.transact(remember(Deadline("later", "look", now() + timedelta(seconds=0.5), {"name": "l"})))
        await asyncio.to_thread(postgres.stop, "immediate")
        await asyncio.sleep(1.0)  # the deadline comes while nobody can read it
        await asyncio.to_thread(postgres.start)
        await eventually(lambda: counted(service), seconds=20)
        await eventually(lambda: service.health()["outbox_pending"] == 0, seconds=20)
