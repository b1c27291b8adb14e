"""Two small services on the real runtime, for proofs of what lies between services and the bus, and their judge.

A teller says events, numbered by partition key from 0. A tally writes down each one that it handles, in its order.
"""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import urllib.request
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import nats
from entresol_contracts.events import ChangeMerged, Repository
from entresol_eventing.envelope import Event
from entresol_eventing.nats_server import NatsServer
from entresol_eventing.reactions import Emit, Outcome, Reactions
from entresol_eventing.run import main
from entresol_eventing.service import Service
from entresol_eventing.settings import RuntimeSettings
from entresol_eventing.store import Database
from entresol_eventing.telemetry import JsonLines, Telemetry
from entresol_eventing.testing import eventually
from nats.js.client import JetStreamContext
from pydantic import Field
from pydantic_settings import SettingsConfigDict
from sqlalchemy import MetaData, text
from sqlmodel import Session

from tests.faults.trials import Trial
from tests.fleet import free_port

MIGRATIONS = Path(__file__).parents[2] / "libs" / "eventing" / "tests" / "counting_migrations"
SUBJECTS = ("entresol.*.change.>",)
CAUGHT_UP_SECONDS = 120.0
_NAMES = text("SELECT key FROM counted ORDER BY position")
_COUNT = text("SELECT count(*) FROM counted")

T = TypeVar("T")


def name_of(key: str, number: int) -> str:
    return f"{key}#{number}"


@dataclass(slots=True)
class Teller:
    """Says numbered events by the outbox of a service of some name."""

    name: str = "intake"
    keys: Sequence[str] = ("a", "b", "c", "d", "e")
    padding: str = ""
    """Makes every event larger."""
    told: Counter[str] = field(default_factory=Counter)
    """How many events of each key are committed."""

    def service(self, settings: RuntimeSettings) -> Service:
        return Service(
            name=self.name,
            settings=settings,
            reactions=Reactions(),
            metadata=MetaData(),
            migrations=MIGRATIONS,
            subjects=(),
        )

    async def tell(self, service: Service, count: int) -> None:
        """Commit so many events in one transaction, the keys in turn."""
        total = self.told.total()
        keys = [self.keys[(total + index) % len(self.keys)] for index in range(count)]
        await service.transact(lambda _: self._say(keys))
        self.told.update(keys)

    def _say(self, keys: Sequence[str]) -> Generator[Outcome, None, None]:
        numbers = Counter(self.told)
        for key in keys:
            said = ChangeMerged(
                repository=Repository(name=key, full_name=f"shop/{key}"),
                branch="main",
                revision="c4295bd",
                title=self.padding or None,
                number=numbers[key],
            )
            numbers[key] += 1
            yield Emit(said, subject=key, partitionkey=key)


@dataclass(slots=True)
class Tally:
    """Handles what a teller said, as a service of some name."""

    name: str
    fails: Callable[[], bool] = lambda: False
    """Whether the handler is to fail this time."""

    def service(self, settings: RuntimeSettings) -> Service:
        return Service(
            name=self.name,
            settings=settings,
            reactions=Reactions(to={ChangeMerged: self.write_down}),
            metadata=MetaData(),
            migrations=MIGRATIONS,
            subjects=SUBJECTS,
        )

    def write_down(self, event: Event[ChangeMerged], session: Session) -> Iterator[Outcome]:
        row = {"id": event.id, "key": name_of(event.data.repository.name, event.data.number or 0)}
        session.execute(text("INSERT INTO counted (event_id, key) VALUES (:id, :key)"), row)
        if self.fails():
            raise RuntimeError("the dice say no")
        yield from ()


async def handled(service: Service) -> list[str]:
    """Names of the events that a tally has written down, in its order."""
    return await service.read(lambda session: list(session.execute(_NAMES).scalars()))


async def handled_count(service: Service) -> int:
    return await service.read(lambda session: session.execute(_COUNT).scalar_one())


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of the events that were told to one tally."""

    lost: list[str]
    double: list[str]
    inverted: list[str]

    def breaches(self, who: str) -> list[str]:
        found = (("lost", self.lost), ("handled twice", self.double), ("out of order", self.inverted))
        return [f"{who}: {len(names)} {what}, first {', '.join(names[:5])}" for what, names in found if names]


def judge(told: Mapping[str, int], written: Sequence[str], excused: Collection[str] = ()) -> Verdict:
    """Compare what was told with what was written down; events that are excused may be missing."""
    times = Counter(written)
    expected = (name_of(key, number) for key, count in told.items() for number in range(count))
    lost = [name for name in expected if name not in times and name not in excused]
    inverted, last = [], defaultdict[str, int](lambda: -1)
    for name in written:
        key, _, number = name.rpartition("#")
        if int(number) < last[key]:
            inverted.append(name)
        last[key] = max(last[key], int(number))
    return Verdict(lost, [name for name, count in times.items() if count > 1], inverted)


async def caught_up(told: Mapping[str, int], *tallies: Service, seconds: float = CAUGHT_UP_SECONDS) -> None:
    """Return when each tally has handled as many events as were told, or the time is over: the judge says what is."""
    total = sum(told.values())
    with suppress(AssertionError):
        for tally in tallies:

            async def complete(tally: Service = tally) -> bool:
                return await handled_count(tally) >= total

            await eventually(complete, seconds=seconds)


def settings(trial: Trial, name: str, nats_url: str, **options: Any) -> RuntimeSettings:
    """Settings of a service with a database of its own, of the trial's kind."""
    url = trial.postgres.database(name.replace("-", "_")) if trial.postgres else ""
    return RuntimeSettings(data=trial.scratch / name, nats_url=nats_url, database_url=url, **options)


@contextmanager
def log_kept(trial: Trial) -> Iterator[None]:
    """What the services log while they are broken goes to a file beside their databases."""
    root, keeper = logging.getLogger(), logging.FileHandler(trial.scratch / "services.log")
    keeper.setFormatter(JsonLines())
    before = root.level
    root.addHandler(keeper)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(keeper)
        root.setLevel(before)
        keeper.close()


@asynccontextmanager
async def administrator(server: NatsServer) -> AsyncIterator[JetStreamContext]:
    """JetStream as an operator uses it, past every proxy."""
    login = {"user": "admin", "password": server.passwords["admin"]} if "admin" in server.passwords else {}
    connection = await nats.connect(server.url, **login)
    try:
        yield connection.jetstream(timeout=30)
    finally:
        await connection.close()


class TallySettings(RuntimeSettings):
    model_config = SettingsConfigDict(env_prefix="ENTRESOL_TALLY_")

    name: str = Field(default="policy", description="The name of the tally.")


class TallyProcess:
    """A tally in a process of its own, which can be frozen, killed and measured."""

    def __init__(self, chosen: RuntimeSettings, name: str) -> None:
        self.settings = chosen
        self.name = name
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._database: Database | None = None

    def start(self) -> None:
        prefix = TallySettings.model_config["env_prefix"]
        own = {
            "NAME": self.name,
            "DATA": str(self.settings.data),
            "DATABASE_URL": self.settings.database_for(self.name),
            "NATS_URL": self.settings.nats_url,
            "PORT": str(self.port),
            "LOG_LEVEL": "WARNING",
        }
        self.settings.data.mkdir(parents=True, exist_ok=True)
        with (self.settings.data / "log").open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.tally"],
                cwd=Path(__file__).parents[2],
                env={**os.environ, **{prefix + name: value for name, value in own.items()}},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def is_ready(self) -> bool:
        return self._answers("/health/ready")

    def is_live(self) -> bool:
        return self._answers("/health/live")

    def _answers(self, path: str) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"the tally has ended: {(self.settings.data / 'log').read_text()[-2000:]}")
        with suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=2).close()
            return True
        return False

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def handled(self) -> list[str]:
        """As `handled`, from outside."""
        return self._look(lambda session: list(session.execute(_NAMES).scalars()))

    def handled_count(self) -> int:
        count: int = self._look(lambda session: session.execute(_COUNT).scalar_one())
        return count

    def _look(self, query: Callable[[Session], T]) -> T:
        self._database = self._database or Database(self.settings.database_for(self.name))
        return self._database.read(query)

    def stop(self) -> None:
        if self._database is not None:
            self._database.close()
        if self._process is None:
            return
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
        self._process.kill()
        self._process.wait()


async def load(teller: Teller, service: Service, stopping: asyncio.Event, *, count: int, seconds: float) -> None:
    """Tell so many events every so many seconds, until it is stopped."""
    while not stopping.is_set():
        await teller.tell(service, count)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await stopping.wait()


def create(chosen: TallySettings, telemetry: Telemetry) -> Service:
    return Tally(chosen.name).service(chosen)


if __name__ == "__main__":
    main(create, TallySettings)
