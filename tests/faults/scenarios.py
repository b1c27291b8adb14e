"""Scenarios on the whole platform: a small load, one kind of fault at a known place, and then the judge.

Each is played twice: by services that have a bug, which it has to show, and by services that have none.
"""

import asyncio
import json
import time
import urllib.error
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import nats
from entresol_eventing.permissions import EVENTS, SERVICES

from tests.faults.cancellations import offering as slow
from tests.faults.crashes import submit
from tests.faults.gates import Gated, gates
from tests.faults.load import Journey, Load
from tests.faults.storms import Scene, scene
from tests.faults.trials import Trial

JOURNEYS = 60
WAIT_SECONDS = 60.0
QUIET_SECONDS = 2.0
"""How long nothing happens before a platform with a bug is taken to be at its end."""
DONE_QUIET_SECONDS = 0.5
"""The same, when every request has ended."""
EXPIRES_SECONDS = 2


@dataclass(slots=True)
class Stage:
    """One scenario being played."""

    here: Scene
    load: Load
    planted: Mapping[str, str]
    """Bugs by service."""
    released: int = 0
    breaches: list[str] = field(default_factory=list)
    position: int = -1
    """Of the log, when it was looked at last."""
    grown_at: float = 0.0

    def restart(self, service: str, failpoint: str = "") -> None:
        """Kill and start; a service that has a bug has it from here on."""
        self.here.fleet.planted = dict(self.planted)
        self.here.fleet.kill(service)
        self.here.fleet.start(service, failpoint=failpoint)

    def release(self, journeys: int) -> None:
        self.released += journeys
        self.load.release(self.released)

    def ask(self, offering: str, name: str, expects: str, **inputs: Any) -> str:
        return submit(self.load, offering, name, inputs, expects=[expects])

    def await_position(self, position: int) -> None:
        """Return when the log has come so far, or the time is over."""
        deadline = time.monotonic() + WAIT_SECONDS
        while self.here.dump.catch_up() < position and time.monotonic() < deadline:
            time.sleep(0.02)

    def await_quiet(self) -> None:
        """Return when nothing happens any more, or every request has ended and nothing follows."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            self.here.fleet.revive()
            quiet = self.quiet_seconds()
            done = self.load.finished >= self.released and not self.load.accepted - self.here.dump.completed
            if quiet > (DONE_QUIET_SECONDS if done else QUIET_SECONDS):
                return
            time.sleep(0.1)

    def quiet_seconds(self) -> float:
        """How long the log has been as long as it is while every service was there to say more."""
        position = self.here.dump.catch_up()
        if position != self.position or not all(map(self._is_ready, SERVICES)):
            self.position, self.grown_at = position, time.monotonic()
        return time.monotonic() - self.grown_at

    def _is_ready(self, service: str) -> bool:
        try:
            self.here.fleet.call(service, "GET", "/health/ready")
        except urllib.error.HTTPError as refused:
            refused.close()
            return False
        except OSError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Scenario:
    play: Callable[[Stage], None]
    struck: Sequence[str]
    """The services that are started anew when it begins."""
    documents: Sequence[Mapping[str, Any]] = ()
    kind: type[Load] = Load


def play(trial: Trial, scenario: Scenario, planted: Mapping[str, str]) -> list[str]:
    """Everything that the judge finds afterwards, and what the scenario itself could not bring about."""
    with scene(trial, SETTINGS, scenario.documents) as here, here.load(trial, JOURNEYS, scenario.kind) as load:
        stage = Stage(here, load, planted)
        scenario.play(stage)
        if planted:
            stage.await_quiet()
        else:
            load.await_finished(stage.released, WAIT_SECONDS)
            here.settle(trial, load, WAIT_SECONDS)
    return [*stage.breaches, *here.verdict.breaches]


SETTINGS = {
    "ENTRESOL_PROVISIONING_RETRY_SECONDS": "0.1",
    "ENTRESOL_NOTIFICATION_FIRST_RETRY_SECONDS": "0.1",
}


def crashing(points: Mapping[str, Sequence[str]]) -> Scenario:
    """Each service crashes at its points, one after the other, while the load goes on."""

    def tour(stage: Stage) -> None:
        fleet = stage.here.fleet
        left = {service: deque(ways) for service, ways in points.items()}
        for service, ways in left.items():
            stage.restart(service, f"{ways.popleft()}=crash")
        deadline = time.monotonic() + WAIT_SECONDS
        while left and time.monotonic() < deadline:
            if stage.load.finished >= stage.released - 4 and stage.released < JOURNEYS:
                stage.release(4)
            if stage.planted and stage.quiet_seconds() > QUIET_SECONDS:
                return  # the bug has brought everything to a stop
            for service in [one for one in left if not fleet.alive(one)]:
                if left[service]:
                    stage.restart(service, f"{left[service].popleft()}=crash")
                else:
                    stage.restart(service)
                    del left[service]
            time.sleep(0.02)
        stage.breaches += [f"{service} never came to where it was to crash" for service in left]

    return Scenario(tour, list(points))


def _plain(stage: Stage) -> None:
    for service in ("intake", "policy", "provisioning"):
        stage.restart(service)
    stage.release(20)


def _unknown(stage: Stage) -> None:
    """A transaction is committed, and whoever wrote it is told that it may not be; at each of a request's in turn."""
    for visit in range(4, 8):
        stage.restart("provisioning", f"commit.after@{visit}=fail")
        for number in range(2):
            request = stage.load.submit(10 * visit + number, Journey.MADE)
            stage.load.await_end(request, WAIT_SECONDS)


def _outage(stage: Stage) -> None:
    fleet = stage.here.fleet
    stage.restart("intake")
    fleet.await_ready("intake")
    fleet.kill("bus")
    for number in range(5):
        stage.load.submit(number, Journey.MADE)
    fleet.start_again("bus")


def _backlog(stage: Stage) -> None:
    """The bus is away while requests are taken, and intake is restarted before it is back."""
    fleet = stage.here.fleet
    fleet.kill("bus")
    for number in range(8):
        stage.load.submit(number, Journey.MADE)
    stage.restart("intake")
    stage.load.submit(8, Journey.MADE)
    fleet.start_again("bus")


def _copies(stage: Stage) -> None:
    """Everything that is on the log comes once more."""
    stage.restart("policy")
    for number in range(4):
        stage.load.await_end(stage.load.submit(number, Journey.MADE), WAIT_SECONDS)
    stage.here.fleet.await_ready("policy")
    stage.here.dump.catch_up()
    asyncio.run(_repeat(stage.here))


async def _repeat(here: Scene) -> None:
    server = here.fleet.nats
    connection = await nats.connect(server.url, user="admin", password=server.passwords["admin"])
    try:
        for line in (here.ledgers / "log.jsonl").read_text(encoding="utf-8").splitlines():
            one = json.loads(line)
            await connection.jetstream(timeout=30).publish(one["log_subject"], one["body"].encode(), stream=EVENTS)
    finally:
        await connection.close()


def _absence(stage: Stage) -> None:
    """Policy, then the catalog, are away while there is something for them to read."""
    fleet = stage.here.fleet
    fleet.kill("policy")
    fleet.kill("catalog")
    before = stage.here.dump.catch_up()
    for number in range(5):
        stage.load.submit(number, Journey.MADE)
    stage.await_position(before + 5)
    stage.restart("policy")
    if "policy" not in stage.planted:
        stage.await_position(before + 5 * 6)
    stage.restart("catalog")


def _deadlines(stage: Stage) -> None:
    """One approval is granted in time and one is not; policy is restarted while it waits."""
    load = stage.load
    stage.restart("policy")
    granted = stage.ask("quick", "granted", "succeeded", size="small")
    stage.ask("quick", "forgotten", "expired", size="small")
    expired_at = time.monotonic() + EXPIRES_SECONDS
    load.answer(granted, load.await_approval(granted, WAIT_SECONDS), "granted")
    stage.restart("policy")
    while time.monotonic() < expired_at:
        time.sleep(0.05)


def _cancellation(stage: Stage) -> None:
    """A request is cancelled while the first of its two steps runs."""
    stage.restart("provisioning")
    stage.here.fleet.await_ready("provisioning")
    request = stage.ask("slow", "long", "cancelled", size="small", seconds=2)
    deadline = time.monotonic() + WAIT_SECONDS
    while (stage.load.show(request) or {}).get("state") != "running" and time.monotonic() < deadline:
        time.sleep(0.02)
    stage.load.cancel(request)


def _gates(stage: Stage) -> None:
    """Everything is asked for before anything is carried out, and policy is restarted before people answer."""
    stage.restart("policy")
    stage.here.fleet.await_ready("policy")
    stage.here.fleet.kill("provisioning")
    before = stage.here.dump.catch_up()
    stage.release(2)
    stage.await_position(before + 2 * 17)  # each: a lock; eight requests; a verdict or the wish for a plan for each
    stage.restart("policy")
    stage.restart("provisioning")


def _quick() -> list[dict[str, Any]]:
    """An offering without steps worth the name, and a policy that gives people little time."""
    step = {"name": "nothing", "driver": "noop", "with": {}}
    offering = {"inputs": {"type": "object"}, "actions": {"create": {"steps": [step]}}}
    ask = {"from": ["group:sre"], "notSelf": False, "within": f"{EXPIRES_SECONDS}s"}
    policy = {"when": 'request.offering == "quick"', "rules": [{"approve": ask, "because": "quick"}]}
    return [
        {
            "apiVersion": "entresol.dev/v1",
            "kind": "Offering",
            "metadata": {"name": "quick", "version": "1.0.0"},
            "spec": offering,
        },
        {"apiVersion": "entresol.dev/v1", "kind": "Policy", "metadata": {"name": "quick-answer"}, "spec": policy},
    ]


SCENARIOS: Mapping[str, Scenario] = {
    "plain-load": Scenario(_plain, ("intake", "policy", "provisioning")),
    "crashes-after-commits": crashing(
        {
            "policy": [f"commit.after@{visit}" for visit in (3, 4, 5, 6)],
            "provisioning": [f"commit.after@{visit}" for visit in (5, 6, 7, 8)],
            "catalog": [f"commit.after@{visit}" for visit in (4, 5)],
        }
    ),
    "crashes-before-commits": crashing(
        {
            "intake": [f"commit.before@{visit}" for visit in (4, 5)],
            "policy": [f"commit.before@{visit}" for visit in (2, 3, 4, 5)],
        }
    ),
    "crashes-around-publishing": crashing(
        {"policy": ["publish.before@1", "publish.before@2", "publish.after@1", "publish.after@2"]}
    ),
    "crashes-around-effects": crashing(
        {"provisioning": ["effect.after@1", "effect.after@2"], "notification": ["effect.before@1", "effect.before@2"]}
    ),
    "unknown-commits": Scenario(_unknown, ("provisioning",)),
    "outage": Scenario(_outage, ("intake",)),
    "backlog-over-a-restart": Scenario(_backlog, ("intake",)),
    "copies": Scenario(_copies, ("policy",)),
    "absence": Scenario(_absence, ("policy", "catalog")),
    "deadlines-over-a-restart": Scenario(_deadlines, ("policy",), _quick()),
    "gates": Scenario(_gates, ("policy",), gates(), Gated),
    "cancellation": Scenario(_cancellation, ("provisioning",), (slow(),)),
}
