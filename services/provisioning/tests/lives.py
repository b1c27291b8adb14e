"""Steps and looks of a desk, for the tests of what becomes of resources."""

from datetime import datetime, timedelta
from typing import Any

from entresol_eventing.envelope import now
from entresol_provisioning import store
from entresol_provisioning.drifts import Sight, record
from entresol_provisioning.verdicts import Wait

from services.provisioning.tests.conftest import Desk

ID = "shop/dev/database/orders"
THREE: list[dict[str, Any]] = [
    {"name": "one", "driver": "noop"},
    {"name": "two", "driver": "noop", "needs": ["one"]},
    {"name": "three", "driver": "noop", "needs": ["two"]},
]


def wait(desk: Desk, **changes: Any) -> Wait:
    sane: dict[str, Any] = {
        "reason": "the job runs",
        "look_at": desk.at + timedelta(seconds=10),
        "until": desk.at + timedelta(hours=1),
    }
    return Wait(**(sane | changes))


def names(desk: Desk) -> list[str]:
    return [one.key[1] for one in desk.ready()]


def see(desk: Desk, *paths: str, gone: tuple[str, ...] = (), begun_at: datetime | None = None) -> None:
    connection = desk.session.connection()
    resource = store.find_resource(connection, ID)
    assert resource is not None
    offering = desk.offerings.get(connection, resource.offering_digest)
    differences = tuple({"step": "only", "path": path, "change": "changed"} for path in paths)
    desk.take(record(connection, Sight(ID, resource.revision, begun_at or now(), differences, gone), offering, desk.at))


def miss(desk: Desk, reason: str = "no answer", *, passing: bool = False) -> None:
    """Somebody looks in vain."""
    connection = desk.session.connection()
    resource = store.find_resource(connection, ID)
    assert resource is not None
    offering = desk.offerings.get(connection, resource.offering_digest)
    failed = Sight(ID, resource.revision, desk.at, unknown=reason, passing=passing)
    desk.take(record(connection, failed, offering, desk.at))


def looks(desk: Desk) -> list[str]:
    """Resources that are to be looked at now."""
    return list(desk.session.connection().execute(store.looks(9)).scalars())
