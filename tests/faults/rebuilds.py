"""The picture and the log: kills and rebuilds in the middle of a load, and the catalog is what the log says."""

import asyncio
import time

from entresol_catalog.app import rebuildable
from entresol_eventing.permissions import SERVICES
from entresol_eventing.rebuild_command import rebuild

from tests.faults.rebuilding import compared, settings
from tests.faults.storms import SETTLE_SECONDS, scene
from tests.faults.trials import Evidence, Proof, Trial


def prove_rebuilt_equals_live(trial: Trial) -> Evidence:
    """Kill services and the bus; compare while everything runs, and now and then put the rebuilt one in its place."""
    journeys, rounds = trial.count(60, 400, 10_000), trial.count(4, 20, 300)
    victims = ["catalog", "bus", *SERVICES]
    replaced = rows = events = 0
    breaches: list[str] = []
    with scene(trial) as here, here.load(trial, journeys) as load:
        for number in range(rounds):
            load.release(1 + journeys * (number + 1) // rounds)
            time.sleep(trial.dice.uniform(0.1, 0.5))
            victim = victims[number % len(victims)]
            here.fleet.kill(victim)
            here.fleet.start_again(victim)
            if number % 2:
                own = settings(here.fleet)
                asyncio.run(rebuild(rebuildable(own), own, user="catalog", compare=False))
                replaced += 1
            here.fleet.await_ready("catalog")
            found = compared(here.fleet)
            assert found.comparison is not None
            events += found.events
            rows += sum(found.comparison.rows.values())
            breaches += [f"after the fault {number + 1}: {one}" for one in found.comparison.differences]
        load.join(SETTLE_SECONDS + journeys / 10)
        here.settle(trial, load)
        last = compared(here.fleet)
        assert last.comparison is not None
        breaches += [f"at the end: {one}" for one in last.comparison.differences]
    counts = {
        "comparisons": rounds + 1,
        "replacements": replaced,
        **here.verdict.counts,
        "events folded again": events + last.events,
        "rows compared": rows + sum(last.comparison.rows.values()),
        "differences": len(breaches),
    }
    return Evidence(counts, [*here.verdict.breaches, *breaches])


PROOFS = (Proof("G25", "a catalog rebuilt from the log equals the live one", prove_rebuilt_equals_live),)
