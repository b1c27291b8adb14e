"""Kill any service or the bus in the middle of requests and start it again: every request still ends, once.

The judge is outside the platform: what clients were told, the commits in a bare repository, and the log itself.
"""

import contextlib
import http.client
import json
import os
import random
import subprocess
import threading
import time
import urllib.error
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from entresol_eventing.permissions import SERVICES

from tests.fleet import Fleet

REQUESTS = int(os.environ.get("ENTRESOL_FAULTS_REQUESTS", "60"))
KILLS = int(os.environ.get("ENTRESOL_FAULTS_KILLS", "12"))
END_SECONDS = 90.0

MANIFESTS: list[dict[str, Any]] = [
    {
        "apiVersion": "entresol.dev/v1",
        "kind": "Destination",
        "metadata": {"name": "environments"},
        "spec": {"repository": "environments.git", "create": True},
    },
    {
        "apiVersion": "entresol.dev/v1",
        "kind": "Offering",
        "metadata": {"name": "thing", "version": "1.0.0"},
        "spec": {
            "inputs": {"type": "object", "required": ["size"], "properties": {"size": {"enum": ["small", "large"]}}},
            "actions": {
                "create": {
                    "steps": [
                        {
                            "name": "commit",
                            "driver": "gitops",
                            "with": {
                                "destination": "environments",
                                "files": {"thing.yaml": "size: {{ inputs.size | tojson }}\n"},
                            },
                        }
                    ]
                }
            },
        },
    },
    {
        "apiVersion": "entresol.dev/v1",
        "kind": "Policy",
        "metadata": {"name": "no-large-things"},
        "spec": {"rules": [{"deny": 'request.inputs.size == "large"', "because": "small is beautiful"}]},
    },
    {
        "apiVersion": "entresol.dev/v1",
        "kind": "Policy",
        "metadata": {"name": "production-approval"},
        "spec": {
            "when": 'request.environment == "prod"',
            "rules": [{"approve": {"from": ["group:sre"], "notSelf": False}, "because": "production"}],
        },
    },
]


def insisting(call: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Call until the door answers: what a client does while a service is down. Refusals are raised."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return call()
        except urllib.error.HTTPError as refused:
            if refused.code < 500 or time.monotonic() > deadline:
                raise
        except (OSError, http.client.HTTPException):  # the latter: killed in the middle of an answer
            if time.monotonic() > deadline:
                raise
        time.sleep(0.05)


def submit(fleet: Fleet, number: int, told: dict[int, str]) -> None:
    """Ask for one thing; the key makes a repeated ask the same one."""
    body = {
        "offering": "thing",
        "project": "shop",
        "environment": "dev",
        "name": f"thing-{number}",
        "inputs": {"size": "large" if number % 10 == 3 else "small"},
    }
    key = {"Idempotency-Key": f"faults-{number}"}
    answer = insisting(lambda: fleet.call("intake", "POST", "/v1/requests", body, **key))
    assert told.setdefault(number, answer["id"]) == answer["id"]


def request_of(fleet: Fleet, request_id: str) -> dict[str, Any]:
    def look() -> dict[str, Any]:
        with contextlib.suppress(urllib.error.HTTPError):
            item: dict[str, Any] = fleet.call("catalog", "GET", f"/v1/requests/{request_id}")
            return item
        return {"state": "unknown"}

    item: dict[str, Any] = insisting(look)
    return item


@pytest.mark.timeout(300)
def test_every_request_ends_once_whatever_is_killed(tmp_path: Path) -> None:
    seed = int(os.environ.get("ENTRESOL_FAULTS_SEED", str(random.randrange(2**32))))
    print(f"seed {seed}")
    dice = random.Random(seed)
    told: dict[int, str] = {}
    faults: list[BaseException] = []
    with Fleet(tmp_path) as fleet:
        fleet.call("intake", "POST", "/v1/manifests", MANIFESTS)

        def load() -> None:
            try:
                for number in range(REQUESTS):
                    submit(fleet, number, told)
                    time.sleep(0.02)
            except BaseException as error:
                faults.append(error)

        loading = threading.Thread(target=load)
        loading.start()
        killed: Counter[str] = Counter()
        for number in range(KILLS):
            time.sleep(dice.uniform(0.05, 0.4))
            victims = [*SERVICES, "bus"]
            victim = victims[number] if number < len(victims) else dice.choice(victims)
            killed[victim] += 1
            fleet.kill(victim)
            time.sleep(dice.uniform(0.0, 0.3))
            fleet.start_again(victim)
        loading.join(60)
        assert not faults, faults
        assert len(told) == REQUESTS, "every ask was answered in the end"
        states = await_ends(fleet, told)
        history = judge_history(fleet, told)
    expected = Counter("denied" if number % 10 == 3 else "succeeded" for number in told)
    assert Counter(states.values()) == expected
    commits = subprocess.run(
        ["git", "log", "--format=%(trailers:key=Entresol-Run,valueonly)", "main"],
        cwd=tmp_path / "repositories" / "environments.git",
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert max(Counter(commits).values()) == 1, "no effect happened twice"
    assert len(commits) == expected["succeeded"]
    assert history == dict.fromkeys(told.values(), 1), "one terminal fact for each request"
    print(f"{REQUESTS} requests, kills: {dict(killed)}: 0 lost, 0 stuck, 0 double; seed {seed}")


def await_ends(fleet: Fleet, told: dict[int, str]) -> dict[int, str]:
    """Return the state of every request once all have ended; fail and say which are stuck."""
    deadline = time.monotonic() + END_SECONDS
    states: dict[int, str] = {}
    while len(states) < len(told):
        for number, request_id in told.items():
            if number not in states and (item := request_of(fleet, request_id)).get("completed_at"):
                states[number] = item["state"]
        if time.monotonic() > deadline:
            stuck = {request_id: request_of(fleet, request_id) for n, request_id in told.items() if n not in states}
            pytest.fail(f"stuck: {json.dumps(stuck, indent=1)[:4000]}")
        time.sleep(0.1)
    return states


def judge_history(fleet: Fleet, told: dict[int, str]) -> dict[str, int]:
    """Count the terminal facts of each request in what the catalog has of the log."""
    ends: Counter[str] = Counter()
    after = 0
    while True:
        path = f"/v1/events?type=dev.entresol.request.completed.v1&after={after}&limit=500"
        page = insisting(lambda path=path: fleet.call("catalog", "GET", path))  # type: ignore[misc]
        for item in page["items"]:
            ends[item["data"]["request_id"]] += 1
            after = item["position"]
        if len(page["items"]) < 500:
            return {request_id: ends[request_id] for request_id in told.values()}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("victim", [*SERVICES, "bus"])
def test_a_request_that_waits_for_approval_survives_a_kill(tmp_path: Path, victim: str) -> None:
    with Fleet(tmp_path) as fleet:
        fleet.call("intake", "POST", "/v1/manifests", MANIFESTS)
        token = fleet.call(
            "intake", "POST", "/v1/tokens", {"actor": "user:grace", "groups": ["sre"], "role": "developer"}
        )["token"]
        body = {
            "offering": "thing",
            "project": "shop",
            "environment": "prod",
            "name": "careful",
            "inputs": {"size": "small"},
        }
        request_id = fleet.call("intake", "POST", "/v1/requests", body)["id"]
        approval = until(lambda: approval_of(fleet, request_id))
        fleet.kill(victim)
        fleet.start_again(victim)
        fleet.token = token
        insisting(lambda: answer(fleet, approval))
        item = until(lambda: ended(fleet, request_id))
        assert item["state"] == "succeeded"


def until(look: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := insisting(look)):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)
    return value


def approval_of(fleet: Fleet, request_id: str) -> str | None:
    items = fleet.call("catalog", "GET", "/v1/approvals?state=pending")["items"]
    return next((one["id"] for one in items if one["request"] == request_id), None)


def answer(fleet: Fleet, approval: str) -> None:
    fleet.call("intake", "POST", f"/v1/approvals/{approval}", {"answer": "granted", "reason": "looks right"})


def ended(fleet: Fleet, request_id: str) -> dict[str, Any] | None:
    item = request_of(fleet, request_id)
    return item if item.get("completed_at") else None
