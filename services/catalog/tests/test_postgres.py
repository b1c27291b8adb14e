"""The same projection on PostgreSQL: migrated, written in bulk, read by page."""

from collections.abc import Iterator
from typing import Any

import pytest
from entresol_catalog.app import MIGRATIONS
from entresol_catalog.handlers.judging import Judge
from entresol_catalog.handlers.projection import projection
from entresol_catalog.settings import Settings
from entresol_catalog.store import tables
from entresol_catalog.store.reading import entries, existing, page
from entresol_catalog.store.standings import elsewhere, entities_behind, standings_of, standings_up_to
from entresol_contracts import events as facts
from entresol_eventing import migrate
from entresol_eventing.envelope import Cause, Event
from entresol_eventing.reactions import Deadline, Due, Emit, Outcome
from entresol_eventing.store import Database
from entresol_eventing.testing import event
from entresol_eventing.testing.postgres import PostgresServer, binaries
from sqlmodel import Session

from services.catalog.tests.graded import scorecard, service

pytestmark = pytest.mark.skipif(binaries() is None, reason="PostgreSQL is not installed")


@pytest.fixture
def database() -> Iterator[Database]:
    with PostgresServer() as server:
        database = Database(server.database("catalog"))
        migrate.upgrade(database, MIGRATIONS)
        yield database
        database.close()


def test_what_was_projected_is_found_again(database: Database, traffic: type[Any]) -> None:
    project = projection(Settings().patience_seconds)
    one = traffic()
    entity = {"blueprint": "Resource", "identifier": "orders", "properties": {}, "relations": {"system": "Cart"}}
    declared = facts.EntityDeclared(blueprint="System", identifier="Cart", properties={}, relations={})
    batches = [[*one.whole(entity)[:3], event(declared)], [one.succeeded(), one.provisioned(entity)], [one.deleted()]]
    said = []
    for batch in batches:
        with database.writer.connect() as connection, connection.begin(), Session(connection) as session:
            said += list(project(batch, session))
    names = ["EntityChanged", "RequestCompleted", "EntityChanged", "EntityRemoved"]
    assert [type(item.data).__name__ for item in said if isinstance(item, Emit)] == names
    assert len(said) == len(names)
    found, following = database.read(page(tables.request, [], cursor=None, limit=1))
    assert (len(found), following) == (1, None)
    events, reached = database.read(entries((), 2, 3))
    assert ([item.position for item in events], reached) == ([3, 4, 5], 5)
    keys = [("System", "Cart"), ("Resource", "orders")]
    assert database.read(lambda session: existing(keys, session)) == {("System", "Cart")}


def test_standings_are_found_by_scorecard_and_by_entity(database: Database) -> None:
    judge = Judge()
    handle = projection(Settings().patience_seconds, judge)
    under_way: list[Event[Any]] = [service("cart"), service("shop", "team"), scorecard()]
    deadlines: list[Deadline] = []
    while under_way or deadlines:
        with database.writer.connect() as connection, connection.begin(), Session(connection) as session:
            said: list[Outcome] = list(handle(under_way, session)) if under_way else []
            for one in deadlines:
                said += judge.walk(Due(one.key, one.kind, one.due_at, one.args, Cause()), session)
        under_way = [event(one.data, source="/entresol/catalog") for one in said if isinstance(one, Emit)]
        deadlines = [one for one in said if isinstance(one, Deadline)]
    of_cart, of_shop = ("Service", "cart"), ("Service", "shop")
    found = database.read(lambda session: standings_of([of_cart, of_shop], session))
    assert {key: [one.level for one in standings] for key, standings in found.items()} == {
        of_cart: [None],
        of_shop: ["bronze"],
    }
    behind = database.read(lambda session: entities_behind("Service", "cart", 5, session))
    assert [one.identifier for one in behind] == ["shop"]
    assert database.read(lambda session: elsewhere("maturity", "Service", 0, 5, session)) == []
    assert len(database.read(lambda session: elsewhere("maturity", None, 0, 5, session))) == 2
    assert list(database.read(lambda session: standings_up_to("maturity", "Service", "cart", "shop", session))) == [
        "shop"
    ]
