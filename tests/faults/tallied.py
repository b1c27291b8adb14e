"""Scenarios on one small reader, in a forked process of its own that may have a bug; told to whoever started it.

A handler that fails on demand, a delivery that gets lost on the way and a second instance are none of the platform's
services, so a tally stands for them.
"""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from entresol_contracts.events import ChangeMerged, RedriveRequested
from entresol_eventing.envelope import Event
from entresol_eventing.pull import Delivery, Pull
from entresol_eventing.reactions import Emit, Outcome
from entresol_eventing.service import Service
from entresol_eventing.settings import RuntimeSettings
from entresol_eventing.store import parked
from entresol_eventing.testing import eventually, nats_server, running
from sqlalchemy import func, select
from sqlmodel import Session

from tests.faults.judge.findings import DISORDERED, DOUBLED, LOST, STUCK
from tests.faults.tally import Tally, Teller, handled, handled_count, judge, name_of
from tests.faults.trials import Trial
from tests.forks import PLANTED, await_end, fork_server

PLAYED = "ENTRESOL_TALLIED"
END_SECONDS = 120.0
WAIT_SECONDS = 60.0
HOPELESS_SECONDS = 2.5
"""How long a tally with a bug is waited for: longer than a first retry."""


@dataclass(slots=True)
class Choosy(Tally):
    """A tally whose handler fails for the events that it refuses."""

    refused: set[str] = field(default_factory=set)

    def write_down(self, event: Event[ChangeMerged], session: Session) -> Any:
        if name_of(event.data.repository.name, event.data.number or 0) in self.refused:
            raise RuntimeError("refused")
        return Tally.write_down(self, event, session)


@dataclass(slots=True)
class Bench:
    """A teller and what the tallies of one scenario need."""

    teller: Teller
    telling: Service
    settings: RuntimeSettings
    patience_seconds: float

    async def wait(self, check: Callable[[], Awaitable[Any]]) -> None:
        """Return when the check holds, or the patience is over: the judge says what is."""
        with suppress(AssertionError):
            await eventually(check, seconds=self.patience_seconds)

    async def judged(self, tally: Service) -> list[str]:
        """Wait for everything that was told, and count what became of it."""
        told = self.teller.told

        async def complete() -> bool:
            return await handled_count(tally) >= told.total()

        await self.wait(complete)
        found = judge(told, await handled(tally))
        kinds = ((LOST, found.lost), (DOUBLED, found.double), (DISORDERED, found.inverted))
        return [f"{kind}: {', '.join(names[:5])}" for kind, names in kinds if names]


async def _failing_handler(bench: Bench) -> list[str]:
    """One event of a batch can't be handled at first; others of its key follow, and the service is restarted."""
    choosy = Choosy("policy", refused={"b#0"})
    async with running(choosy.service(bench.settings)) as tally:
        await bench.teller.tell(bench.telling, 10)

        async def others_are_handled() -> bool:
            return await handled_count(tally) >= 8

        await bench.wait(others_are_handled)
        await bench.teller.tell(bench.telling, 10)

        async def later_ones_too() -> bool:
            return await handled_count(tally) >= 16

        await bench.wait(later_ones_too)
    choosy.refused.clear()
    async with running(choosy.service(bench.settings)) as tally:
        return await bench.judged(tally)


async def _poison(bench: Bench) -> list[str]:
    """One event can't be handled until an operator redrives it."""
    choosy = Choosy("policy", refused={"c#0"})
    settings = bench.settings.model_copy(update={"max_attempts": 2})
    async with running(choosy.service(settings)) as tally:
        await bench.teller.tell(bench.telling, 10)
        dead = select(func.count()).select_from(parked).where(parked.c.state == "dead")

        async def given_up() -> bool:
            return bool(await tally.read(lambda session: session.execute(dead).scalar()))

        await bench.wait(given_up)
        choosy.refused.clear()

        def order(_: Session) -> Generator[Outcome, None, None]:
            yield Emit(RedriveRequested(service="policy", by="user:ada", reason="mended"), subject="policy")

        await bench.telling.transact(order)
        return await bench.judged(tally)


async def _lost_delivery(bench: Bench) -> list[str]:
    """The client library loses one message that the server has sent."""
    fetch, lost = Pull.fetch, list[Delivery]()

    async def losing(self: Pull) -> list[Delivery]:
        delivered = await fetch(self)
        if len(delivered) > 2 and not lost:
            lost.append(delivered.pop(1))
        return delivered

    Pull.fetch = losing  # type: ignore[method-assign]
    async with running(Tally("policy").service(bench.settings)) as tally:
        await bench.teller.tell(bench.telling, 10)
        found = await bench.judged(tally)
    return found if lost else [f"{STUCK}: nothing was lost on the way"]


async def _second_instance(bench: Bench) -> list[str]:
    """Somebody starts the service a second time."""
    async with running(Tally("policy").service(bench.settings)) as tally:
        await bench.teller.tell(bench.telling, 10)
        second = Tally("policy").service(bench.settings)
        try:
            await second.start()
        except RuntimeError:
            return await bench.judged(tally)
        await second.stop()
        return [f"{DOUBLED}: two instances were running on one database"]


SCENARIOS: Mapping[str, Callable[[Bench], Awaitable[Sequence[str]]]] = {
    "failing-handler": _failing_handler,
    "poison": _poison,
    "lost-delivery": _lost_delivery,
    "second-instance": _second_instance,
}


def play(trial: Trial, name: str, bug: str = "") -> list[str]:
    """Everything that is found when the scenario is played by a process that has the bug."""
    place = trial.scratch / "tallied"
    place.mkdir()
    with nats_server(trial.scratch / "nats") as bus:
        plan = {"scenario": name, "place": str(place), "bus": bus.url, "hopeless": bool(bug)}
        environment = {**os.environ, PLAYED: json.dumps(plan), PLANTED: bug}
        process = fork_server().start("tests.faults.tallied:main", environment, place / "log")
        if status := await_end(process, END_SECONDS):
            raise RuntimeError(f"{name} ended with {status}: {(place / 'log').read_text()[-2000:]}")
    found: list[str] = json.loads((place / "found.json").read_text(encoding="utf-8"))
    return found


def main() -> None:
    plan = json.loads(os.environ[PLAYED])
    place = Path(plan["place"])
    patience = HOPELESS_SECONDS if plan["hopeless"] else WAIT_SECONDS
    found = asyncio.run(_play(plan["scenario"], place, plan["bus"], patience))
    (place / "found.json").write_text(json.dumps(found), encoding="utf-8")


async def _play(name: str, place: Path, bus: str, patience_seconds: float) -> list[str]:
    teller = Teller()
    async with running(teller.service(RuntimeSettings(data=place / "teller", nats_url=bus))) as telling:
        settings = RuntimeSettings(data=place / "tally", nats_url=bus)
        return list(await SCENARIOS[name](Bench(teller, telling, settings, patience_seconds)))
