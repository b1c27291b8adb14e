"""A small service on the real runtime for proofs about messages, in this process or in one of its own.

It handles change.merged: notes the attempt in a ledger outside its database, fails if the repository's name is listed
as broken, else writes one row. As a process it is told everything by ENTRESOL_POLICY_… and its data directory.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from entresol_contracts.events import ChangeMerged, Repository
from entresol_eventing import run
from entresol_eventing.envelope import Event
from entresol_eventing.reactions import Outcome, Reactions
from entresol_eventing.service import Service
from entresol_eventing.settings import RuntimeSettings
from entresol_eventing.telemetry import Telemetry
from pydantic_settings import SettingsConfigDict
from sqlalchemy import MetaData, text
from sqlmodel import Session

MIGRATIONS = Path(__file__).parents[2] / "libs/eventing/tests/counting_migrations"
SUBJECT = "entresol.intake.change.merged.x"
NAME = "policy"


class Settings(RuntimeSettings):
    model_config = SettingsConfigDict(env_prefix="ENTRESOL_POLICY_")


def merged(name: str, number: int) -> ChangeMerged:
    return ChangeMerged(
        repository=Repository(name=name, full_name=f"shop/{name}"), branch="main", revision="c4295bd", number=number
    )


class Brittle:
    """The handler. `broken` is a file: it may be changed while the service runs, and survives it."""

    def __init__(self, data: Path) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self.broken = data / "broken"
        self.ledger = data / "ledger"

    def break_all(self, name: str) -> None:
        self.broken.write_text(name, encoding="utf-8")

    def mend(self) -> None:
        self.broken.unlink(missing_ok=True)

    def attempts(self) -> dict[str, dict[int, list[float]]]:
        """Times of the handler's runs by event id and by failed attempts before, in order.

        The clock is the machine's monotonic one, so that times compare across processes. An attempt is one or two
        runs: a group of messages in which one fails is rolled back, and its messages are repeated one by one.
        """
        found: dict[str, dict[int, list[float]]] = {}
        for line in self.ledger.read_text(encoding="utf-8").splitlines() if self.ledger.exists() else ():
            event_id, before, at = line.split()
            found.setdefault(event_id, {}).setdefault(int(before), []).append(float(at))
        return found

    def handle(self, event: Event[ChangeMerged], session: Session) -> Iterator[Outcome]:
        query = text("SELECT attempts FROM eventing_parked WHERE partitionkey = :key AND state = 'retrying'")
        before = session.execute(query, {"key": event.partitionkey}).scalar() or 0
        with open(self.ledger, "ab", buffering=0) as ledger:
            ledger.write(f"{event.id} {before} {time.monotonic()}\n".encode())
        if self.broken.exists() and event.data.repository.name == self.broken.read_text(encoding="utf-8"):
            raise RuntimeError(f"{event.data.repository.name} is broken")
        session.execute(
            text("INSERT INTO counted (event_id, key) VALUES (:id, :key)"),
            {"id": event.id, "key": event.data.repository.name},
        )
        yield from ()

    def service(self, settings: RuntimeSettings, telemetry: Telemetry | None = None) -> Service:
        return Service(
            name=NAME,
            settings=settings,
            reactions=Reactions(to={ChangeMerged: self.handle}),
            metadata=MetaData(),
            migrations=MIGRATIONS,
            subjects=("entresol.intake.change.>",),
            telemetry=telemetry,
        )


def environment(data: Path, nats_url: str, database_url: str, **settings: Any) -> dict[str, str]:
    """The environment of the process."""
    given = {"data": data, "nats_url": nats_url, "database_url": database_url, "port": 0, "log_level": "ERROR"}
    named = {f"ENTRESOL_POLICY_{name.upper()}": str(value) for name, value in (given | settings).items()}
    return {**os.environ, **named}


def create(settings: Settings, telemetry: Telemetry) -> Service:
    return Brittle(settings.data).service(settings, telemetry)


if __name__ == "__main__":
    run.main(create, Settings)
