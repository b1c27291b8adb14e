"""Cancellations: a request is cancelled, or its resource deleted, in every state while a service crashes anywhere.

Each round brings requests into every state that one can be in, then asks for the end of all of them at once while
the service is about to crash. In the end everything is deleted, and the repository has to be empty.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.faults.crashes import MOST_VISITS, SETTINGS, points_of, submit
from tests.faults.load import Load
from tests.faults.storms import Scene, scene
from tests.faults.trials import Evidence, Proof, Trial
from tests.faults.writers import git

STATES: Sequence[str] = (
    *("submitted", "planning", "planned", "waiting", "locked", "shut"),
    *("queued", "running", "retrying", "succeeded"),
)
"""`planned`: people are asked about a plan. `locked` and `shut`: held by a lock, and by a window."""
WAYS: Sequence[str] = ("cancel", "delete")
REACHED_SECONDS = 60.0
ANY = ("succeeded", "failed", "cancelled")
PAST: Mapping[str, Sequence[str]] = {"running": ANY, "planning": ("waiting-for-approval",)}
"""What a request may have come to already where a state does not last."""


@dataclass(frozen=True, slots=True)
class Case:
    """A request in a state, and how its end is asked for."""

    name: str
    state: str
    way: str
    request: str

    @property
    def environment(self) -> str:
        return self.state if self.state in ("locked", "shut") else "dev"


def prove_ends_at_any_stage(trial: Trial) -> Evidence:
    """Every state × every crash point of provisioning and policy, by cancel and by delete."""
    rounds = [
        (service, point, number % MOST_VISITS.get(point, 3) + 1)
        for service in ("provisioning", "policy")
        for point in points_of(service)
        if point != "effect.running"  # these steps run no program
        for number in range(trial.count(1, 1, 20))
    ]
    trial.dice.shuffle(rounds)
    if trial.scale == 0:
        rounds = rounds[: len(rounds) // 3]
    cases: list[Case] = []
    breaches: list[str] = []
    settings = {**SETTINGS, "ENTRESOL_PROVISIONING_RETRY_SECONDS": "0.5"}
    with (
        scene(trial, settings, [offering(), *gates()]) as here,
        here.load(trial, 0) as load,
        ThreadPoolExecutor(len(STATES) * len(WAYS), thread_name_prefix="client") as clients,
    ):
        load.lock({"environment": "locked", "action": "create"})
        for number, (service, point, visit) in enumerate(rounds):
            cases += list(_round(here, load, clients, number, service, f"{point}@{visit}=crash", breaches))
            trial.say(f"{number + 1} of {len(rounds)}: {service} at {point}@{visit}")
        list(clients.map(lambda case: _clean_up(load, case), cases))
        here.settle(trial, load)
        crashed = len(rounds) - len(breaches)
        repository = here.fleet.data / "repositories" / "environments.git"
        if left := git(repository, "ls-tree", "-r", "--name-only", "main").stdout.split():
            breaches.append(f"{len(left)} files of deleted resources are left: {left[:5]}")
    counts = {"crashes": crashed, "asked to end": len(cases)}
    return Evidence({**counts, **here.verdict.counts}, [*here.verdict.breaches, *breaches])


def _round(
    here: Scene,
    load: Load,
    clients: ThreadPoolExecutor,
    number: int,
    service: str,
    failpoint: str,
    breaches: list[str],
) -> Iterator[Case]:
    fleet = here.fleet
    wanted = [(f"{state}-{way}-{number}", state, way) for state in STATES for way in WAYS]
    early = [one for one in wanted if one[1] != "submitted"]
    cases = list(clients.map(lambda one: Case(one[0], one[1], one[2], _bring_to(load, *one)), early))
    fleet.kill("policy")
    cases += [Case(one[0], one[1], one[2], _ask(load, one[0], {})) for one in wanted if one[1] == "submitted"]
    if service == "provisioning":
        fleet.kill(service)
        fleet.start(service, failpoint=failpoint)
    list(clients.map(lambda case: _ask_to_end(load, case), cases))
    fleet.start("policy", failpoint=failpoint if service == "policy" else "")
    deadline = time.monotonic() + REACHED_SECONDS
    while fleet.alive(service):
        if time.monotonic() > deadline:
            breaches.append(f"{service} never came by {failpoint} in round {number}")
            fleet.kill(service)
        time.sleep(0.01)
    fleet.start(service)
    yield from cases


def _bring_to(load: Load, name: str, state: str, way: str) -> str:
    """Ask for a request and wait until it is in the state."""
    if state in ("waiting", "planned"):
        request = _ask(load, name, {"asks": state == "waiting", "plans": state == "planned"})
        load.await_approval(request)
    elif state in ("locked", "shut"):
        request = _ask(load, name, {}, state)
        _await_state(load, request, "held")
    elif state == "succeeded":
        request = _ask(load, name, {})
        load.await_end(request)
    elif state == "retrying":
        request = _ask(load, name, {"fail": "not yet"})
        _await_state(load, request, "running")
    else:
        request = _ask(load, name, {"seconds": 2})
        _await_state(load, request, "running")
        if state in ("queued", "planning"):
            request = submit(load, "slow", name, {"plans": state == "planning"}, "update", expects=ANY)
        if state == "planning":  # in its turn, when the resource is there
            _await_state(load, request, "planning")
    return request


def _await_state(load: Load, request: str, state: str) -> None:
    deadline = time.monotonic() + REACHED_SECONDS
    while (load.show(request) or {}).get("state") not in (state, *PAST.get(state, ())):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{request} is never {state}")
        time.sleep(0.05)


def _ask(load: Load, name: str, inputs: dict[str, Any], environment: str = "dev") -> str:
    return submit(load, "slow", name, {"size": "small", **inputs}, expects=ANY, environment=environment)


def _ask_to_end(load: Load, case: Case) -> None:
    if case.way == "cancel":
        load.cancel(case.request)
    else:
        submit(load, "slow", case.name, {}, "delete", environment=case.environment)


def _clean_up(load: Load, case: Case) -> None:
    """Whatever became of it: cancelled, if it waits for people, and then deleted, which may be for the second time."""
    load.cancel(case.request)
    load.await_end(case.request)
    key = f"{case.name}-at-last"
    load.await_end(submit(load, "slow", case.name, {}, "delete", key=key, environment=case.environment))


def offering() -> dict[str, Any]:
    """Commits a file, then takes its time, or fails in a passing way."""
    commit = {
        "name": "commit",
        "driver": "gitops",
        "with": {"destination": "environments", "files": {"slow.yaml": "name: {{ request.name | tojson }}\n"}},
    }
    dawdle = {
        "name": "dawdle",
        "driver": "noop",
        "needs": ["commit"],
        "with": {"seconds": "${inputs.seconds}", "fail": "${inputs.fail}", "retryable": True},
    }
    inputs = {
        "type": "object",
        "properties": {
            "size": {"type": "string"},
            "asks": {"type": "boolean", "default": False},
            "plans": {"type": "boolean", "default": False},
            "seconds": {"type": "number", "default": 0},
            "fail": {"type": "string", "default": ""},
        },
    }
    steps = {"steps": [commit, dawdle]}
    return {
        "apiVersion": "entresol.dev/v1",
        "kind": "Offering",
        "metadata": {"name": "slow", "version": "1.0.0"},
        "spec": {"inputs": inputs, "actions": {"create": steps, "update": steps}},
    }


def gates() -> list[dict[str, Any]]:
    """Two policies that ask people, one of them about the plan; and a window that opens in half a year."""
    rules = [{"approve": {"from": ["group:sre"], "notSelf": False}, "because": "asked for"}]
    opens = datetime.now(UTC) + timedelta(days=180)
    slow = 'request.offering == "slow"'
    documents: list[tuple[str, str, dict[str, Any]]] = [
        ("Policy", "asked-for", {"when": f"{slow} && has(request.inputs.asks) && request.inputs.asks", "rules": rules}),
        (
            "Policy",
            "seen-first",
            {"when": f"{slow} && has(request.inputs.plans) && request.inputs.plans", "plan": True, "rules": rules},
        ),
        (
            "Window",
            "in-half-a-year",
            {
                "when": 'request.environment == "shut" && request.action == "create"',
                "effect": "allow",
                "cron": f"0 0 {opens.day} {opens.month} *",
                "duration": "1h",
                "because": "not before",
            },
        ),
    ]
    return [
        {"apiVersion": "entresol.dev/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        for kind, name, spec in documents
    ]


PROOFS = (Proof("G23", "cancel and delete end at any stage, wherever a service crashes", prove_ends_at_any_stage),)
