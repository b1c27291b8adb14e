"""Say which drivers there are, and what they take and give.

Said when the service starts, and only of what differs from what was said last: another start says nothing.
"""

from collections.abc import Generator, Mapping

from entresol_contracts.events import DriverWithdrawn
from entresol_eventing.reactions import Emit
from entresol_manifests.digest import digest
from sqlalchemy import Connection, delete, insert, select
from sqlmodel import Session

from entresol_provisioning import tables
from entresol_provisioning.drivers import Driver
from entresol_provisioning.drivers.contracts import announcement


def announce(drivers: Mapping[str, Driver], session: Session) -> Generator[Emit, None, None]:
    """Record what is said, and say it."""
    connection = session.connection()
    told, installed = _told(connection), sorted(drivers)
    for name, driver in sorted(drivers.items()):
        said = announcement(driver)
        code = digest(said.model_dump(mode="json", exclude_none=True))
        if told.get(name) != code:
            _keep(connection, name, code)
            yield Emit(said.model_copy(update={"installed": installed}), subject=f"Driver/{name}")
    for name in sorted(told.keys() - drivers.keys()):
        _keep(connection, name, None)
        yield Emit(DriverWithdrawn(driver=name), subject=f"Driver/{name}")


def _told(connection: Connection) -> dict[str, str]:
    """Driver → digest of what was last said of it."""
    return {row.driver: row.digest for row in connection.execute(select(tables.announcement))}


def _keep(connection: Connection, driver: str, digest: str | None) -> None:
    connection.execute(delete(tables.announcement).where(tables.announcement.c.driver == driver))
    if digest is not None:
        connection.execute(insert(tables.announcement), {"driver": driver, "digest": digest})
