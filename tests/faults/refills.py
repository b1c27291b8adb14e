"""Lost disks: the bus comes back empty in the middle of a load, and the outboxes refill it."""

import asyncio
import json
import os
import subprocess
import sys
import time

from entresol_eventing.log import connect
from entresol_eventing.permissions import SERVICES
from entresol_eventing.refilling import Disturbed, refill
from entresol_eventing.settings import RuntimeSettings
from entresol_eventing.store import Database

from tests.faults.rebuilding import await_read, compared, differences
from tests.faults.storms import SETTLE_SECONDS, scene
from tests.faults.trials import Evidence, Proof, Trial
from tests.fleet import Fleet

COMMAND_SECONDS = 120.0


class Interrupted(Exception):
    """A refill ends in the middle, as if its process had been killed."""


def prove_lost_disks_are_refilled(trial: Trial) -> Evidence:
    """The bus loses its store all over the load; each is refilled, every other time after an interrupted attempt."""
    journeys, losses = trial.count(60, 200, 3000), trial.count(2, 5, 50)
    put_back = interrupted = 0
    breaches: list[str] = []
    with scene(trial) as here, here.load(trial, journeys) as load:
        for number in range(losses):
            load.release(1 + journeys * (number + 1) // losses)
            time.sleep(trial.dice.uniform(0.3, 1.5))
            here.fleet.wipe_bus()
            time.sleep(trial.dice.uniform(0.0, 0.5))
            here.fleet.start_again("bus")
            here.fleet.make_streams()
            if number % 2 == 0:
                interrupted += interrupt(here.fleet, trial.dice.randrange(1 + number // 4))
            done = by_command(here.fleet)
            put_back += done["published"]
            if not done["complete"]:
                breaches.append("the outboxes do not go back to the beginning")
            here.dump.begin_anew()
            trial.say(f"lost the disk {number + 1} times, {load.finished} of {journeys} journeys")
        load.join(SETTLE_SECONDS + journeys / 10)
        here.settle(trial, load)
        asyncio.run(await_read(here.fleet))
        rows = sum(found.rows.values()) if (found := compared(here.fleet).comparison) else 0
        breaches += differences(here.fleet)
    counts = {
        "lost disks": losses,
        "interrupted refills": interrupted,
        "events put back": put_back,
        **here.verdict.counts,
        "rows compared": rows,
        "differences": len(breaches),
    }
    return Evidence(counts, [*here.verdict.breaches, *breaches])


def interrupt(fleet: Fleet, batches: int) -> int:
    """Begin a refill and leave it after that many batches; return 1 if there was something left to do."""

    def stop(_: int, __: int) -> None:
        nonlocal batches
        if (batches := batches - 1) < 0:
            raise Interrupted

    async def attempt() -> int:
        settings = RuntimeSettings(nats_url=fleet.nats.url, nats_password=fleet.nats.passwords["admin"])
        connection = await connect(settings, "admin", "refill")
        databases = {service: Database(url) for service, url in fleet.databases.items()}
        try:
            await refill(connection, databases, progress=stop)
        except (Interrupted, Disturbed):
            return 1
        finally:
            for database in databases.values():
                database.close()
            await connection.close()
        return 0

    return asyncio.run(attempt())


def by_command(fleet: Fleet) -> dict[str, int]:
    """Refill as an operator does; return what the command says."""
    environment = {
        "ENTRESOL_STREAMS_NATS_URL": fleet.nats.url,
        "ENTRESOL_STREAMS_NATS_PASSWORD": fleet.nats.passwords["admin"],
        **{f"ENTRESOL_{service.upper()}_DATABASE_URL": fleet.databases[service] for service in SERVICES},
    }
    command = [sys.executable, "-m", "entresol", "refill", "--output", "json"]
    done = subprocess.run(
        command,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"entresol refill ended with {done.returncode}: {done.stderr[-2000:]}")
    answer: dict[str, int] = {"published": 0, "complete": True, **json.loads(done.stdout)}
    return answer


PROOFS = (
    Proof(
        "G3b",
        "a bus that loses its disk is refilled: nothing is lost, and nothing twice",
        prove_lost_disks_are_refilled,
    ),
)
