"""The log is the truth: the catalog, rebuilt from it, equals the live one after whatever has happened."""

import asyncio

from entresol_catalog.app import rebuildable
from entresol_catalog.settings import Settings
from entresol_eventing.log import connect
from entresol_eventing.permissions import EVENTS
from entresol_eventing.rebuild_command import rebuild
from entresol_eventing.rebuilding import Rebuilt
from entresol_eventing.store import Database, cursor
from entresol_eventing.testing import eventually
from sqlalchemy import select

from tests.fleet import Fleet


def differences(fleet: Fleet) -> list[str]:
    """Every difference between the live catalog of a fleet and one that is rebuilt from its log; stops nothing."""
    comparison = compared(fleet).comparison
    assert comparison is not None
    more = comparison.count - len(comparison.differences)
    return [*map(str, comparison.differences), *([f"… and {more} more differences"] if more else [])]


def compared(fleet: Fleet) -> Rebuilt:
    """Compare the live catalog of a fleet with a rebuilt one, as an operator would."""
    own = settings(fleet)
    return asyncio.run(rebuild(rebuildable(own), own, user="catalog", compare=True))


async def await_read(fleet: Fleet, seconds: float = 30.0) -> None:
    """Return when the live catalog has read the log that is there now to its end; raise AssertionError if not in time.

    A bus that came back from nothing is another log: until the catalog has read it, there is nothing to compare.
    """
    own = settings(fleet)
    connection = await connect(own, "catalog", "rebuild")
    database = Database(fleet.databases["catalog"])

    async def read() -> bool:
        info = await connection.jetstream().stream_info(EVENTS)
        query = select(cursor.c.position).where(cursor.c.name == f"catalog@{info.created}")
        position = await asyncio.to_thread(database.read, lambda session: session.execute(query).scalar())
        return position is not None and position >= info.state.last_seq

    try:
        await eventually(read, seconds=seconds)
    finally:
        database.close()
        await connection.close()


def settings(fleet: Fleet) -> Settings:
    """The catalog's own."""
    return Settings(
        data=fleet.data / "catalog",
        database_url=fleet.databases["catalog"],
        nats_url=fleet.nats.url,
        nats_password=fleet.nats.passwords["catalog"],
    )
