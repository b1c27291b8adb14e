"""An instance that is frozen, overtaken and woken: what it still wants to write is refused."""

import signal
import threading
import time
from contextlib import ExitStack

from tests.faults.scribing import Books, Load, Scribe, fresh_bus, judge, until
from tests.faults.trials import POSTGRESQL, Evidence, Proof, Trial

HOLDERS = "FROM pg_locks WHERE locktype = 'advisory' AND granted"
EXIT_FENCED = 75


def prove_fencing(trial: Trial) -> Evidence:
    """Freeze the instance that writes, let another take over, wake the first: round by round, they swap places.

    Half of the freezes are in the middle of a transaction. The connection of the frozen one is ended by an operator,
    or by PostgreSQL when it has said nothing for 15 s.
    """
    postgres, rounds = trial.postgres, trial.count(1, 3, 40)
    assert postgres is not None
    url = postgres.database("instances")
    bus = fresh_bus(trial.scratch / "nats")
    scribes = [Scribe(trial.scratch / f"scribe{number}.log", bus.url, url) for number in range(2)]
    refused, probes, breaches, frozen = 0, 0, list[str](), 0.0
    active = [scribes[0]]
    try:
        scribes[0].failpoint = f"commit.before@{trial.dice.randint(50, 150)}=freeze"
        with Books(url) as books, ExitStack() as stack:
            stack.enter_context(scribes[0])
            stack.callback(scribes[1].end)
            with Load(lambda: active[0], bus, answer_seconds=3.0) as load:
                for number in range(rounds):
                    old, new = scribes[number % 2], scribes[(number + 1) % 2]
                    if number % 2:
                        time.sleep(trial.dice.uniform(0.2, 1.0))
                        old.signal(signal.SIGSTOP)
                    else:
                        until("the instance froze in a transaction", old.is_frozen)
                    began = time.monotonic()
                    if number % 4 < 2:
                        books.column(f"SELECT pg_terminate_backend(pid) {HOLDERS}")
                    new.failpoint = ""
                    if number + 1 < rounds and (number + 1) % 2 == 0:
                        new.failpoint = f"commit.before@{trial.dice.randint(100, 300)}=freeze"
                    until("the other has taken over", lambda new=new: _started(new))  # type: ignore[misc]
                    active[0], before = new, len(load.told)
                    until("the other takes notes", lambda before=before: len(load.told) > before)  # type: ignore[misc]
                    time.sleep(max(0.0, trial.dice.uniform(5, trial.count(6, 20, 60)) - (time.monotonic() - began)))
                    frozen = max(frozen, time.monotonic() - began)
                    answers: list[int] = []
                    asking = [
                        threading.Thread(target=_probe, args=(old, f"woken-{number}-{one}", answers))
                        for one in range(5)
                    ]
                    for thread in asking:
                        thread.start()
                    old.signal(signal.SIGCONT)
                    code = until("the woken one has ended", lambda old=old: old.ended)  # type: ignore[misc]
                    for thread in asking:
                        thread.join()
                    probes += len(answers)
                    refused += sum(answer != 202 for answer in answers)
                    if code != EXIT_FENCED:
                        breaches.append(f"round {number}: the woken one ended with {code}")
                    trial.say(f"round {number + 1}: frozen {time.monotonic() - began:.0f} s, answers {answers}")
            counts, broken = judge(load, books, bus)
    finally:
        bus.stop()
    if refused != probes:
        breaches.append(f"{probes - refused} of {probes} writes of a woken instance were taken")
    return Evidence(
        {"freezes": rounds, "writes of the woken": probes, "refused": refused} | counts,
        breaches + broken,
        {"longest freeze": f"{frozen:.0f} s"},
    )


def _started(scribe: Scribe) -> bool:
    """Start it, again and again while another has the right to write, as a supervisor does."""
    if not scribe.running:
        scribe.start()
    return scribe.status("GET", "/health/ready", seconds=2) == 200


def _probe(scribe: Scribe, key: str, answers: list[int]) -> None:
    answers.append(scribe.status("POST", f"/notes/{key}", b"", 30.0))


PROOFS = (Proof("G9c", "an instance that was overtaken writes nothing", prove_fencing, (POSTGRESQL,)),)
