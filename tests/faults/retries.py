"""G7: retries are bounded, backed off and jittered; attempts are counted exactly, whoever is killed between them.

Attempts are counted twice: in SQL by the service, and by the handler in a ledger outside of it. A kill is aimed between
attempts: the process is frozen first, and goes on if the frozen moment shows an attempt that is not recorded yet.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nats
from entresol_contracts.events import MessageQuarantined, RedriveRequested
from entresol_eventing.envelope import decode, encode
from entresol_eventing.nats_server import NatsServer
from entresol_eventing.store import Database, outbox, parked
from entresol_eventing.testing import event, nats_server
from sqlalchemy import Row, select
from sqlalchemy.exc import DBAPIError

from tests.faults.brittle import NAME, SUBJECT, Brittle, environment, merged
from tests.faults.trials import Evidence, Proof, Trial

ATTEMPTS = 3
WAIT_SECONDS = 300.0
SLACK_SECONDS = 0.005
"""Between the handler's look at the clock and the service's; the wait is counted from the later one."""


class Victim:
    """The brittle service as a process, and a look into its database from outside."""

    def __init__(self, trial: Trial, nats_url: str) -> None:
        self.brittle = Brittle(trial.scratch / "brittle")
        url = trial.postgres.database("retries") if trial.postgres else f"sqlite:///{trial.scratch / 'retries.db'}"
        self._environment = environment(self.brittle.broken.parent, nats_url, url, max_attempts=ATTEMPTS)
        self._log = trial.scratch / "victim.log"
        self.database = Database(url)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        with self._log.open("ab") as output:
            command = [sys.executable, "-m", "tests.faults.brittle"]
            self._process = subprocess.Popen(
                command,
                env=self._environment,
                cwd=Path(__file__).parents[2],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        self.kill()
        self.database.close()

    def rows(self) -> list[Row[Any]]:
        """What is parked; nothing while the service is still making its tables."""
        columns = (parked.c.state, parked.c.attempts, parked.c.body, parked.c.retry_at, parked.c.parked_at)
        with contextlib.suppress(DBAPIError):
            return self.database.read(lambda session: list(session.execute(select(*columns))))
        return []

    def kill_between_attempts(self) -> bool:
        """Return whether it was killed; False if it was frozen within an attempt and goes on."""
        os.kill(self.pid, signal.SIGSTOP)
        recorded = sum(row.attempts for row in self.rows())
        begun = sum(map(len, self.brittle.attempts().values()))
        if recorded != begun:
            os.kill(self.pid, signal.SIGCONT)
            return False
        self.kill()
        return True


def prove(trial: Trial) -> Evidence:
    number, kills, rounds = trial.count(30, 100, 200), trial.count(3, 4, 4), trial.count(1, 3, 50)
    evidence = Evidence(counts={"messages": number * rounds, "attempts": 0, "kills between": 0})
    with nats_server(trial.scratch / "nats") as server:
        victim = Victim(trial, server.url)
        victim.brittle.break_all("broken")
        try:
            victim.start()
            for turn in range(rounds):
                _round(trial, victim, server, number, kills, evidence, range(turn * number, (turn + 1) * number))
                trial.say(f"round {turn + 1} of {rounds}: {evidence.counts['attempts']} attempts")
            _again(victim, server, evidence)
        finally:
            victim.close()
    return evidence


def _round(
    trial: Trial, victim: Victim, server: NatsServer, number: int, kills: int, evidence: Evidence, wanted: range
) -> None:
    """Let messages fail until they are dead, and kill the service between their attempts meanwhile."""
    asyncio.run(_publish(server, [event(merged("broken", at), partitionkey=f"key-{at}") for at in wanted]))
    done = 0
    jitter: set[int] = set()
    deadline = time.monotonic() + WAIT_SECONDS
    while len(rows := victim.rows()) < wanted.stop or any(row.state != "dead" for row in rows):
        for row in rows:
            if row.attempts == 1 and row.retry_at is not None:
                jitter.add(round((row.retry_at - row.parked_at).total_seconds() * 1000))
        if time.monotonic() > deadline:
            evidence.breaches.append(f"not all dead: {[(row.state, row.attempts) for row in rows][:5]}")
            return
        if done < kills and rows and trial.dice.random() < 0.1 and victim.kill_between_attempts():
            done += 1
            victim.start()
        time.sleep(0.05)
    evidence.counts["kills between"] += done
    _judge(victim, evidence, 1)
    if jitter and not (max(jitter) <= 1100 and min(jitter) >= 490 and len(jitter) > number // 10):
        evidence.breaches.append(f"first waits of {min(jitter)} to {max(jitter)} ms, {len(jitter)} different ones")
    evidence.figures["first waits"] = f"{min(jitter, default=0)} to {max(jitter, default=0)} ms"


def _judge(victim: Victim, evidence: Evidence, rounds: int) -> None:
    """Attempts by SQL, by the handler and by what was told are the same; none came early, twice or never."""
    ledger = victim.brittle.attempts()
    told = _told(victim)
    evidence.counts["attempts"] = rounds * sum(map(len, ledger.values()))
    for row in victim.rows():
        event_id = decode(row.body).id
        tried = ledger[event_id]
        counted = (row.attempts, len(tried), told.get(event_id))
        if counted != (ATTEMPTS, ATTEMPTS, ATTEMPTS):
            evidence.breaches.append(f"{event_id}: attempts in SQL, by the handler, told: {counted}")
        if repeated := [number for number, times in tried.items() if not rounds <= len(times) <= 2 * rounds]:
            evidence.breaches.append(f"{event_id}: attempts {repeated} were made twice, or not again")
        for failed in range(1, len(tried)) if rounds == 1 else ():
            waited = tried[failed][0] - tried[failed - 1][-1]
            if waited < 2.0 ** (failed - 1) / 2 - SLACK_SECONDS:
                evidence.breaches.append(f"{event_id}: attempt {failed + 1} came after {waited:.3f} s")


def _told(victim: Victim) -> dict[str, int]:
    """Attempts by event id, as the last notice of its death has them."""
    bodies = victim.database.read(
        lambda session: list(session.execute(select(outbox.c.body).order_by(outbox.c.position)).scalars())
    )
    notices = [decode(body).data for body in bodies]
    return {one.event_id: one.attempts for one in notices if isinstance(one, MessageQuarantined) and one.event_id}


def _again(victim: Victim, server: NatsServer, evidence: Evidence) -> None:
    """A redrive begins to count from zero, and is bounded like the first time."""
    number = len(victim.rows())
    before = _runs(victim)
    asyncio.run(
        _publish(server, [event(RedriveRequested(service=NAME, by="user:ada"))], "entresol.intake.redrive.requested.x")
    )
    _until(lambda: _runs(victim) > before, evidence)
    _until(lambda: all(row.state == "dead" for row in victim.rows()), evidence)
    _judge(victim, evidence, 2)
    evidence.counts["redriven"] = number


def _runs(victim: Victim) -> int:
    return sum(len(times) for tried in victim.brittle.attempts().values() for times in tried.values())


def _until(check: Callable[[], bool], evidence: Evidence) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not check():
        if time.monotonic() > deadline:
            evidence.breaches.append("redriven messages did not become dead letters again")
            return
        time.sleep(0.05)


async def _publish(server: NatsServer, events: list[Any], subject: str = SUBJECT) -> None:
    connection = await nats.connect(server.url)
    for one in events:
        await connection.jetstream(timeout=60).publish(subject, encode(one))
    await connection.close()


PROOFS = (Proof("G7", "retries are bounded, backed off and jittered; attempts are counted exactly", prove),)
