"""Plan, approve, apply: on a real nats-server, with real repositories and the real terraform."""

import asyncio
import shutil
import subprocess
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from entresol_eventing.envelope import MAX_DATA_BYTES
from entresol_eventing.testing import published
from entresol_provisioning import app
from entresol_provisioning.drivers.gitops import GitOps
from entresol_provisioning.drivers.noop import Noop
from entresol_provisioning.drivers.terraform import Terraform
from entresol_provisioning.settings import Settings
from entresol_provisioning.workers import StepWorker

Serving = Callable[..., AbstractAsyncContextManager[Any]]

installed = pytest.mark.skipif(
    not (shutil.which("tofu") or shutil.which("terraform")), reason="neither tofu nor terraform is installed"
)
FILE = "shop/dev/database/orders/db.yaml"
MODULE = """
variable "size" { type = string }
variable "password" {
  type      = string
  sensitive = true
}
resource "terraform_data" "disk" { input = var.size }
resource "terraform_data" "login" { input = var.password }
output "disk" { value = terraform_data.disk.output }
"""
MANY = """
resource "terraform_data" "many" {
  count = 2500
  input = count.index
}
"""


def gitops() -> dict[str, Any]:
    step = {"repository": "infra", "create": True, "files": {"db.yaml": "size: {{ inputs.size | tojson }}\n"}}
    return {"create": {"steps": [{"name": "files", "driver": "gitops", "with": step}]}}


def terraform() -> dict[str, Any]:
    variables = {"size": "${inputs.size}", "password": "canary-4711"}
    step = {"files": {"main.tf": MODULE}, "variables": variables}
    return {"create": {"steps": [{"name": "disk", "driver": "terraform", "with": step}]}}


def noop(**with_: Any) -> dict[str, Any]:
    return {"create": {"steps": [{"name": "only", "driver": "noop", "with": with_}]}}


async def git(place: Path, *arguments: str) -> str:
    author = ("-c", "user.name=bo", "-c", "user.email=bo@example.org")
    whole = ["git", *author, *arguments]
    done = await asyncio.to_thread(subprocess.run, whole, cwd=place, capture_output=True, check=True)
    return done.stdout.decode()


async def push(repository: Path, name: str, text: str) -> None:
    """Change a file by hand, as somebody else."""
    clone = repository.parent / "clone"
    if not clone.exists():
        await git(repository.parent, "clone", "--quiet", str(repository), str(clone))
    await git(clone, "pull", "--quiet", "--rebase")
    (clone / name).write_text(text)
    await git(clone, "add", ".")
    await git(clone, "commit", "--quiet", "-m", f"change {name}")
    await git(clone, "push", "--quiet")


EACH = [pytest.param(gitops(), id="gitops"), pytest.param(terraform(), id="terraform", marks=installed)]
EACH.append(pytest.param(noop(outputs={"size": "${inputs.size}"}), id="noop"))


@pytest.mark.parametrize("actions", EACH)
async def test_what_was_approved_is_applied_for_a_whole_life(
    platform: Any, offering: Callable[..., Any], actions: dict[str, Any]
) -> None:
    await platform.apply(offering(actions=actions, cost="inputs.size == 'small' ? 5 : 50"))
    for action, inputs, counts, cost in (
        ("create", {"size": "small"}, "adds", 5.0),
        ("update", {"size": "large"}, "changes", 50.0),
        ("delete", {}, "destroys", 0.0),
    ):
        request_id = await platform.want_plan(action, inputs=inputs)
        planned = await platform.planned(request_id)
        assert getattr(planned, counts) >= 1
        assert (planned.cost, planned.unknown, planned.replaces) == (cost, [], None)
        assert planned.steps[0].digest.startswith("sha256:")
        assert {one.change for one in planned.resources} == {counts[:-1]}
        await platform.allow(request_id, planned.digest)
        assert type(await platform.ended(request_id)).__name__ == "RunSucceeded"
        assert (await platform.facts(request_id))[:2] == ["RunPlanned", "RunStarted"]
    assert not any("canary" in one.model_dump_json() for one in await published(platform.service))


async def test_a_push_between_plan_and_approval_is_planned_and_decided_anew(
    platform: Any, offering: Callable[..., Any], settings: Settings
) -> None:
    await platform.apply(offering(actions=gitops()))
    await platform.ended(await platform.ask(inputs={"size": "small"}))
    repository = settings.repositories / "infra.git"
    request_id = await platform.want_plan("update", inputs={"size": "large"})
    first = await platform.planned(request_id)
    await push(repository, FILE, "size: by hand\n")
    await platform.allow(request_id, first.digest)
    second = await platform.planned(request_id, 2)
    assert second.replaces == first.digest
    assert await git(repository, "show", f"main:{FILE}") == "size: by hand\n"
    await push(repository, "elsewhere", "of no concern\n")
    await platform.allow(request_id, second.digest)
    assert type(await platform.ended(request_id)).__name__ == "RunSucceeded"
    assert await git(repository, "show", f"main:{FILE}") == 'size: "large"\n'
    assert (await platform.facts(request_id)).count("RunPlanned") == 2


async def test_a_push_while_it_is_applied_sends_it_back_to_be_planned(
    platform: Any, offering: Callable[..., Any], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    actions = gitops()
    actions["create"]["steps"].insert(0, {"name": "before", "driver": "noop", "with": {"outputs": {"a": 1}}})
    actions["create"]["steps"][1]["needs"] = ["before"]
    await platform.apply(offering(actions=actions))
    await platform.ended(await platform.ask(inputs={"size": "small"}))
    repository, whole = settings.repositories / "infra.git", GitOps.apply

    async def late(self: GitOps, work: Any) -> Any:
        if not (repository.parent / "clone").exists():
            await push(repository, FILE, "size: by hand\n")
        return await whole(self, work)

    monkeypatch.setattr(GitOps, "apply", late)
    request_id = await platform.want_plan("update", inputs={"size": "large"})
    first = await platform.planned(request_id)
    await platform.allow(request_id, first.digest)
    second = await platform.planned(request_id, 2)
    assert second.replaces == first.digest
    assert await platform.facts(request_id) == ["RunPlanned", "RunStarted", "RunProgressed", "RunPlanned"]
    await platform.allow(request_id, second.digest)
    assert type(await platform.ended(request_id)).__name__ == "RunSucceeded"
    assert await git(repository, "show", f"main:{FILE}") == 'size: "large"\n'


@pytest.mark.parametrize("actions", EACH)
async def test_another_request_on_the_resource_makes_a_plan_outdated(
    platform: Any, offering: Callable[..., Any], actions: dict[str, Any]
) -> None:
    await platform.apply(offering(actions=actions))
    await platform.ended(await platform.ask(inputs={"size": "small"}))
    request_id = await platform.want_plan("update", inputs={"size": "large"})
    first = await platform.planned(request_id)
    await platform.ended(await platform.ask("update", inputs={"size": "medium"}))
    await platform.allow(request_id, first.digest)
    second = await platform.planned(request_id, 2)
    assert (second.replaces, second.changes) == (first.digest, 1)
    await platform.allow(request_id, second.digest)
    assert type(await platform.ended(request_id)).__name__ == "RunSucceeded"


async def test_a_step_that_needs_what_another_gives_is_known_after_apply(
    platform: Any, offering: Callable[..., Any], settings: Settings
) -> None:
    steps = [
        {"name": "base", "driver": "noop", "with": {"outputs": {"host": "db1"}}},
        {
            "name": "files",
            "driver": "gitops",
            "needs": ["base"],
            "with": {"repository": "infra", "create": True, "files": {"a": "{{ steps.base.outputs.host }}"}},
        },
    ]
    await platform.apply(offering(actions={"create": {"steps": steps}}))
    request_id = await platform.want_plan()
    planned = await platform.planned(request_id)
    assert planned.unknown == ["files"]
    assert planned.steps[1].summary == ["known after apply: it needs the outputs of base"]
    assert not settings.repositories.exists()
    await platform.allow(request_id, planned.digest)
    assert type(await platform.ended(request_id)).__name__ == "RunSucceeded"
    assert await git(settings.repositories / "infra.git", "show", "main:shop/dev/database/orders/a") == "db1"


async def test_a_dry_run_is_decided_by_its_plan_and_touches_nothing(
    platform: Any, offering: Callable[..., Any], settings: Settings
) -> None:
    await platform.apply(offering(actions=gitops()))
    request_id = await platform.want_plan(inputs={"size": "small"}, dry_run=True)
    planned = await platform.planned(request_id)
    await platform.allow(request_id, planned.digest)
    assert (await platform.ended(request_id)).dry_run
    assert await platform.facts(request_id) == ["RunPlanned", "RunSucceeded"]
    assert not settings.repositories.exists()


@pytest.mark.parametrize("end", ["cancel", "deny", "expire"])
async def test_a_request_can_be_ended_while_it_is_planned_and_while_it_waits_for_policy(
    platform: Any, offering: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    planning, going_on, whole = asyncio.Event(), asyncio.Event(), Noop.plan

    async def plan(self: Noop, work: Any) -> Any:
        planning.set()
        await going_on.wait()
        return await whole(self, work)

    monkeypatch.setattr(Noop, "plan", plan)
    await platform.apply(offering(actions=noop()))
    first, queued = await platform.want_plan(), await platform.want_plan()
    await asyncio.wait_for(planning.wait(), 20)
    await getattr(platform, end)(first)
    await getattr(platform, end)(queued)
    late = await platform.submit(name="late")
    await platform.cancel(late, "late")
    await platform.ended(late)  # by then what was said before it has been read too
    assert await platform.facts(first) == []
    going_on.set()
    waiting = await platform.want_plan()
    digest = (await platform.planned(waiting)).digest
    await getattr(platform, end)(waiting)
    await platform.allow(waiting, digest)
    assert type(await platform.ended(await platform.ask())).__name__ == "RunSucceeded"
    said = ["RunCancelled"] if end == "cancel" else []
    assert await platform.facts(first) == said
    assert await platform.facts(queued) == said
    assert await platform.facts(waiting) == ["RunPlanned", *said]


async def test_planning_has_the_time_and_the_retries_that_the_step_has(
    platform: Any, offering: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[str] = []

    async def plan(self: Noop, work: Any) -> Any:
        attempts.append(work.step)
        await asyncio.sleep(3600)

    monkeypatch.setattr(Noop, "plan", plan)
    step = {"name": "only", "driver": "noop", "timeout": "50ms", "retries": 2}
    await platform.apply(offering(actions={"create": {"steps": [step]}}))
    request_id = await platform.want_plan()
    failed = await platform.ended(request_id)
    assert (failed.step, failed.reason) == ("only", "not done within 0.05 s")
    assert await platform.facts(request_id) == ["RunFailed"]
    assert len(attempts) == 3


@installed
async def test_a_plan_of_thousands_fits_into_an_event(platform: Any, offering: Callable[..., Any]) -> None:
    step = {"name": "many", "driver": "terraform", "with": {"files": {"main.tf": MANY}}}
    await platform.apply(offering(actions={"create": {"steps": [step]}}))
    planned = await platform.planned(await platform.want_plan())
    assert len(planned.model_dump_json()) < MAX_DATA_BYTES
    assert (planned.adds, len(planned.resources)) == (2500, 1000)
    assert planned.resources[0].type == "terraform_data"
    assert planned.steps[0].summary[-1].startswith("… and ")


@pytest.mark.parametrize(
    ("actions", "driver"),
    [pytest.param(gitops(), GitOps), pytest.param(terraform(), Terraform, marks=installed)],
    ids=["gitops", "terraform"],
)
@pytest.mark.parametrize("action", ["create", "delete"])
async def test_an_approved_effect_that_was_not_recorded_is_found_and_not_called_outdated(
    connected: Settings,
    serving: Serving,
    offering: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    actions: dict[str, Any],
    driver: type[Any],
    action: str,
) -> None:
    reached, whole = asyncio.Event(), StepWorker._record

    async def never(self: StepWorker, service: Any, verdict: Any) -> None:
        if verdict.plan is not None:
            await whole(self, service, verdict)
            return
        reached.set()
        await asyncio.sleep(3600)

    monkeypatch.setattr("entresol_provisioning.workers.FINISH_SECONDS", 0.01)
    if action == "delete":
        async with serving(app.create(connected)) as platform:
            await platform.apply(offering(actions=actions))
            await platform.ended(await platform.ask(inputs={"size": "small"}))
    with monkeypatch.context() as patch:
        patch.setattr(StepWorker, "_record", never)
        async with serving(app.create(connected)) as platform:
            await platform.apply(offering(actions=actions))
            request_id = await platform.want_plan(action, inputs={"size": "small"})
            await platform.allow(request_id, (await platform.planned(request_id)).digest)
            await asyncio.wait_for(reached.wait(), 30)
    async with serving(app.create(connected)) as platform:
        assert type(await platform.ended(request_id)).__name__ == "RunSucceeded"
        assert (await platform.facts(request_id)).count("RunPlanned") == 1


async def test_a_planned_request_waits_through_a_restart(
    connected: Settings, serving: Serving, offering: Callable[..., Any]
) -> None:
    async with serving(app.create(connected)) as platform:
        await platform.apply(offering(actions=gitops()))
        request_id = await platform.want_plan(inputs={"size": "small"})
        planned = await platform.planned(request_id)
    async with serving(app.create(connected)) as platform:
        await platform.allow(request_id, planned.digest)
        assert type(await platform.ended(request_id)).__name__ == "RunSucceeded"
