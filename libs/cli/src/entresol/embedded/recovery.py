"""What a platform on a data directory can be rebuilt from: its databases, and the bus beside them."""

import json
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from entresol_eventing.nats_server import NatsServer, end_orphans
from entresol_eventing.permissions import SERVICES
from entresol_eventing.refilling import NotNeeded, refill
from entresol_eventing.settings import RuntimeSettings
from entresol_eventing.store import Database
from nats.aio.client import Client
from pydantic_settings import SettingsConfigDict

from entresol.embedded.home import Home
from entresol.failures import Code, Failure

log = logging.getLogger(__name__)


@contextmanager
def opened(urls: Mapping[str, str]) -> Iterator[dict[str, Database]]:
    """The databases of services by their URLs."""
    databases: dict[str, Database] = {}
    try:
        for service, url in urls.items():
            databases[service] = Database(url)
        yield databases
    finally:
        for database in databases.values():
            database.close()


def urls(data: Path) -> dict[str, str]:
    """URL of each database that a platform has in its data directory."""
    files = {service: (data / service / f"{service}.db").absolute() for service in SERVICES}
    return {service: f"sqlite:///{file}" for service, file in files.items() if file.exists()}


async def restore(connection: Client, data: Path) -> None:
    """Refill the log if the bus has lost it; the services of this data directory wait for that."""
    with opened(urls(data)) as databases:
        try:
            done = await refill(connection, databases)
        except NotNeeded:
            return
    log.warning("the bus had lost its log; the outboxes have refilled it", extra={"events": done.published})


@asynccontextmanager
async def reading(where: Home) -> AsyncIterator[dict[str, Any]]:
    """How to read the log of a data directory, whose bus is started for this if no platform runs there."""
    if where.in_use():
        yield _advertised(where)
        return
    with where.claimed():
        end_orphans(where.data / "nats")
        with NatsServer(where.data / "nats", ["subscriber"]) as bus:
            yield _reader(bus.url, bus.passwords["subscriber"])


def _advertised(where: Home) -> dict[str, Any]:
    try:
        document = json.loads((where.data / "bus.json").read_text(encoding="utf-8"))
        return _reader(document["url"], document["users"]["subscriber"])
    except (OSError, ValueError, KeyError) as error:
        raise Failure(f"the platform on {where.data} does not say where its bus is", Code.UNREACHABLE) from error


def _reader(url: str, password: str) -> dict[str, Any]:
    return {"nats_url": url, "nats_user": "subscriber", "nats_password": password}


def service_settings(service: str, **values: Any) -> RuntimeSettings:
    """A service's own settings, from its environment where they are not given."""
    made: RuntimeSettings = import_module(f"entresol_{service}.app").Settings(**values)
    return made


class _Streams(RuntimeSettings):
    model_config = SettingsConfigDict(env_prefix="ENTRESOL_STREAMS_")


def streams_settings() -> RuntimeSettings:
    """The administrator's settings, as the bootstrap of the streams reads them."""
    return _Streams()
