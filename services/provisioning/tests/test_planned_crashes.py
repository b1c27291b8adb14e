"""Plan, approve, apply, with the service killed at a place that has a name: the end is the same as without."""

import asyncio
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from entresol_contracts.events import RunPlanned
from entresol_eventing.envelope import decode
from entresol_eventing.log import connect
from entresol_provisioning.settings import Settings

from services.provisioning.tests.killed import killed_at

installed = pytest.mark.skipif(
    not (shutil.which("tofu") or shutil.which("terraform")), reason="neither tofu nor terraform is installed"
)
ENDS = {"RunSucceeded", "RunFailed"}
FILES = {
    "name": "step",
    "driver": "gitops",
    "with": {"repository": "infra", "create": True, "files": {"a": "{{ inputs.size }}"}},
}
MODULE = {
    "name": "step",
    "driver": "terraform",
    "with": {"files": {"main.tf": 'resource "terraform_data" "a" {}\noutput "id" { value = terraform_data.a.id }'}},
}
POINTS = [
    # In turn: what is asked for, the plan, the approval, the plan that is held to it, the effect.
    *(f"commit.before@{visit}" for visit in range(1, 6)),
    *("commit.after@3", "publish.before@2", "publish.after@1"),
    *("effect.before", "effect.middle", "effect.after"),
]
RUNNING = [
    # While terraform makes a plan, makes it again, makes it once more to apply it, and applies it.
    *("effect.running@5", "effect.running@10"),
    *("effect.middle", "effect.after"),
]
OFTEN = ("commit.before@2", "publish.before@2", "effect.middle", "effect.running@10")
"""Tried by every run of the tests; the others prove the same in more places."""


def each(name: str, step: dict[str, Any], points: list[str], *marks: pytest.MarkDecorator) -> list[Any]:
    rare = {point: () if point in OFTEN else (pytest.mark.long,) for point in points}
    return [pytest.param(step, point, id=f"{name}-{point}", marks=(*marks, *rare[point])) for point in points]


EACH = [*each("gitops", FILES, POINTS), *each("terraform", MODULE, RUNNING, installed)]


@pytest.mark.parametrize(("step", "point"), EACH)
async def test_a_crash_anywhere_leads_to_the_same_end(
    connected: Settings, voice: Callable[..., Any], offering: Callable[..., Any], step: dict[str, Any], point: str
) -> None:
    connection = await connect(connected, "intake", "test")
    said: dict[str, Any] = {}
    with killed_at(point, connected) as service:
        heard = await connection.jetstream().subscribe("entresol.provisioning.run.>", ordered_consumer=True)
        platform = voice(connection)
        await platform.apply(offering(actions={"create": {"steps": [step]}}))
        request_id = await platform.want_plan(inputs={"size": "small"})
        while not (service.crashed and ENDS & set(map(kind, said.values()))):
            service.look()
            try:
                message = await heard.next_msg(timeout=0.1)
            except TimeoutError:
                continue
            event = decode(message.data)
            if event.id not in said and isinstance(event.data, RunPlanned):
                await platform.allow(request_id, event.data.digest)
            said[event.id] = event
    await connection.close()
    assert list(map(kind, said.values())) == ["RunPlanned", "RunStarted", "RunProgressed", "RunSucceeded"]
    if step is FILES:
        commits = ["git", "rev-list", "--count", "main"]
        done = await asyncio.to_thread(subprocess.run, commits, cwd=repository(connected), capture_output=True)
        assert done.stdout == b"1\n"


def kind(event: Any) -> str:
    return type(event.data).__name__


def repository(settings: Settings) -> Path:
    return settings.repositories / "infra.git"
