"""The platform that is measured: five processes as users start them, a bus, and the database they are on."""

import contextlib
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import uvloop
from entresol_eventing.permissions import SERVICES
from entresol_eventing.testing.postgres import PostgresServer

from tests.fleet import Fleet

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Platform:
    fleet: Fleet
    database: str
    postgres: PostgresServer | None

    @property
    def processes(self) -> Mapping[str, int]:
        """Ids of what a request costs processor time in, by name."""
        pids = {name: self.fleet.pid(name) for name in (*SERVICES, "bus")}
        return pids if self.postgres is None else {**pids, "postgresql": self.postgres.pid}

    def run(self, load: Coroutine[Any, Any, T]) -> T:
        """Run a load on an event loop that costs little."""
        return uvloop.run(load)


@contextmanager
def started(data: Path, database: str) -> Iterator[Platform]:
    """The platform on `sqlite` or `postgresql`, ready; ended at exit."""
    with contextlib.ExitStack() as stack:
        postgres = stack.enter_context(PostgresServer()) if database == "postgresql" else None
        fleet = stack.enter_context(Fleet(data, postgres=postgres, forked=False))
        yield Platform(fleet, database, postgres)
