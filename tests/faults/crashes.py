"""Crash points: every named place where a process may die or fail, in every service that comes by.

Each service goes through its own list, all five at once: it is started with the next point armed, the load goes on
until it has crashed or failed exactly there, and it is started again with the one after. A point that is never
reached is a breach: its proof would prove nothing.
"""

import json
import shutil
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from entresol_eventing.failpoints import POINTS
from entresol_eventing.permissions import SERVICES

from tests.faults.load import Journey, Load
from tests.faults.storms import Scene, scene
from tests.faults.trials import Evidence, Proof, Trial
from tests.faults.writers import bare, git
from tests.fleet import Fleet

EFFECTS: Mapping[str, Sequence[str]] = {
    "provisioning": ("effect.before", "effect.middle", "effect.running", "effect.after"),
    "notification": ("effect.before", "effect.after"),
}
"""Who touches the world, and where; the runtime's points are every service's."""
MOST_VISITS: Mapping[str, int] = {"consumer.middle": 1}
"""Points that an undisturbed service comes by only so often."""
REACHED_SECONDS = 45.0
OUTSTANDING = 16
"""Requests that may be under way while more are asked for."""
SETTINGS = {
    # Small batches: acknowledgements come with every few events.
    **{f"ENTRESOL_{service.upper()}_BATCH_SIZE": "4" for service in SERVICES},
    "ENTRESOL_PROVISIONING_RETRY_SECONDS": "0.1",
    "ENTRESOL_NOTIFICATION_FIRST_RETRY_SECONDS": "0.1",
}


def points_of(service: str) -> list[str]:
    return [point for point in POINTS if not point.startswith("effect.") or point in EFFECTS.get(service, ())]


@dataclass(slots=True)
class Visit:
    """What one service is to go through."""

    point: str
    visit: int
    action: str
    began_at: float = 0.0
    seen: int = 0
    """Failpoints that the service's log named when it was armed."""

    def __str__(self) -> str:
        return f"{self.point}@{self.visit}={self.action}"


@dataclass(slots=True)
class Tour:
    """One service's list of visits, worked off while the load goes on."""

    fleet: Fleet
    service: str
    left: deque[Visit]
    current: Visit | None = None
    reached: Counter[str] = field(default_factory=Counter)
    breaches: list[str] = field(default_factory=list)

    def step(self) -> bool:
        """Look once; return whether anything is left to do."""
        if self.current is None:
            if self.left:
                self._next()
            return self.current is not None
        if not self.fleet.alive(self.service):
            status = self.fleet.await_end(self.service, 1)
            if status != -signal.SIGKILL or self.current.action != "crash":
                self.breaches.append(f"{self.service} ended with {status} on the way to {self.current}")
            self._done()
        elif self.current.action == "fail" and self._named() > self.current.seen:
            self._done()
        elif time.monotonic() - self.current.began_at > REACHED_SECONDS:
            self.breaches.append(f"{self.service} never came by {self.current}")
            self._next()
        return self.current is not None

    def _done(self) -> None:
        assert self.current is not None
        self.reached[self.current.action] += 1
        self._next()

    def _next(self) -> None:
        self.current = self.left.popleft() if self.left else None
        self.fleet.kill(self.service)
        if self.current is None:
            self.fleet.start(self.service)
            return
        self.current.began_at, self.current.seen = time.monotonic(), self._named()
        self.fleet.start(self.service, failpoint=str(self.current))

    def _named(self) -> int:
        return (self.fleet.data / f"{self.service}.log").read_text(encoding="utf-8").count("a failpoint was reached")


def prove_effects_happen_once(trial: Trial) -> Evidence:
    """Visit every failpoint of every service by a crash and by a failure, while effects of every kind are asked for."""
    elsewhere = trial.scratch / "elsewhere.git"
    bare(elsewhere, empty=True)
    ledger = trial.scratch / "terraform.ledger"
    with (
        scene(trial, SETTINGS, offerings(elsewhere, ledger), [elsewhere]) as here,
        here.load(trial, 0) as load,
    ):
        tours = [Tour(here.fleet, service, _visits(trial, service)) for service in SERVICES]
        whole = sum(len(tour.left) for tour in tours)
        asking = Asking(load)
        with asking:
            shown = looked = time.monotonic()
            while sum(tour.step() for tour in tours):
                if time.monotonic() - looked > 0.3:
                    here.dump.catch_up()
                    asking.outstanding = len(load.accepted - here.dump.completed)
                    looked = time.monotonic()
                time.sleep(0.01)
                if time.monotonic() - shown > 10:
                    shown = time.monotonic()
                    left = sum(len(tour.left) for tour in tours)
                    waits = ", ".join(f"{tour.service} for {tour.current}" for tour in tours if tour.current)
                    trial.say(f"{whole - left} of {whole} visits, {len(load.accepted)} requests; waiting: {waits}")
        here.settle(trial, load)
    reached = sum((tour.reached for tour in tours), Counter())
    breaches = [*here.verdict.breaches, *asking.errors, *(one for tour in tours for one in tour.breaches)]
    breaches += _still_locked(here)
    breaches += _terraformed(here, ledger, asking)
    counts = {"crashes": reached["crash"], "failures": reached["fail"], "terraform effects": len(asking.built)}
    return Evidence({**counts, **here.verdict.counts}, breaches)


def _visits(trial: Trial, service: str) -> deque[Visit]:
    times = trial.count(1, 3, 50)
    visits = [
        Visit(point, number % min(times, MOST_VISITS.get(point, 3)) + 1, action)
        for point in points_of(service)
        for number in range(times)
        for action in (("crash", "fail") if trial.scale else ("crash",))
    ]
    trial.dice.shuffle(visits)
    return deque(visits)


class Asking:
    """A client that asks on and on for effects of every kind, never for much at a time."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(one,), name="asking") for one in range(4)]
        self.outstanding = 0
        self.built: dict[str, str] = {}
        """Terraform's names, by their requests."""
        self.errors: list[str] = []

    def __enter__(self) -> "Asking":
        for one in self._threads:
            one.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for one in self._threads:
            one.join()

    def _run(self, client: int) -> None:
        number = client
        try:
            while not self._stop.is_set():
                if self.outstanding < OUTSTANDING:
                    self._ask(number)
                    number += len(self._threads)
                self._stop.wait(0.02)
        except Exception as error:
            self.errors.append(f"client {client}: {type(error).__name__}: {error}")

    def _ask(self, number: int) -> None:
        turn = number % 10
        if turn == 3:
            self._load.submit(number, Journey.DENIED)
        elif turn == 6:
            self._load.cancel(self._load.submit(number, Journey.CANCELLED))
        elif turn in (1, 4, 8):
            submit(self._load, "pushed", f"pushed-{number}", {"size": "small"})
        elif turn == 9 and shutil.which("terraform") is not None:
            name = f"built-{number}"
            self.built[submit(self._load, "built", name, {"size": "small"})] = name
        elif turn == 7:
            request = self._load.submit(number, Journey.MADE)
            self._load.await_end(request)
            self._load.submit(number, Journey.DELETED, "delete")
        else:
            self._load.submit(number, Journey.MADE)


def submit(
    load: Load,
    offering: str,
    name: str,
    inputs: Mapping[str, Any],
    action: str = "create",
    *,
    expects: Sequence[str] = ("succeeded",),
    key: str = "",
    environment: str = "dev",
) -> str:
    """Ask for an action on one thing of an offering, until it is accepted."""
    place = ("shop", environment, name)
    given = None if action == "delete" else inputs
    return load.ask(key or f"{name}-{action}", offering, place, given, action, expects, file=False)


def offerings(elsewhere: Path, ledger: Path) -> list[dict[str, Any]]:
    """What is pushed to a repository elsewhere, and what terraform builds, with a line in a ledger for each effect."""
    module = f"""
variable "name" {{ type = string }}
resource "terraform_data" "thing" {{
  input = var.name
  provisioner "local-exec" {{
    command = "echo ${{var.name}} >> {ledger}"
  }}
}}
"""
    push = {"destination": "elsewhere", "files": {"thing.yaml": "name: {{ request.name | tojson }}\n"}}
    build = {"files": {"main.tf": module}, "variables": {"name": "${request.name}"}}
    steps = {
        "pushed": {"name": "push", "driver": "gitops", "with": push},
        "built": {"name": "build", "driver": "terraform", "with": build, "retries": 10},
    }
    destination = {
        "apiVersion": "entresol.dev/v1",
        "kind": "Destination",
        "metadata": {"name": "elsewhere"},
        "spec": {"repository": f"file://{elsewhere}"},
    }
    return [
        destination,
        *(
            {
                "apiVersion": "entresol.dev/v1",
                "kind": "Offering",
                "metadata": {"name": name, "version": "1.0.0"},
                "spec": {"inputs": {"type": "object"}, "actions": {"create": {"steps": [step]}}},
            }
            for name, step in steps.items()
        ),
    ]


def _terraformed(here: Scene, ledger: Path, asking: Asking) -> Iterator[str]:
    """Each thing was built exactly once, by the ledger and by terraform's own state."""
    effects = Counter(ledger.read_text(encoding="utf-8").split() if ledger.exists() else ())
    for request, name in asking.built.items():
        if effects[name] != 1:
            yield f"{name} of {request} was built {effects[name]} times"
        states = list((here.fleet.data / "workspaces").glob(f"**/{name}/**/terraform.tfstate"))
        known = [one for state in states for one in json.loads(state.read_text(encoding="utf-8"))["resources"]]
        if len(known) != 1:
            yield f"terraform's state of {name} has {len(known)} resources"


def _still_locked(here: Scene) -> Iterator[str]:
    for repository in [*(here.fleet.data / "repositories").iterdir(), *here.fleet.data.glob("provisioning/mirrors/*")]:
        for lock in repository.rglob("*.lock"):
            yield f"{lock} is left"
        if (found := git(repository, "fsck", "--strict", "--no-dangling", check=False)).returncode:
            yield f"fsck of {repository.name} says {found.stderr[:500]}"
    for workspace in (here.fleet.data / "workspaces").rglob("*.lock.info"):
        yield f"{workspace} is left"


PROOFS = (
    Proof("G2", "an effect happens at most once, wherever a service crashes or fails", prove_effects_happen_once),
)
