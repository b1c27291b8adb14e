"""A service for tests: writes a row per change.merged that it handles, and answers each with request.cancelled."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from entresol_contracts.events import ChangeMerged, Repository, RequestCancelled
from entresol_eventing.envelope import Event
from entresol_eventing.reactions import Emit, Outcome, Reactions
from entresol_eventing.service import Service
from entresol_eventing.settings import RuntimeSettings
from sqlalchemy import text
from sqlmodel import Session

MIGRATIONS = Path(__file__).parent / "counting_migrations"


def merged(name: str, number: int = 0) -> ChangeMerged:
    return ChangeMerged(
        repository=Repository(name=name, full_name=f"shop/{name}"), branch="main", revision="c4295bd", number=number
    )


def cancelled(key: str) -> RequestCancelled:
    return RequestCancelled(request_id=key, resource_id=key, project="shop", by="user:ada")


class Counting:
    """What it handled is in the table `counted`; repositories named in `broken` make it fail."""

    def __init__(self) -> None:
        self.broken: set[str] = set()
        self.fail_with = "{} is broken"
        self.calls = 0

    def count(self, event: Event[ChangeMerged], session: Session) -> Iterator[Outcome]:
        self.calls += 1
        if event.data.repository.name in self.broken:
            raise RuntimeError(self.fail_with.format(event.data.repository.name))
        session.execute(
            text("INSERT INTO counted (event_id, key) VALUES (:id, :key)"),
            {"id": event.id, "key": event.data.repository.name + f"#{event.data.number}"},
        )
        yield Emit(cancelled(event.data.repository.name), subject=event.data.repository.name)

    def service(self, data: Path, nats_url: str, **options: Any) -> Service:
        settings = RuntimeSettings(data=data, nats_url=nats_url, **options)
        from sqlalchemy import MetaData

        return Service(
            name="policy",
            settings=settings,
            reactions=Reactions(to={ChangeMerged: self.count}),
            metadata=MetaData(),
            migrations=MIGRATIONS,
            subjects=("entresol.intake.change.>",),
        )


async def counted(service: Service) -> list[str]:
    return await service.read(
        lambda session: list(session.execute(text("SELECT key FROM counted ORDER BY position")).scalars())
    )
