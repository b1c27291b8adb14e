"""Handlers that fail at random, copies that come late and in another order, readers that begin again: order stays."""

import asyncio
from contextlib import AsyncExitStack, suppress

import nats
from entresol_eventing.nats_server import NatsServer
from entresol_eventing.permissions import EVENTS
from entresol_eventing.service import Service
from entresol_eventing.store import outbox
from entresol_eventing.testing import nats_server, running
from nats.js.errors import NotFoundError
from sqlalchemy import func, select
from sqlmodel import Session

from tests.faults.proxy import Proxy
from tests.faults.tally import Tally, Teller, administrator, caught_up, handled, judge, load, log_kept, settings
from tests.faults.trials import Evidence, Proof, Trial

FAILING = 0.02
"""Share of the first attempts that fail, and of the later ones."""
COPIES = 20


def keep_order_through_retries(trial: Trial) -> Evidence:
    with log_kept(trial), nats_server(trial.scratch / "nats") as bus, Proxy(bus.port) as proxy:
        return asyncio.run(_keep(trial, bus, proxy))


async def _keep(trial: Trial, bus: NatsServer, proxy: Proxy) -> Evidence:
    teller = Teller(keys=[f"key-{number}" for number in range(40)])
    failures = deletions = copies = 0

    def fails() -> bool:
        nonlocal failures
        failing = trial.dice.random() < FAILING
        failures += failing
        return failing

    async with AsyncExitStack() as stack:
        streams = await stack.enter_async_context(administrator(bus))
        through = f"nats://127.0.0.1:{proxy.port}"
        telling = await stack.enter_async_context(running(teller.service(settings(trial, "teller", bus.url))))
        chosen = settings(trial, "tally", through, max_attempts=1000, batch_size=20)
        tally = await stack.enter_async_context(running(Tally("policy", fails).service(chosen)))
        stopping = asyncio.Event()
        loading = asyncio.create_task(load(teller, telling, stopping, count=20, seconds=0.05))
        for number in range(trial.count(12, 120, 2_000)):
            await asyncio.sleep(trial.dice.uniform(0.0, 0.2))
            copies += await _repeat_shuffled(trial, telling, bus)
            if number % 4 == 1:
                proxy.cut()
            elif number % 4 == 3:
                with suppress(NotFoundError):  # it is just being made anew
                    await streams.delete_consumer(EVENTS, "policy")
                    deletions += 1
            if number % 100 == 99:
                trial.say(f"{number + 1} disturbances")
        stopping.set()
        await loading
        await caught_up(teller.told, tally)
        found = judge(teller.told, await handled(tally))
    breaches = found.breaches("the tally")
    if not failures:
        breaches.append("no handler failed: nothing was retried")
    counts = {
        "events": teller.told.total(),
        "keys": len(teller.keys),
        "attempts that failed": failures,
        "shuffled copies": copies,
        "connections cut": proxy.counts["cut"],
        "consumers deleted": deletions,
        "lost": len(found.lost),
        "handled twice": len(found.double),
        "out of order": len(found.inverted),
    }
    return Evidence(counts, breaches)


async def _repeat_shuffled(trial: Trial, telling: Service, bus: NatsServer) -> int:
    """Publish copies of what the teller has already published, in any order and as nobody's copies."""
    relayed = telling.health()["outbox_pending"]

    def pick(session: Session) -> list[tuple[str, bytes]]:
        last = (session.execute(select(func.max(outbox.c.position))).scalar() or 0) - relayed - COPIES
        chosen = [trial.dice.randint(1, last) for _ in range(COPIES)] if last > 0 else []
        query = select(outbox.c.log_subject, outbox.c.body).where(outbox.c.position.in_(chosen))
        return [(row.log_subject, row.body) for row in session.execute(query)]

    picked = await telling.read(pick)
    trial.dice.shuffle(picked)
    connection = await nats.connect(bus.url)
    for subject, body in picked:
        await connection.jetstream().publish(subject, body)
    await connection.close()
    return len(picked)


PROOFS = (
    Proof("G5", "events of one partition key are handled in order, also through retries", keep_order_through_retries),
)
