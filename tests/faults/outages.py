"""The bus is away, frozen or half dead: the services stay live, take what their door may take, and catch up."""

import asyncio
import signal
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from entresol_eventing.nats_server import NatsServer
from entresol_eventing.permissions import SERVICES
from entresol_eventing.service import Service
from entresol_eventing.testing import eventually, nats_server, running

from tests.faults.proxy import Proxy
from tests.faults.tally import Tally, TallyProcess, Teller, caught_up, handled, judge, load, log_kept, settings
from tests.faults.trials import Evidence, Proof, Trial
from tests.fleet import Fleet

BACK_SECONDS = 10.0
NOTICED_SECONDS = 15.0
WAITED_SECONDS = 90.0


@dataclass(slots=True)
class _Pair:
    """A teller under load and a tally, at one bus."""

    teller: Teller
    telling: Service
    tally: Service
    stopping: asyncio.Event
    loading: "asyncio.Task[None]"

    @property
    def live(self) -> bool:
        return self.telling.live and self.tally.live

    @property
    def ready(self) -> bool:
        return bool(self.telling.health()["ready"] and self.tally.health()["ready"])

    async def settled(self) -> Evidence:
        """Stop the load, let the tally catch up, and judge."""
        self.stopping.set()
        await self.loading
        await caught_up(self.teller.told, self.tally)
        found = judge(self.teller.told, await handled(self.tally))
        counts = {
            "events": self.teller.told.total(),
            "lost": len(found.lost),
            "handled twice": len(found.double),
            "out of order": len(found.inverted),
        }
        return Evidence(counts, found.breaches("the tally"))


@asynccontextmanager
async def _pair(trial: Trial, url: str, *, wait: bool = True) -> AsyncIterator[_Pair]:
    """Ready, or only started if the bus is not there yet."""
    teller = Teller()
    telling = teller.service(settings(trial, "teller", url))
    tally = Tally("policy").service(settings(trial, "tally", url))
    async with AsyncExitStack() as stack:
        for service in (telling, tally):
            if wait:
                await stack.enter_async_context(running(service, ready_seconds=60))
            else:
                await service.start()
                stack.push_async_callback(service.stop)
        stopping = asyncio.Event()
        loading = asyncio.create_task(load(teller, telling, stopping, count=10, seconds=0.1))
        try:
            yield _Pair(teller, telling, tally, stopping, loading)
        finally:
            stopping.set()
            await loading


def freeze_the_bus(trial: Trial) -> Evidence:
    """Stop the bus for a while, and cut it off without a word: noticed, and nothing is lost when it is there again."""
    with log_kept(trial), nats_server(trial.scratch / "nats") as bus, Proxy(bus.port) as proxy:
        try:
            return asyncio.run(_freeze_the_bus(trial, bus, proxy))
        finally:
            bus.signal(signal.SIGCONT)


async def _freeze_the_bus(trial: Trial, bus: NatsServer, proxy: Proxy) -> Evidence:
    breaches: list[str] = []
    slowest_notice = slowest_back = 0.0
    freezes = ((16,), (16, 5), (5, 16, 30, 60) * 5)[trial.scale]
    async with _pair(trial, f"nats://127.0.0.1:{proxy.port}") as pair:
        for number, seconds in enumerate(freezes):
            silent = number % 2 == 1
            began = time.monotonic()
            if silent:
                proxy.silence()
            else:
                bus.signal(signal.SIGSTOP)
            noticed = None
            while time.monotonic() - began < seconds:
                if noticed is None and not pair.telling.health()["ready"] and not pair.tally.health()["ready"]:
                    noticed = time.monotonic() - began
                    slowest_notice = max(slowest_notice, noticed)
                if not pair.live:
                    breaches.append(f"a service is not live {time.monotonic() - began:.0f} s after the bus froze")
                await asyncio.sleep(0.05)
            if noticed is None and seconds >= NOTICED_SECONDS:
                breaches.append(f"not noticed within {seconds} s")
            elif noticed is not None and noticed > NOTICED_SECONDS:
                breaches.append(f"noticed after {noticed:.1f} s")
            if silent:
                proxy.heal()
            else:
                bus.signal(signal.SIGCONT)
            woke = time.monotonic()
            await eventually(lambda: pair.ready, seconds=WAITED_SECONDS)
            slowest_back = max(slowest_back, time.monotonic() - woke)
        evidence = await pair.settled()
    evidence.counts = {"freezes of the bus": len(freezes), **evidence.counts}
    evidence.breaches += breaches
    evidence.figures |= {"slowest notice": f"{slowest_notice:.1f} s", "slowest to be back": f"{slowest_back:.1f} s"}
    return evidence


def freeze_a_service(trial: Trial) -> Evidence:
    """Stop a service while others go on; when it wakes it goes on where it was."""
    with log_kept(trial), nats_server(trial.scratch / "nats") as bus:
        frozen = TallyProcess(settings(trial, "frozen", bus.url), "catalog")
        frozen.start()
        try:
            return asyncio.run(_freeze_a_service(trial, bus, frozen))
        finally:
            frozen.signal(signal.SIGCONT)
            frozen.stop()


async def _freeze_a_service(trial: Trial, bus: NatsServer, frozen: TallyProcess) -> Evidence:
    freezes = trial.count(3, 8, 60)
    async with _pair(trial, bus.url) as pair:
        await eventually(frozen.is_ready, seconds=WAITED_SECONDS)
        for _ in range(freezes):
            await asyncio.sleep(trial.dice.uniform(0.2, 0.5))
            frozen.signal(signal.SIGSTOP)
            before = pair.teller.told.total()
            await asyncio.sleep(trial.dice.uniform(*((0.5, 1.0), (0.5, 5.0), (5.0, 60.0))[trial.scale]))
            await eventually(partial(_goes_on, pair, before), seconds=WAITED_SECONDS)
            frozen.signal(signal.SIGCONT)
        evidence = await pair.settled()
        total = pair.teller.told.total()
        await eventually(lambda: frozen.handled_count() >= total, seconds=WAITED_SECONDS)
        found = judge(pair.teller.told, frozen.handled())
    evidence.counts = {"freezes of a service": freezes, **evidence.counts}
    evidence.breaches += found.breaches("the frozen one")
    return evidence


async def _goes_on(pair: _Pair, before: int) -> bool:
    return len(await handled(pair.tally)) > before


def outlive_outages(trial: Trial) -> Evidence:
    """End the bus for a while and start it at its port again; and start the services while it is away."""
    with log_kept(trial), nats_server(trial.scratch / "nats") as bus:
        return asyncio.run(_outlive(trial, bus))


async def _outlive(trial: Trial, bus: NatsServer) -> Evidence:
    lengths = ((1, 5), (1, 30), (1, 30, 180, 900))[trial.scale]
    breaches: list[str] = []
    slowest = 0.0
    await asyncio.to_thread(bus.kill)
    async with _pair(trial, bus.url, wait=False) as pair:
        for number, seconds in enumerate((1, *lengths)):
            if number:
                await asyncio.to_thread(bus.kill)
            began, before = time.monotonic(), pair.teller.told.total()
            while time.monotonic() - began < seconds:
                if not pair.live:
                    breaches.append(f"a service is not live {time.monotonic() - began:.0f} s after the bus ended")
                await asyncio.sleep(0.05)
            if pair.ready:
                breaches.append("ready without a bus")
            if pair.teller.told.total() == before:
                breaches.append(f"nothing was taken in {seconds} s without the bus")
            await asyncio.to_thread(bus.start)
            returned, waiting = time.monotonic(), pair.teller.told.total()
            await eventually(lambda: pair.ready, seconds=WAITED_SECONDS)
            await eventually(partial(_goes_on, pair, waiting), seconds=WAITED_SECONDS)
            took = time.monotonic() - returned
            slowest = max(slowest, took)
            if took > BACK_SECONDS:
                breaches.append(f"back {took:.1f} s after the bus, that was away for {seconds} s")
        evidence = await pair.settled()
    evidence.counts = {"outages": len(lengths) + 1, "longest in seconds": max(lengths), **evidence.counts}
    evidence.breaches += breaches
    evidence.figures["slowest to be back"] = f"{slowest:.1f} s"
    return evidence


LIMIT = 30


def shed_what_the_outbox_cannot_keep(trial: Trial) -> Evidence:
    """Without the bus the door takes what the outbox may keep, and sheds the rest with 503 and Retry-After."""
    limit = {"ENTRESOL_INTAKE_OUTBOX_LIMIT": str(LIMIT)}
    breaches: list[str] = []
    taken, shed = 0, 0
    with Fleet(trial.scratch / "fleet", limit, trial.postgres) as fleet:
        fleet.nats.kill()
        event = {"specversion": "1.0", "type": "org.example.thing.done", "source": "/example", "data": {}}
        while not shed and taken < 10 * LIMIT:
            body = {**event, "id": str(taken)}
            try:
                fleet.call("intake", "POST", "/v1/events", body, **{"Content-Type": "application/cloudevents+json"})
                taken += 1
            except urllib.error.HTTPError as refusal:
                shed += 1
                if refusal.code != 503 or not refusal.headers.get("Retry-After", "").isdigit():
                    breaches.append(f"shed with {refusal.code}, Retry-After {refusal.headers.get('Retry-After')}")
        if taken < LIMIT or not shed:
            breaches.append(f"{taken} taken and {shed} shed without the bus, at a limit of {LIMIT}")
        for service in SERVICES:
            urllib.request.urlopen(f"{fleet.url(service)}/health/live", timeout=5).close()
        fleet.nats.start()
        returned = time.monotonic()
        for service in SERVICES:
            fleet.await_ready(service)
        fleet.call(
            "intake", "POST", "/v1/events", {**event, "id": "late"}, **{"Content-Type": "application/cloudevents+json"}
        )
        took = time.monotonic() - returned
        if took > BACK_SECONDS:
            breaches.append(f"back {took:.1f} s after the bus")
    return Evidence({"taken without the bus": taken, "shed": shed}, breaches, {"back after": f"{took:.1f} s"})


PROOFS = (
    Proof("G8", "services stay live without the bus and are back within 10 s", outlive_outages),
    Proof("G8b", "beyond the outbox limit the door answers 503 and says when", shed_what_the_outbox_cannot_keep),
    Proof("G9", "a frozen bus is noticed within 15 s, and all goes on when it wakes", freeze_the_bus),
    Proof("G9b", "a frozen service stops nobody, and goes on where it was", freeze_a_service),
)
