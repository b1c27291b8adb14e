"""What was kept before a migration is understood after it, on both kinds of database."""

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from entresol_eventing import migrate
from entresol_eventing.reactions import Emit
from entresol_eventing.store import Database
from entresol_eventing.testing.postgres import PostgresServer, binaries
from entresol_provisioning import claims, holdings, store
from entresol_provisioning.announcing import announce
from entresol_provisioning.app import MIGRATIONS
from entresol_provisioning.drivers.noop import Noop
from entresol_provisioning.holdings import Holder, file
from entresol_provisioning.offerings import Offerings
from entresol_provisioning.turns import Slots
from sqlalchemy import JSON, MetaData, Table, insert
from sqlmodel import Session

AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
ID = "shop/dev/database/orders"
NAMES = {"project": "shop", "environment": "dev", "offering": "database", "offering_version": "1.0.0", "name": "orders"}


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        found = Database(f"sqlite:///{tmp_path / 'store.db'}")
        yield found
        found.close()
        return
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    with PostgresServer() as server:
        found = Database(server.database("store"))
        yield found
        found.close()


def test_a_delete_that_was_going_on_goes_on_as_one(database: Database, tmp_path: Path) -> None:
    folder = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, folder, ignore=before(3))
    migrate.upgrade(database, folder)
    metadata = MetaData()
    metadata.reflect(database.writer, only=["request", "step", "footprint", "resource"])
    with database.writer.begin() as connection:
        for table, row in BEFORE.items():
            connection.execute(insert(typed(metadata.tables[table])), row)
    migrate.upgrade(database, MIGRATIONS)
    with Session(database.writer) as session:
        (intent,) = claims.ready(session, Offerings(), Slots(10))
        assert (intent.act, intent.destroys, intent.previous) == ("destroy", True, BEFORE["footprint"]["outputs"])
        assert dict(intent.step.with_) == {"repository": "infra"}
        resource = store.find_resource(session.connection(), ID)
        assert resource is not None
        assert (resource.paused, resource.drift, resource.requirement) == (None, None, None)
        asked = [file("infra.git", "main", name) for name in ("a", "b", "c")]
        held = holdings.others(session.connection(), Holder("another", "files"), asked)
        assert held == {asked[0]: ID, asked[1]: ID}


def test_a_store_from_before_says_every_driver_once(database: Database, tmp_path: Path) -> None:
    folder = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, folder, ignore=before(4))
    migrate.upgrade(database, folder)
    migrate.upgrade(database, MIGRATIONS)
    with Session(database.writer) as session:
        assert facts(announce({"noop": Noop()}, session)) == ["DriverAnnounced"]
        assert facts(announce({"noop": Noop()}, session)) == []
        assert facts(announce({}, session)) == ["DriverWithdrawn"]
        assert facts(announce({}, session)) == []


def before(number: int) -> Callable[[Any, list[str]], set[str]]:
    """Leaves out that migration and all later ones."""
    return lambda _, names: {one for one in names if one[:4].isdigit() and int(one[:4]) >= number}


def facts(said: Iterator[Emit]) -> list[str]:
    return [type(each.data).__name__ for each in said]


def typed(table: Table) -> Table:
    """SQLite reads columns of JSON back as what they are there."""
    for column in table.columns:
        if column.name in ("inputs", "actor", "cause", "effective", "applied", "needs", "with_", "outputs"):
            column.type = JSON()
    return table


BEFORE: dict[str, dict[str, Any]] = {
    "request": {
        **NAMES,
        "id": "r1",
        "resource_id": ID,
        "action": "delete",
        "inputs": {},
        "actor": {"id": "user:ada", "groups": []},
        "dry_run": False,
        "submitted_at": AT,
        "state": "running",
        "cause": {},
        "run_id": "run-1",
        "destroys": True,
        "steps": 1,
        "effective": {},
        "phase": "apply",
        "outdated": 0,
        "applied": [],
    },
    "step": {
        "run_id": "run-1",
        "name": "files",
        "position": 0,
        "driver": "gitops",
        "needs": [],
        "state": "ready",
        "attempt": 1,
    },
    "footprint": {
        "resource_id": ID,
        "step": "files",
        "run_id": "run-0",
        "position": 0,
        "driver": "gitops",
        "needs": [],
        "with_": {"repository": "infra"},
        "outputs": {"commit": "c1", "repository": "infra", "branch": "main", "files": ["a", "b"]},
    },
    "resource": {
        **NAMES,
        "id": ID,
        "offering_digest": "d",
        "owner": "user:ada",
        "state": "provisioned",
        "inputs": {},
        "outputs": {},
        "created_at": AT,
        "revision": 1,
        "request_id": "r0",
    },
}
