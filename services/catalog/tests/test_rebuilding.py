"""The catalog rebuilt from the log: equal to the live one, or different where that was changed; replaced whole."""

import json
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from entresol_catalog.app import create, rebuildable
from entresol_catalog.settings import Settings
from entresol_contracts import events as facts
from entresol_eventing.envelope import Event, encode, log_subject, types_by_model
from entresol_eventing.log import connect
from entresol_eventing.nats_server import NatsServer
from entresol_eventing.rebuild_command import rebuild
from entresol_eventing.rebuilding import Rebuilt, Refused
from entresol_eventing.service import Service
from entresol_eventing.store import Database
from entresol_eventing.testing import event, eventually, running
from entresol_eventing.testing.postgres import PostgresServer, binaries
from sqlalchemy import text
from sqlmodel import Session

from services.catalog.tests.conftest import whole_lives
from services.catalog.tests.graded import scorecard, service

ENTITY = {
    "blueprint": "Resource",
    "identifier": "orders",
    "properties": {"tier": "gold"},
    "relations": {"system": "Cart"},
}


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    with PostgresServer() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path, bus: NatsServer) -> Settings:
    url = ""
    if request.param == "postgresql":
        make: Callable[[str], str] = request.getfixturevalue("postgres").database
        url = make(f"catalog_{secrets.token_hex(4)}")
    data = tmp_path / "data"
    data.mkdir()
    return Settings(data=data, database_url=url, nats_url=bus.url, watch_seconds=3600)


async def put(settings: Settings, *events: Event[Any]) -> None:
    """Publish events as their services would."""
    connection = await connect(settings, "admin", "test")
    try:
        for one in events:
            known = types_by_model()[type(one.data)]
            await connection.jetstream().publish(log_subject(known.publisher, known, one.subject), encode(one))
    finally:
        await connection.close()


@asynccontextmanager
async def fed(settings: Settings, events: Sequence[Event[Any]]) -> AsyncIterator[Service]:
    """A catalog that has handled the events, and what it has said to them itself."""
    async with running(create(settings)) as service:
        await put(settings, *events)
        await eventually(lambda: caught_up(service, len(events)))
        yield service


async def caught_up(service: Service, at_least: int) -> bool:
    query = text("SELECT count(*), (SELECT count(*) FROM eventing_outbox) FROM history")
    count, said = await service.read(lambda session: tuple(session.execute(query).one()))
    return bool(count >= at_least + said)


async def compared(settings: Settings, limit: int = 20) -> Rebuilt:
    return await rebuild(rebuildable(settings), settings, user="catalog", compare=True, limit=limit)


async def replaced(settings: Settings) -> Rebuilt:
    return await rebuild(rebuildable(settings), settings, user="catalog", compare=False)


def change(settings: Settings, *statements: str) -> None:
    """Do to the live database what nobody should."""
    database = Database(settings.database_for("catalog"))
    with database.writer.connect() as connection, connection.begin():
        for statement in statements:
            connection.execute(text(statement))
    database.close()


def many(traffic: type[Any], count: int) -> list[Event[Any]]:
    chains = [traffic(name=f"orders-{number}").whole(ENTITY | {"identifier": f"o{number}"}) for number in range(count)]
    return [one for chain in zip(*chains, strict=True) for one in chain]


async def test_the_rebuilt_catalog_equals_the_live_one_while_it_runs(settings: Settings, traffic: type[Any]) -> None:
    async with fed(settings, many(traffic, 60)):
        result = await compared(settings)
    assert result.comparison is not None
    assert result.comparison.differences == []
    assert result.comparison.rows["request"] == 60
    assert result.events == result.comparison.rows["history"]


async def test_scorecards_locks_and_reviews_are_rebuilt_too(settings: Settings, traffic: type[Any]) -> None:
    one = traffic()
    lock = facts.LockPlaced(lock_id="l", scope=facts.Scope(project="shop"), reason="r", by="user:ada", exempt=[])
    log = [
        *(service(f"s{number}", "team" if number % 2 else None) for number in range(30)),
        *(scorecard(), service("s1"), event(lock)),
        *(one.submitted(), one.plan_wanted(), one.planned(), one.held(None), one.allowed(), one.broken()),
        *(one.asked("review-1", review=True), one.succeeded()),
        *(one.ended(facts.ApprovalGranted, "granted", "review-1", review=True), scorecard(bronze="true", digest="b")),
    ]
    graded = text("SELECT count(*) FROM standing WHERE level = 'bronze'")
    async with fed(settings, log) as live:
        await eventually(lambda: live.read(lambda session: session.execute(graded).scalar() == 30))
        result = await compared(settings)
        assert result.comparison is not None
        assert result.comparison.differences == []
        assert [result.comparison.rows[table] for table in ("standing", "lock", "approval")] == [30, 1, 1]
        said = await outbox_size(live)
        await replaced(settings)
        await put(settings, service("s2", "another"))
        await eventually(lambda: caught_up(live, len(log) + 1))
        assert await outbox_size(live) == said + 1, "the entity has changed, its standing has not"
        assert (await compared(settings)).comparison.count == 0  # type: ignore[union-attr]


async def test_everything_that_happens_to_resources_and_offerings_is_rebuilt_too(settings: Settings) -> None:
    log = whole_lives()
    async with fed(settings, log):
        result = await compared(settings)
    assert result.comparison is not None
    assert result.comparison.differences == []
    rows = result.comparison.rows
    assert [rows[table] for table in ("resource", "revision", "need", "offering")] == [3, 4, 1, 1]


async def test_every_kind_of_difference_is_named_by_table_key_and_field(settings: Settings, traffic: type[Any]) -> None:
    chain = traffic().whole(ENTITY)
    async with fed(settings, chain):
        request = chain[0].data.request_id
        change(
            settings,
            "UPDATE request SET project = 'elsewhere', document = replace(document, 'user:ada', 'user:eve')",
            "DELETE FROM resource",
            "INSERT INTO relation VALUES ('Resource', 'orders', 'system', 'Bill')",
            "UPDATE request SET check_at = NULL",
        )
        result = await compared(settings)
    assert result.comparison is not None
    found = {(one.table, one.key, one.field): (one.live, one.rebuilt) for one in result.comparison.differences}
    assert found["request", request, "project"] == ('"elsewhere"', '"shop"')
    assert found["request", request, "document/actor"] == ('"user:eve"', '"user:ada"')
    assert found["resource", chain[0].data.resource_id, ""][0] == "(none)"
    assert found["relation", "Resource/orders/system/Bill", ""][1] == "(none)"
    assert result.comparison.count == len(found) == 4


async def test_all_differences_are_counted_however_many_are_listed(settings: Settings, traffic: type[Any]) -> None:
    async with fed(settings, many(traffic, 30)):
        change(settings, "UPDATE request SET state = 'lost'")
        result = await compared(settings, limit=5)
    assert result.comparison is not None
    assert (result.comparison.count, len(result.comparison.differences)) == (30, 5)


@pytest.mark.parametrize("stopped", [False, True])
async def test_a_replaced_catalog_is_as_the_log_says_and_goes_on(
    settings: Settings, traffic: type[Any], stopped: bool
) -> None:
    events = many(traffic, 30)
    async with fed(settings, events) as service:
        said = await outbox_size(service)
        if not stopped:
            change(settings, "UPDATE request SET state = 'lost'", "DELETE FROM entity", "DELETE FROM history")
            await replaced(settings)
            await put(settings, *traffic(name="later").whole())
            await eventually(lambda: caught_up(service, len(events) + 6))
            assert (await compared(settings)).comparison.count == 0  # type: ignore[union-attr]
            assert await outbox_size(service) == said + 1, "a rebuild says nothing again"
    if stopped:
        change(settings, "UPDATE request SET state = 'lost'", "DELETE FROM entity", "DELETE FROM history")
        await replaced(settings)
        async with running(create(settings)) as service:
            assert (await compared(settings)).comparison.count == 0  # type: ignore[union-attr]


async def test_a_catalog_that_lost_its_database_is_rebuilt_without_saying_anything_again(
    settings: Settings, tmp_path: Path, traffic: type[Any]
) -> None:
    events = many(traffic, 10)
    async with fed(settings, events):
        pass
    if settings.database_url:
        change(settings, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    else:
        for file in settings.data.glob("catalog.db*"):
            file.unlink()
    await replaced(settings)
    async with running(create(settings)) as service:
        assert (await compared(settings)).comparison.count == 0  # type: ignore[union-attr]
        await put(settings, *events[:3])  # copies
        await put(settings, *traffic(name="later").whole())
        await eventually(lambda: service.read(lambda session: known(session, "later")))
        assert await outbox_size(service) == 1
        assert (await compared(settings)).copies == 3


def known(session: Session, name: str) -> bool:
    query = text("SELECT count(*) FROM request WHERE document LIKE :name AND state = 'succeeded'")
    return bool(session.execute(query, {"name": f'%"name":"{name}"%'}).scalar())


async def outbox_size(service: Service) -> int:
    query = text("SELECT count(*) FROM eventing_outbox")
    return int(await service.read(lambda session: session.execute(query).scalar()) or 0)


async def test_a_log_without_its_beginning_is_refused(settings: Settings, traffic: type[Any], bus: NatsServer) -> None:
    async with fed(settings, traffic().whole()):
        connection = await connect(settings, "admin", "test")
        streams = connection.jetstream()
        await streams.purge_stream("EVENTS", seq=3)
        await connection.close()
        with pytest.raises(Refused, match="begins at position 3"):
            await compared(settings)


async def test_messages_that_wait_to_be_handled_keep_a_catalog_from_being_replaced(
    settings: Settings, traffic: type[Any]
) -> None:
    async with running(create(settings)) as service:
        connection = await connect(settings, "admin", "test")
        await connection.jetstream().publish("entresol.intake.request.submitted.x", b"no event")
        await connection.close()
        query = text("SELECT count(*) FROM eventing_parked")
        await eventually(lambda: service.read(lambda session: session.execute(query).scalar()))
        with pytest.raises(Refused, match="1 messages"):
            await replaced(settings)


async def test_the_program_of_the_service_does_the_same(settings: Settings, traffic: type[Any]) -> None:
    environment = {
        "ENTRESOL_CATALOG_DATA": str(settings.data),
        "ENTRESOL_CATALOG_DATABASE_URL": settings.database_url,
        "ENTRESOL_CATALOG_NATS_URL": settings.nats_url,
    }
    program = [str(Path(sys.executable).with_name("entresol-catalog")), "rebuild"]
    async with fed(settings, traffic().whole()):
        same = await eventually(lambda: ended(program, environment, "--compare"))
        assert same.returncode == 0, same.stderr
        assert same.stdout.startswith("the same: ")
        change(settings, "UPDATE request SET state = 'lost'")
        different = ended(program, environment, "--compare", "--output", "json")
        assert different.returncode == 1, different.stderr
        assert json.loads(different.stdout)["first_differences"][0]["rebuilt"] == '"succeeded"'
        assert ended(program, environment).returncode == 0
        assert ended(program, environment, "--compare").returncode == 0


def ended(program: list[str], environment: dict[str, str], *more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*program, *more], env=environment, capture_output=True, text=True, timeout=100, check=False)


async def test_an_event_that_can_t_be_folded_is_told_and_nothing_is_replaced(
    settings: Settings, traffic: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from entresol_catalog.handlers import projection

    issued = facts.TokenIssued(token_id="t", hash="h", actor="user:t", groups=[], role="viewer", projects=[])

    def broken(*_: object) -> None:
        raise ValueError("broken")

    async with fed(settings, [*traffic().whole(), event(issued)]):
        monkeypatch.setitem(projection._FOLDS, facts.TokenIssued, broken)  # type: ignore[misc]
        result = await compared(settings)
        assert result.failed == 1
        assert "token.issued" in result.failures[0]
        assert set(result.comparison.by_table) == {"history", "token"}  # type: ignore[union-attr]
        with pytest.raises(Refused, match="1 events can't be folded"):
            await replaced(settings)
