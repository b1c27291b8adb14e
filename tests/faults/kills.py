"""Kills: any service and the bus, by SIGKILL and by SIGTERM, in the middle of requests of every kind."""

import time

from entresol_eventing.permissions import SERVICES

from tests.faults.load import Journey
from tests.faults.storms import Fault, scene, storm
from tests.faults.trials import SQLITE, Evidence, Proof, Scale, Trial
from tests.fleet import Fleet

GRACE_SECONDS = 15.0
"""What a service may take to end: its own grace time, and the door's for answers that are under way."""


def kill_anything(trial: Trial) -> Fault:
    """Each service and the bus once, then any of them; some while they are still starting."""
    victims = [*SERVICES, "bus"]

    def kill(fleet: Fleet, number: int) -> str:
        victim = victims[number] if number < len(victims) else trial.dice.choice(victims)
        fleet.kill(victim)
        time.sleep(trial.dice.uniform(0.0, 0.1))
        fleet.start_again(victim)
        return "kills"

    return kill


def prove_requests_end_once(trial: Trial) -> Evidence:
    """Kill any service or the bus, all over the load."""
    share = 1 if trial.database == SQLITE or trial.scale == Scale.LONG else 2  # PostgreSQL takes about twice as long
    journeys, kills = trial.count(120, 1000, 50_000) // share, trial.count(24, 200, 3000) // share
    return storm(trial, journeys, kills, kill_anything(trial))


def prove_waiting_requests_survive(trial: Trial) -> Evidence:
    """A request waits for people; each service and the bus is killed meanwhile, then people answer."""
    victims = [*SERVICES, "bus"] * trial.count(1, 4, 40)
    with scene(trial) as here, here.load(trial, 0) as load:
        for number, victim in enumerate(victims):
            request = load.submit(number, Journey.GRANTED)
            approval = load.await_approval(request)
            here.fleet.kill(victim)
            here.fleet.start_again(victim)
            load.answer(request, approval, "granted")
            load.await_end(request)
        here.settle(trial, load)
    return Evidence({"kills": len(victims), **here.verdict.counts}, here.verdict.breaches)


def prove_bus_kills_lose_nothing(trial: Trial) -> Evidence:
    """Kill the bus, all over the load; every third time leave it away for a while."""

    def kill(fleet: Fleet, number: int) -> str:
        fleet.kill("bus")
        time.sleep(trial.dice.uniform(0.2, 0.6) if number % 3 == 0 else 0.0)
        fleet.start_again("bus")
        return "bus kills"

    return storm(trial, trial.count(60, 300, 5000), trial.count(8, 50, 500), kill)


def prove_orderly_ends_lose_nothing(trial: Trial) -> Evidence:
    """End services by SIGTERM, all over the load: each with status 0, within its grace."""
    slowest = 0.0
    breaches = []

    def end(fleet: Fleet, number: int) -> str:
        nonlocal slowest
        victim = SERVICES[number] if number < len(SERVICES) else trial.dice.choice(SERVICES)
        fleet.await_ready(victim)
        began = time.monotonic()
        fleet.terminate(victim)
        status = fleet.await_end(victim, 4 * GRACE_SECONDS)
        took = time.monotonic() - began
        slowest = max(slowest, took)
        if status or took > GRACE_SECONDS:
            breaches.append(f"{victim} ended with {status} after {took:.1f} s")
        fleet.start_again(victim)
        return "ends"

    evidence = storm(trial, trial.count(60, 300, 5000), trial.count(8, 50, 500), end, most_pause_seconds=0.1)
    evidence.breaches += breaches
    evidence.figures["slowest end"] = f"{slowest:.1f} s"
    return evidence


PROOFS = (
    Proof("G1", "an accepted request ends exactly once, whatever is killed", prove_requests_end_once),
    Proof("G1b", "a request that waits for people survives every kill", prove_waiting_requests_survive),
    Proof("G3", "no accepted event is lost when the bus is killed", prove_bus_kills_lose_nothing),
    Proof("G21", "SIGTERM loses nothing and ends within its grace", prove_orderly_ends_lose_nothing),
)
