"""A publish with unknown outcome: the bus has stored it, and the answer never comes. Repeated, however late."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace

from entresol_eventing.nats_server import NatsServer
from entresol_eventing.permissions import EVENTS
from entresol_eventing.service import Service
from entresol_eventing.testing import eventually, nats_server, running

from tests.faults.proxy import Proxy, Towards
from tests.faults.tally import Tally, Teller, administrator, caught_up, handled, judge, log_kept, settings
from tests.faults.trials import Evidence, Proof, Trial

TELLERS = 12
ANSWER = b'"seq":'
"""What the bus says when it has stored something."""
SHORT_WINDOW_SECONDS = 0.1
"""The shortest time that the bus takes for recognising copies."""
CUT_SECONDS = 60.0


def repeat_unknown_publishes(trial: Trial) -> Evidence:
    """Cut between publish and answer; in the second half, repeat later than the bus recognises copies."""
    tellers = [Teller(f"teller-{number}", [f"{number}{key}" for key in "abc"]) for number in range(TELLERS)]
    with ExitStack() as stack:
        stack.enter_context(log_kept(trial))
        bus = stack.enter_context(nats_server(trial.scratch / "nats"))
        proxies = [stack.enter_context(Proxy(bus.port)) for _ in tellers]
        return asyncio.run(_repeat(trial, bus, list(zip(tellers, proxies, strict=True))))


async def _repeat(trial: Trial, bus: NatsServer, tellers: Sequence[tuple[Teller, Proxy]]) -> Evidence:
    rounds = -(-trial.count(40, 300, 5_000) // len(tellers))
    async with AsyncExitStack() as stack:
        streams = await stack.enter_async_context(administrator(bus))
        config = (await streams.stream_info(EVENTS)).config
        config.subjects = [*(config.subjects or ()), *(f"entresol.{teller.name}.>" for teller, _ in tellers)]
        await streams.update_stream(config)
        tally = await stack.enter_async_context(running(Tally("policy").service(settings(trial, "tally", bus.url))))
        each = []
        for teller, proxy in tellers:
            chosen = settings(trial, teller.name, f"nats://127.0.0.1:{proxy.port}")
            each.append((teller, proxy, await stack.enter_async_context(running(teller.service(chosen)))))
        slowest = await asyncio.gather(*(_cut(trial, *one, rounds // 2, late=False) for one in each))
        trial.say("half of the cuts are done")
        await streams.update_stream(replace(config, duplicate_window=SHORT_WINDOW_SECONDS))
        slowest += await asyncio.gather(*(_cut(trial, *one, rounds - rounds // 2, late=True) for one in each))
        told = sum((teller.told for teller, _ in tellers), Counter[str]())
        await caught_up(told, tally)
        stored = (await streams.stream_info(EVENTS)).state.messages
        found = judge(told, await handled(tally))
    cuts = sum(proxy.counts["cut"] for _, proxy in tellers)
    copies = stored - told.total()
    breaches = found.breaches("the tally")
    if copies < cuts // 4:
        breaches.append(f"only {copies} copies in the log: the bus recognised what it should have forgotten")
    counts = {
        "cuts between publish and answer": cuts,
        "events": told.total(),
        "copies in the log": copies,
        "lost": len(found.lost),
        "handled twice": len(found.double),
        "out of order": len(found.inverted),
    }
    return Evidence(counts, breaches, {"slowest repetition": f"{max(slowest):.1f} s"})


async def _cut(trial: Trial, teller: Teller, proxy: Proxy, service: Service, rounds: int, *, late: bool) -> float:
    """Return the seconds that the slowest repetition took."""
    slowest = 0.0
    for _ in range(rounds):
        proxy.cut_at(ANSWER, Towards.CLIENT)
        await teller.tell(service, trial.dice.choice((1, 2, 5, 30)))
        began = time.monotonic()
        await eventually(lambda: not proxy.planned, seconds=CUT_SECONDS)
        if late:
            proxy.silence()
            await asyncio.sleep(2 * SHORT_WINDOW_SECONDS)  # what is repeated is a copy by then
            proxy.heal()
        await eventually(lambda: _published(service), seconds=CUT_SECONDS)
        slowest = max(slowest, time.monotonic() - began)
    return slowest


def _published(service: Service) -> bool:
    return bool(service.health()["outbox_pending"] == 0)


PROOFS = (Proof("G4", "a publish with unknown outcome is repeated safely, however late", repeat_unknown_publishes),)
