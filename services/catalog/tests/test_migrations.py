"""What was projected before a migration is, after it, what would be projected anew; on both kinds of database."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from entresol_catalog.app import MIGRATIONS
from entresol_catalog.handlers.projection import projection
from entresol_catalog.settings import Settings
from entresol_catalog.store import tables
from entresol_contracts import events as facts
from entresol_eventing import migrate
from entresol_eventing.envelope import Event
from entresol_eventing.store import Database
from entresol_eventing.testing.postgres import PostgresServer, binaries
from sqlalchemy import Table, insert, select
from sqlmodel import Session

NEW_COLUMNS = {"version", "drifted", "unobserved", "paused"}
NEW = {
    "resource": {
        "snapshot",
        "implementation",
        "class",
        "requires",
        "adopted",
        "drift",
        "unobserved",
        "paused",
        "orphaned",
        "sequence",
    },
    "request": {"suspended", "requires", "compensated", "left", "class", "orphan", "snapshot", "requirement"},
}
NEW_IN_STEPS = {"retried", "waited_at", "compensation"}


@pytest.fixture(params=["sqlite", "postgresql"])
def databases(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Database, Database]]:
    """One that is migrated, and one that is new."""
    if request.param == "sqlite":
        found = Database(f"sqlite:///{tmp_path / 'old.db'}"), Database(f"sqlite:///{tmp_path / 'new.db'}")
        yield found
        for one in found:
            one.close()
        return
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    with PostgresServer() as server:
        found = Database(server.database("old")), Database(server.database("new"))
        yield found
        for one in found:
            one.close()


def before(tmp_path: Path, number: int) -> Path:
    """The migrations without that one and all later ones."""
    folder = tmp_path / "migrations"
    later = [f"{one:04}*" for one in range(number, 100)]
    shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns(*later, "__pycache__"))
    return folder


def chains(traffic: type[Any]) -> list[Event[Any]]:
    """What was told before there was more to tell."""
    one, two, three, gone = traffic(), traffic(action="update"), traffic(name="three"), traffic(name="gone")
    return [
        *(one.submitted(), one.allowed(), one.started("database", "dns"), one.progressed("database", "retrying", 1)),
        *(one.progressed(attempt=2), one.succeeded(), one.say(one.provisioned().data, sequence=1)),
        *(two.submitted(), two.allowed(), two.started(), two.progressed("database", "retrying", 3)),
        *(two.succeeded(), two.say(two.changed(inputs={"größe": "L"}, action="update").data, sequence=4)),
        *(three.submitted(), three.started(), three.cancelled(), three.stopped(steps_done=["database"])),
        *(three.provisioned(), traffic(name="three").changed(), traffic().submitted()),
        *(gone.provisioned(), gone.say(gone.deleted().data, sequence=9)),
    ]


def rows(database: Database, table: Table) -> list[dict[str, Any]]:
    found = database.read(lambda session: [dict(row._mapping) for row in session.execute(select(table))])
    shown = [{name: json.loads(value) if name == "document" else value for name, value in row.items()} for row in found]
    return sorted(shown, key=lambda row: json.dumps(row, default=str))


def aged(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    """The row as it was before."""
    kept = {name: value for name, value in row.items() if table is not tables.resource or name not in NEW_COLUMNS}
    document = {name: value for name, value in row["document"].items() if name not in NEW.get(table.name, ())}
    for step in document.get("steps", ()):
        for name in NEW_IN_STEPS:
            del step[name]
    return {**kept, "document": json.dumps(document)}


def test_what_was_projected_before_is_what_is_projected_now(
    databases: tuple[Database, Database], tmp_path: Path, traffic: type[Any]
) -> None:
    old, new = databases
    migrate.upgrade(old, before(tmp_path, 5))
    migrate.upgrade(new, MIGRATIONS)
    with new.writer.connect() as connection, connection.begin(), Session(connection) as session:
        list(projection(Settings().patience_seconds)(chains(traffic), session))
    compared = (tables.request, tables.resource, tables.revision, tables.need, tables.offering)
    projected = {table.name: rows(new, table) for table in compared}
    assert [len(projected[table.name]) for table in compared] == [4, 3, 5, 0, 0]
    with old.writer.begin() as connection:
        for table in (tables.request, tables.resource):
            known = [aged(table, row) for row in rows(new, table)]
            assert NEW[table.name].isdisjoint(json.loads(known[0]["document"]))
            connection.execute(insert(table), known)
        history = new.read(lambda session: [dict(row._mapping) for row in session.execute(select(tables.history))])
        connection.execute(insert(tables.history), history)
    migrate.upgrade(old, MIGRATIONS)
    for table in compared:
        assert rows(old, table) == projected[table.name], table.name


def test_more_than_fits_one_bite_is_migrated(
    databases: tuple[Database, Database], tmp_path: Path, traffic: type[Any]
) -> None:
    old, new = databases
    migrate.upgrade(old, before(tmp_path, 5))
    migrate.upgrade(new, MIGRATIONS)
    with new.writer.connect() as connection, connection.begin(), Session(connection) as session:
        list(projection(Settings().patience_seconds)([traffic(name="n").submitted()], session))
    (row,) = (aged(tables.request, one) for one in rows(new, tables.request))
    many = [{**row, "id": f"r{number}", "position": number} for number in range(2500)]
    with old.writer.begin() as connection:
        connection.execute(insert(tables.request), many)
    migrate.upgrade(old, MIGRATIONS)
    found = rows(old, tables.request)
    assert len(found) == 2500
    assert all(one["document"]["suspended"] == [] for one in found)


def sayings(traffic: type[Any]) -> list[Event[Any]]:
    """A request that needs one more grant, one whose grant was taken back, and one that is held all the same."""
    half, back, held = traffic(name="half"), traffic(name="back"), traffic(name="held")
    asked = ["group:sre", "user:cy"]

    def ruled(one: Any, said: Event[Any], data: Any) -> list[Event[Any]]:
        return [said, one.say(data, causationid=said.id)]

    def counted(event: Event[Any], **more: Any) -> list[Event[Any]]:
        about = {**back.about, "approval_id": "approval-2", "policy": "production", "missing": 1}
        return ruled(back, event, facts.AnswerCounted(**about, by=event.data.by, at=event.time, **more))

    late = half.approval(facts.ApprovalAnswered, groups=[], answer="granted", by="user:eve")
    taken = back.approval(facts.AnswerWithdrawn, "approval-2", groups=["sre"], by="user:bob")
    handed = back.approval(facts.ApprovalDelegated, "approval-2", groups=[], by="user:cy", to="user:dee")
    tried = held.say(facts.HoldOverridden(**held.about, groups=["sre"], by="user:bob", reason="now"))
    refused = facts.OverrideRefused(request_id=held.id, project="shop", by="user:bob", reason="locks stay")
    return [
        *(half.submitted(), half.asked(approvers=["user:bob", "user:cy"], all=True)),
        *half.heard(missing=1, missing_from=["user:cy"]),
        *ruled(half, late, half.approval(facts.AnswerRefused, by="user:eve", reason="not asked").data),
        *(back.submitted(), back.asked("approval-2", approvers=asked), *back.heard("approval-2", missing=1)),
        *counted(taken, said="withdrawn", missing_from=asked),
        *counted(handed, said="delegated", to="user:dee", missing_from=[*asked, "user:dee"]),
        *(held.submitted(), held.held(None), *ruled(held, tried, refused)),
    ]


def unruled(document: dict[str, Any]) -> dict[str, Any]:
    """What people said as it was shown before policy ruled on each of it."""
    for one in document.get("approvals", [document] if "answers" in document else []):
        for name in ("unruled", "missing", "missing_from"):
            del one[name]
        for said in (*one["answers"], *(each["answer"] for each in one["withdrawn"])):
            said["event"] = None
            del said["in_place_of"], said["stands_for"]
        for said in one["refused"]:
            del said["event"]
    for said in document.get("overrides", ()):
        del said["event"], said["counts"]
    return document


def test_what_people_had_said_is_told_as_if_policy_had_ruled_on_it(
    databases: tuple[Database, Database], tmp_path: Path, traffic: type[Any]
) -> None:
    old, new = databases
    migrate.upgrade(old, before(tmp_path, 7))
    migrate.upgrade(new, MIGRATIONS)
    with new.writer.connect() as connection, connection.begin(), Session(connection) as session:
        list(projection(Settings().patience_seconds)(sayings(traffic), session))
    history = new.read(lambda session: [dict(row._mapping) for row in session.execute(select(tables.history))])
    with old.writer.begin() as connection:
        for table in (tables.request, tables.approval):
            known = [{**row, "document": json.dumps(unruled(row["document"]))} for row in rows(new, table)]
            assert len(known) == (3 if table is tables.request else 2)
            connection.execute(insert(table), known)
        connection.execute(insert(tables.history), history)
    migrate.upgrade(old, MIGRATIONS)
    for table in (tables.request, tables.approval):
        assert rows(old, table) == rows(new, table), table.name
