"""Storms: faults all over a load on the whole platform, and then the judge.

A storm is over when the judge finds nothing that could still be under way, or when it has waited long enough; what it
finds then is the evidence. The judge is a program of its own and sees only files and databases.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nats
from entresol_eventing.nats_server import NatsServer
from entresol_eventing.permissions import EVENTS

from tests.faults.documents import manifests
from tests.faults.dump import Dump
from tests.faults.load import CLIENTS, TOLD_OF, Load, Refused
from tests.faults.rebuilding import differences
from tests.faults.sink import Sink
from tests.faults.trials import Evidence, Trial
from tests.fleet import Fleet

SETTLE_SECONDS = 120.0
KEEP_UP_SECONDS = 5.0
"""How long a fault waits for the load at the most: what is struck at every turn gets nowhere, on a slow machine."""
HOPELESS = ("doubled", "disordered", "contradicted")
"""What no waiting mends; everything else may only not have happened yet."""


@dataclass(slots=True)
class Scene:
    """The platform, a receiver of notices and the ledgers of the judge."""

    fleet: Fleet
    sink: Sink
    ledgers: Path
    dump: Dump
    verdict: Evidence = field(default_factory=Evidence)

    def load(self, trial: Trial, journeys: int, kind: type[Load] = Load) -> Load:
        return kind(self.fleet, self.ledgers / "told.jsonl", journeys, trial.dice)

    def settle(self, trial: Trial, load: Load, seconds: float = SETTLE_SECONDS) -> None:
        """Wait until every accepted request has ended and the judge has nothing to say; keep its last verdict."""
        deadline = time.monotonic() + seconds + len(load.accepted) / 20
        began = time.monotonic()
        while load.accepted - self.dump.completed and time.monotonic() < deadline:
            self.fleet.revive()
            self.dump.catch_up()
            time.sleep(0.1)
            if time.monotonic() - began > 10:
                trial.say(f"{len(load.accepted - self.dump.completed)} requests have not ended yet")
                began = time.monotonic()
        while True:
            self.dump.catch_up()
            self.verdict = judge(self.ledgers)
            counts = self.verdict.counts
            hopeless = any(counts[kind] for kind in HOPELESS)
            if not self.verdict.breaches or hopeless or time.monotonic() > deadline:
                return
            trial.say(f"not settled yet: {len(self.verdict.breaches)} findings, the first {self.verdict.breaches[0]}")
            time.sleep(0.5)


@contextmanager
def scene(
    trial: Trial,
    settings: Mapping[str, str] | None = None,
    documents: Sequence[Mapping[str, Any]] = (),
    repositories: Sequence[Path] = (),
) -> Iterator[Scene]:
    """The platform with everything applied, ready; at the end it is stopped in order and judged once more.

    With further settings of its services, further manifests, and further repositories that steps write to.
    """
    ledgers = trial.scratch / "ledgers"
    ledgers.mkdir()
    with ExitStack() as stack:
        sink = stack.enter_context(Sink(ledgers / "sink.jsonl"))
        settings = {"ENTRESOL_NOTIFICATION_ALLOW_LOOPBACK": "true", **(settings or {})}
        fleet = stack.enter_context(Fleet(trial.scratch / "fleet", settings, trial.postgres))
        plan = {
            "databases": fleet.databases,
            "repositories": [str(fleet.data / "repositories" / "environments.git"), *map(str, repositories)],
            "told_of": [TOLD_OF],
        }
        (ledgers / "judge.json").write_text(json.dumps(plan), encoding="utf-8")
        asyncio.run(_shorten_memory(fleet.nats))
        fleet.call("intake", "POST", "/v1/manifests", [*manifests(sink.url), *documents])
        here = Scene(fleet, sink, ledgers, Dump(fleet.nats, ledgers / "log.jsonl"))
        yield here
        statuses = fleet.stop_services()
        here.dump.catch_up()
        here.verdict = judge(ledgers)
        here.verdict.breaches += [
            f"{name} ended with {status} at the end" for name, status in statuses.items() if status
        ]


async def _shorten_memory(server: NatsServer) -> None:
    """Let the bus forget at once which events it has, so that copies reach the log and only inboxes are left."""
    connection = await nats.connect(server.url, user="admin", password=server.passwords["admin"])
    try:
        streams = connection.jetstream(timeout=30)
        config = (await streams.stream_info(EVENTS)).config
        config.duplicate_window = 0.1
        await streams.update_stream(config)
    finally:
        await connection.close()


def judge(ledgers: Path) -> Evidence:
    """What the judge's program says."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.judge", str(ledgers)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"the judge has failed: {done.stderr[-2000:]}")
    counts, *findings = done.stdout.splitlines()
    return Evidence(json.loads(counts), findings)


Fault = Callable[[Fleet, int], str]
"""Breaks something and mends it again, the how-many-eth time; returns the word under which it is counted."""


def storm(
    trial: Trial,
    journeys: int,
    faults: int,
    fault: Fault,
    *,
    most_pause_seconds: float = 0.3,
    documents: Sequence[Mapping[str, Any]] = (),
    kind: type[Load] = Load,
) -> Evidence:
    """Spread the faults over the load, let it settle, and return the counts of both with what the judge found.

    With further manifests, and another kind of load.
    """
    struck: dict[str, int] = {}
    with scene(trial, documents=documents) as here, here.load(trial, journeys, kind) as load:
        shown = time.monotonic()
        for number in range(faults):
            released = 1 + journeys * (number + 1) // faults
            load.release(released)
            time.sleep(trial.dice.uniform(0.02, most_pause_seconds))
            load.await_finished(released - 3 * CLIENTS, KEEP_UP_SECONDS)
            for word in (fault(here.fleet, number), *("revivals" for _ in here.fleet.revive())):
                struck[word] = struck.get(word, 0) + 1
            if time.monotonic() - shown > 10:
                shown = time.monotonic()
                trial.say(f"{number + 1} of {faults} faults, {load.finished} of {journeys} journeys")
        trial.say(f"all {faults} faults are over, {load.finished} of {journeys} journeys")
        breaches = []
        try:
            load.join(SETTLE_SECONDS + journeys / 10)
        except (TimeoutError, Refused) as error:
            breaches.append(f"a client has given up: {error}")
        here.settle(trial, load)
        breaches += differences(here.fleet)
    return Evidence({**struck, **here.verdict.counts}, breaches + here.verdict.breaches)
