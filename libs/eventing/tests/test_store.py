"""What every service's store is built from."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from entresol_eventing import migrate, upkeep
from entresol_eventing.envelope import now
from entresol_eventing.store import Database, Unusable, inbox, metadata, one_of, outbox
from entresol_eventing.testing import memory_session, migrated
from sqlalchemy import Column, MetaData, String, Table, create_engine, insert, select, text

from libs.eventing.tests.counting import MIGRATIONS

THINGS = Table("thing", MetaData(), Column("kind", String, primary_key=True), Column("name", String, primary_key=True))
PAIRS = [("cat", "tom"), ("cat", "jerry"), ("mouse", "tom"), ("mouse", "jerry")]


@pytest.mark.parametrize("keys", [[], PAIRS[:1], [PAIRS[0], PAIRS[3]], [*PAIRS[1:3], PAIRS[1]], [("dog", "tom")]])
def test_keys_of_several_columns_are_found_exactly_and_by_index(keys: list[tuple[str, str]]) -> None:
    engine = create_engine("sqlite://")
    query: Any = select(THINGS).where(one_of((THINGS.c.kind, THINGS.c.name), keys))
    with engine.connect() as connection:
        THINGS.create(connection)
        connection.execute(insert(THINGS), [{"kind": kind, "name": name} for kind, name in PAIRS])
        assert {tuple(row) for row in connection.execute(query)} == set(keys) & set(PAIRS)
        compiled = query.compile(engine, compile_kwargs={"literal_binds": True})
        plan = [row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}")]
    engine.dispose()
    assert not keys or plan[0].startswith("SEARCH thing USING")


@pytest.mark.parametrize(
    ("relayed", "kept"), [(2500, [2205, 2206]), (2000, [*range(2001, 2207)]), (0, [*range(1, 2207)])]
)
def test_the_outbox_forgets_what_is_past_its_retention_and_published(relayed: int, kept: list[int]) -> None:
    old, young = now() - timedelta(days=32), now() - timedelta(days=30)
    rows = [
        {"position": position, "id": str(position), "log_subject": "s", "body": b"", "recorded_at": at}
        for position, at in [*((one, old) for one in range(1, 2205)), (2205, young), (2206, old)]
    ]
    with memory_session(metadata) as session:
        session.execute(insert(outbox), rows)
        list(upkeep.prune(30, relayed, 0.0, session))
        left = list(session.execute(select(outbox.c.position).order_by(outbox.c.position)).scalars())
    assert left == kept


def test_the_inbox_remembers_what_was_heard_while_the_clock_was_wrong() -> None:
    old, young, wrong = now() - timedelta(days=32), now() - timedelta(days=1), now() - timedelta(days=3650)
    rows = [
        {"id": str(number), "source": "s", "seen_at": at} for number, at in enumerate([old, old, young, wrong, young])
    ]
    with memory_session(metadata) as session:
        session.execute(insert(inbox), rows)
        list(upkeep.prune(30, 0, 0.0, session))
        assert list(session.execute(select(inbox.c.id)).scalars()) == ["2", "3", "4"]


@pytest.mark.parametrize("damage", ["newer", "none"])
def test_a_database_that_this_version_cannot_use_is_told(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "store.db"
    file.write_bytes(migrated(MIGRATIONS) if damage == "newer" else b"something else" * 100)
    database = Database(f"sqlite:///{file}")
    if damage == "newer":
        with database.writer.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Unusable, match="a newer version" if damage == "newer" else "not a database") as told:
        migrate.upgrade(database, MIGRATIONS)
    database.close()
    assert str(file) in str(told.value)
