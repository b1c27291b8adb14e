"""Restarts of the database, and commits whose answer is lost: nothing of what was promised is lost or done twice."""

import time

from sqlalchemy import make_url

from tests.faults.proxy import Proxy, Towards
from tests.faults.scribing import Books, Load, Scribe, fresh_bus, judge, until
from tests.faults.trials import POSTGRESQL, Evidence, Proof, Trial


def prove_restarts(trial: Trial) -> Evidence:
    """Stop PostgreSQL as a crash would and start it again, under load."""
    postgres, restarts = trial.postgres, trial.count(3, 12, 200)
    assert postgres is not None
    url = postgres.database("restarts")
    slowest = 0.0
    bus = fresh_bus(trial.scratch / "nats")
    try:
        with Scribe(trial.scratch / "scribe.log", bus.url, url) as scribe, Books(url) as books:
            with Load(lambda: scribe, bus) as load:
                for number in range(restarts):
                    time.sleep(trial.dice.uniform(0.1, 1.0))
                    postgres.stop("immediate")
                    time.sleep(trial.dice.uniform(0.0, 0.5))
                    postgres.start()
                    began, before = time.monotonic(), len(load.told)
                    until("the door takes notes again", lambda before=before: len(load.told) > before)  # type: ignore[misc]
                    slowest = max(slowest, time.monotonic() - began)
                    if number % 20 == 19:
                        trial.say(f"{number + 1} restarts, {len(load.told)} notes")
            counts, breaches = judge(load, books, bus)
    finally:
        bus.stop()
    return Evidence({"restarts": restarts} | counts, breaches, {"slowest recovery": f"{slowest:.1f} s"})


def prove_cut_commits(trial: Trial) -> Evidence:
    """Cut the connection in the middle of COMMIT: on the way there, or on the way back, which leaves it unknown."""
    postgres, cuts = trial.postgres, trial.count(20, 150, 2000)
    assert postgres is not None
    url = postgres.database("commits")
    bus = fresh_bus(trial.scratch / "nats")
    unknown = 0
    try:
        with Proxy(postgres.port) as proxy, Books(url) as books:
            through = make_url(url).set(port=proxy.port).render_as_string(hide_password=False)
            with Scribe(trial.scratch / "scribe.log", bus.url, through) as scribe:
                with Load(lambda: scribe, bus, pause_seconds=0.002) as load:
                    for number in range(cuts):
                        towards = trial.dice.choice([Towards.CLIENT, Towards.CLIENT, Towards.SERVER])
                        unknown += towards is Towards.CLIENT
                        proxy.cut_at(b"COMMIT", towards)
                        until("the cut happened", lambda: not proxy.planned)
                        time.sleep(trial.dice.uniform(0.0, 0.2))
                        if number % 100 == 99:
                            trial.say(f"{number + 1} cuts, {len(load.told)} notes")
                counts, breaches = judge(load, books, bus)
    finally:
        bus.stop()
    return Evidence({"cuts": cuts, "answers to COMMIT lost": unknown} | counts, breaches)


PROOFS = (
    Proof("G12", "database restarts lose and repeat nothing", prove_restarts, (POSTGRESQL,)),
    Proof("G12b", "a commit whose answer is lost happens once", prove_cut_commits, (POSTGRESQL,)),
)
