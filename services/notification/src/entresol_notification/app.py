"""Put notification together: it reads what is worth telling from the log, and its worker tells it."""

import asyncio
from functools import partial
from pathlib import Path

from entresol_eventing import run
from entresol_eventing.links import read_keys
from entresol_eventing.pull import Linger
from entresol_eventing.service import Service
from entresol_eventing.telemetry import Telemetry
from sqlmodel import Session

from entresol_notification import store
from entresol_notification.handlers import Router
from entresol_notification.routing import subjects, table
from entresol_notification.settings import Settings
from entresol_notification.workers import Courier

MIGRATIONS = Path(__file__).parent / "migrations"


def create(settings: Settings, telemetry: Telemetry | None = None) -> Service:
    courier = Courier(settings)
    service = Service(
        name="notification",
        settings=settings,
        reactions=Router().reactions(),
        metadata=store.Base.metadata,
        migrations=MIGRATIONS,
        subjects=_subjects,
        workers=(courier.work, courier.measure, courier.prune),
        telemetry=telemetry,
        linger=Linger(0.05),
    )
    if settings.link_key_file is not None:
        service.on_start.append(partial(_check_keys, settings.link_key_file))
    return service


async def _check_keys(file: Path) -> None:
    """Fail at start, where an operator looks, and not when the first approval waits for somebody."""
    await asyncio.to_thread(read_keys, file)


def _subjects(session: Session) -> list[str]:
    return subjects(table(store.manifests(session, "Route")))


def main() -> None:
    run.main(create, Settings)
