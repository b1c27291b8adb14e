"""What was kept before a migration is understood after it, on both kinds of database."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from entresol_eventing import migrate
from entresol_eventing.store import Database
from entresol_eventing.testing.postgres import PostgresServer, binaries
from entresol_intake.app import MIGRATIONS
from entresol_intake.shelf import Shelf
from entresol_intake.store import Stage, put_stage, stages_of
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

AT = datetime(2026, 11, 21, 10, tzinfo=UTC)
BEFORE = """INSERT INTO manifest (kind, name, version, digest, document, removed, changed_at)
            VALUES (:kind, :name, :version, 'sha256:a', '{"metadata": {"name": "a", "version": "1"}, "spec": {}}',
                    :removed, :at)"""


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        found = Database(f"sqlite:///{tmp_path / 'intake.db'}")
        yield found
        found.close()
        return
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    with PostgresServer() as server:
        found = Database(server.database("store"))
        yield found
        found.close()


@pytest.fixture
def migrated(database: Database, tmp_path: Path) -> Database:
    """A database that held offerings before there were stages."""
    folder = tmp_path / "before"
    shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("000[4-9]*", "__pycache__"))
    migrate.upgrade(database, folder)
    at = AT if database.writer.dialect.name != "sqlite" else AT.strftime("%Y-%m-%d %H:%M:%S.%f")
    with database.writer.begin() as connection:
        for kind, name, version, removed in (
            ("Offering", "database", "1.9.0", False),
            ("Offering", "database", "1.10.0", False),
            ("Offering", "database", "2.0.0", True),
            ("Offering", "gone", "1.0.0", True),
            ("Channel", "log", "", False),
        ):
            row = {"kind": kind, "name": name, "version": version, "removed": removed, "at": at}
            connection.execute(text(BEFORE), row)
    migrate.upgrade(database, MIGRATIONS)
    return database


def test_the_version_that_was_meant_before_is_the_default(migrated: Database) -> None:
    with Session(migrated.writer) as session:
        assert stages_of("database", session) == {"1.10.0": "default"}
        assert stages_of("gone", session) == stages_of("log", session) == {}
        assert Shelf().offering("nothing", session) == {}


def test_the_database_itself_lets_no_second_default_in(migrated: Database) -> None:
    with Session(migrated.writer) as session:
        put_stage("database", "1.9.0", "deprecated", known=False, session=session)
        put_stage("other", "1.0.0", "default", known=False, session=session)
        with pytest.raises(IntegrityError):
            put_stage("database", "1.9.0", "default", known=True, session=session)
        session.rollback()
        kept = session.get(Stage, ("database", "1.10.0"))
        assert kept is not None
        assert kept.stage == "default"
