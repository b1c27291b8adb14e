"""The log is the truth: the catalog, rebuilt from it, equals the live one after whatever has happened."""

import asyncio

from entresol_catalog.app import rebuildable
from entresol_catalog.settings import Settings
from entresol_eventing.rebuild_command import rebuild
from entresol_eventing.rebuilding import Rebuilt

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


def settings(fleet: Fleet) -> Settings:
    """The catalog's own."""
    return Settings(
        data=fleet.data / "catalog",
        database_url=fleet.databases["catalog"],
        nats_url=fleet.nats.url,
        nats_password=fleet.nats.passwords["catalog"],
    )
