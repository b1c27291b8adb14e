"""The same projection on PostgreSQL: migrated, written in bulk, read by page."""

from collections.abc import Iterator
from typing import Any

import pytest
from entresol_catalog.app import MIGRATIONS
from entresol_catalog.handlers.projection import projection
from entresol_catalog.settings import Settings
from entresol_catalog.store import tables
from entresol_catalog.store.reading import entries, existing, page
from entresol_contracts import events as facts
from entresol_eventing import migrate
from entresol_eventing.store import Database
from entresol_eventing.testing import event
from entresol_eventing.testing.postgres import PostgresServer, binaries
from sqlmodel import Session

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
    assert [type(item.data).__name__ for item in said] == names
    found, following = database.read(page(tables.request, [], cursor=None, limit=1))
    assert (len(found), following) == (1, None)
    events, reached = database.read(entries((), 2, 3))
    assert ([item.position for item in events], reached) == ([3, 4, 5], 5)
    keys = [("System", "Cart"), ("Resource", "orders")]
    assert database.read(lambda session: existing(keys, session)) == {("System", "Cart")}
