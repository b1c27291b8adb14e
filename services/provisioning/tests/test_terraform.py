"""The terraform driver with the real program, on modules that need no provider."""

import asyncio
import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from entresol_provisioning.drivers import PlanOutdated, StepFailed, StepWork, workspaces
from entresol_provisioning.drivers.processes import run
from entresol_provisioning.drivers.terraform import Terraform
from entresol_provisioning.drivers.terraform import driver as terraform
from entresol_provisioning.settings import Settings

installed = pytest.mark.skipif(
    not (shutil.which("tofu") or shutil.which("terraform")), reason="neither tofu nor terraform is installed"
)
MODULE = """
variable "password" { type = string }
resource "terraform_data" "db" { input = "host-${var.password}" }
output "host" { value = "db.example.org" }
output "login" {
  value     = terraform_data.db.output
  sensitive = true
}
"""
RUNS = """
resource "terraform_data" "more" {
  provisioner "local-exec" { command = "true" }
}
"""
SLOW = """
resource "terraform_data" "slow" {
  provisioner "local-exec" { command = "echo $$ > slow.pid; exec sleep 60" }
}
"""


@pytest.fixture
def module(work: Callable[..., StepWork]) -> StepWork:
    return work(with_={"files": {"main.tf": MODULE}, "variables": {"password": "canary-${4711}"}})


@installed
async def test_sensitive_outputs_are_only_referred_to(settings: Settings, module: StepWork) -> None:
    result = await Terraform(settings).apply(module)
    reference = "terraform:shop/dev/database/orders/only#login"
    assert result.outputs == {"host": "db.example.org", "login": {"secretRef": reference}}
    assert result.message == "1 added, 0 changed, 0 destroyed"
    place = settings.workspaces / "shop/dev/database/orders/only"
    assert not (place / "entresol.tfplan").exists()
    assert place.stat().st_mode & 0o077 == 0
    state = json.loads((place / "terraform.tfstate").read_text())
    assert "canary-${4711}" in json.dumps(state), "a value is taken literally, not evaluated"


@installed
async def test_errors_tell_the_place_but_no_values(settings: Settings, module: StepWork) -> None:
    broken = MODULE + 'resource "terraform_data" "bad" { input = tonumber(var.password) }'
    with pytest.raises(StepFailed) as failure:
        await Terraform(settings).apply(
            replace(module, with_={"files": {"main.tf": broken}, "variables": {"password": "canary-4711"}})
        )
    assert "main.tf line" in failure.value.reason
    assert "canary" not in failure.value.reason


@installed
async def test_a_removed_file_of_the_module_is_gone(settings: Settings, module: StepWork) -> None:
    driver = Terraform(settings)
    extra = {"extra.tf": 'resource "terraform_data" "extra" {}'}
    await driver.apply(replace(module, with_={**module.with_, "files": {"main.tf": MODULE, **extra}}))
    result = await driver.apply(module)
    assert result.message == "0 added, 0 changed, 1 destroyed"


@installed
async def test_init_is_done_once_per_module(
    settings: Settings, module: StepWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Terraform(settings)
    await driver.apply(module)
    seen: list[str] = []

    async def watched(arguments: tuple[str, ...], **options: object) -> object:
        seen.append(arguments[1])
        return await run(arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(terraform, "run", watched)
    await driver.apply(module)
    assert seen == ["plan", "output"]


@installed
async def test_a_plan_shows_nothing_of_what_is_secret_and_its_digest_lets_nobody_try_passwords(
    settings: Settings, module: StepWork, tmp_path: Path
) -> None:
    plan = await Terraform(settings).plan(module)
    assert "canary" not in repr(plan)
    assert [(one.address, one.type) for one in plan.resources] == [("terraform_data.db", "terraform_data")]
    elsewhere = settings.model_copy(update={"workspaces_root": tmp_path / "elsewhere"})
    assert (await Terraform(elsewhere).plan(module)).digest != plan.digest


@installed
@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("more.tf", 'output "more" { value = "of nothing that changes in the world" }'),
        ("more.tf", RUNS),
        ("main.tf", MODULE.replace("host-", "house-")),
    ],
)
async def test_another_module_is_another_plan(settings: Settings, module: StepWork, file: str, text: str) -> None:
    driver = Terraform(settings)
    plan = await driver.plan(module)
    other = replace(module, with_={**module.with_, "files": {"main.tf": MODULE, file: text}})
    assert (await driver.plan(other)).digest != plan.digest
    with pytest.raises(PlanOutdated):
        await driver.apply(replace(other, approved=plan.digest))
    place = settings.workspaces / "shop/dev/database/orders/only"
    assert not (place / "terraform.tfstate").exists()
    assert not (place / "entresol.tfplan").exists()


@installed
async def test_a_module_may_name_its_directory(settings: Settings, work: Callable[..., StepWork]) -> None:
    driver = Terraform(settings)
    naming = work(with_={"files": {"main.tf": 'resource "terraform_data" "x" { input = "${path.cwd}/x" }'}})
    plan = await driver.plan(naming)
    await driver.apply(replace(naming, approved=plan.digest))


@installed
async def test_what_an_apply_has_left_to_do_is_another_plan(settings: Settings, work: Callable[..., StepWork]) -> None:
    half = """
    resource "terraform_data" "done" {}
    resource "terraform_data" "fails" {
      input = terraform_data.done.id
      provisioner "local-exec" { command = "false" }
    }
    """
    driver = Terraform(settings)
    step = work(with_={"files": {"main.tf": half}})
    approved = replace(step, approved=(await driver.plan(step)).digest)
    with pytest.raises(StepFailed, match="apply failed"):
        await driver.apply(approved)
    with pytest.raises(PlanOutdated):
        await driver.apply(replace(approved, attempted=True))
    left = await driver.plan(step)
    assert [(one.address, one.change) for one in left.resources] == [("terraform_data.fails", "replace")]


@installed
async def test_a_plan_of_fifty_megabytes_is_read_whole(settings: Settings, work: Callable[..., StepWork]) -> None:
    huge = """
    variable "text" { type = string }
    resource "terraform_data" "many" {
      count = 600
      input = "${count.index} ${var.text}"
    }
    """
    step = work(with_={"files": {"main.tf": huge}, "variables": {"text": "x" * 45_000}})
    plan = await Terraform(settings).plan(step)
    assert (plan.adds, len(plan.resources), len(plan.summary)) == (600, 600, 600)


@installed
async def test_at_the_deadline_the_whole_process_group_ends(settings: Settings, work: Callable[..., StepWork]) -> None:
    driver = Terraform(settings)
    place = settings.workspaces / "shop/dev/database/orders/only"
    applying = asyncio.create_task(driver.apply(work(with_={"files": {"main.tf": SLOW}})))
    for _ in range(1500):
        if (place / "slow.pid").exists() and (place / "slow.pid").read_text().strip():
            break
        await asyncio.sleep(0.02)
    pid = int((place / "slow.pid").read_text())
    applying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await applying
    with pytest.raises(ProcessLookupError):
        os.killpg(pid, 0)


@installed
async def test_two_attempts_on_one_workspace_follow_each_other(settings: Settings, module: StepWork) -> None:
    first, second = await asyncio.gather(Terraform(settings).apply(module), Terraform(settings).apply(module))
    assert sorted([first.message or "", second.message or ""]) == [
        "1 added, 0 changed, 0 destroyed",
        "nothing to change",
    ]


async def test_a_missing_program_is_told_with_the_remedy(settings: Settings, module: StepWork) -> None:
    driver = Terraform(settings.model_copy(update={"terraform": "/nowhere/tofu"}))
    assert not driver.available()
    with pytest.raises(StepFailed, match="/nowhere/tofu is missing here; install it"):
        await driver.apply(module)


@pytest.mark.parametrize(
    "name",
    [
        "../main.tf",
        "/main.tf",
        "x.tf.json",
        "x.auto.tfvars",
        "a.tfvars.json",
        "terraform.tfstate",
        ".terraform/x.tf",
        ".terraformrc",
        "a/../b.tf",
        "run.exe",
        "-x.tf",
    ],
)
async def test_files_that_terraform_reads_otherwise_are_refused(
    settings: Settings, work: Callable[..., StepWork], name: str
) -> None:
    with pytest.raises(StepFailed):
        await Terraform(settings).apply(work(with_={"files": {"main.tf": "", name: "x"}}))


async def test_a_module_has_a_size(settings: Settings, work: Callable[..., StepWork]) -> None:
    with pytest.raises(StepFailed, match="exceeds"):
        await Terraform(settings).apply(work(with_={"files": {"main.tf": "#" * 2_000_000}}))


@installed
@pytest.mark.parametrize("lost", ["the file", "its content", "its content, when a backup tells"])
async def test_a_state_that_was_lost_is_not_one_in_which_nothing_is(
    settings: Settings, module: StepWork, lost: str
) -> None:
    driver = Terraform(settings)
    outputs = (await driver.apply(module)).outputs
    state = workspaces.of(settings.workspaces, module).state
    whole = state.read_bytes()
    again = replace(module, idempotency_key="run-2/only", previous=outputs)
    if lost == "the file":
        shutil.rmtree(state.parent)
    else:
        state.write_bytes(b"")
    if lost == "its content, when a backup tells":
        state.with_name("terraform.tfstate.backup").write_bytes(whole)
        again = replace(again, previous=None)
    gone = replace(again, destroys=True)
    for act, work in ((driver.observe, again), (driver.plan, again), (driver.apply, again), (driver.destroy, gone)):
        with pytest.raises(StepFailed, match=r"the state of shop/dev/.* is lost.*put back its file terraform\.tfstate"):
            await act(work)
    state.parent.mkdir(parents=True, exist_ok=True)
    state.write_text('{"version": 4, "serial": 1, "lineage": "", "outputs": {}, "resources": []}')
    assert (await driver.destroy(gone)).message == "0 destroyed"
    assert not (await driver.observe(gone)).exists


@installed
async def test_an_empty_state_that_the_first_apply_has_left_stops_nobody(settings: Settings, module: StepWork) -> None:
    place = workspaces.of(settings.workspaces, module).place
    place.mkdir(parents=True)
    (place / workspaces.STATE).touch()
    assert (await Terraform(settings).apply(replace(module, attempted=True))).message == (
        "1 added, 0 changed, 0 destroyed"
    )


async def test_a_variable_that_is_no_text_is_refused(settings: Settings, module: StepWork) -> None:
    odd = replace(module, with_={**module.with_, "variables": {"password": "\ud800"}})
    driver = Terraform(settings)
    for act in (driver.plan, driver.apply):
        with pytest.raises(StepFailed, match="no text"):
            await act(odd)


async def test_outputs_that_can_t_be_read_are_told_of(settings: Settings, module: StepWork, tmp_path: Path) -> None:
    program = tmp_path / "terraform-that-says-too-much"
    program.write_text('#!/bin/sh\n[ "$1" = output ] && echo "the end of something\\"}}"; exit 0\n')
    program.chmod(0o755)
    driver = Terraform(settings.model_copy(update={"terraform": str(program)}))
    with pytest.raises(StepFailed, match="its outputs exceed 8 MiB or can't be read"):
        await driver.apply(module)


@installed
async def test_a_module_that_keeps_its_state_elsewhere_is_refused(settings: Settings, module: StepWork) -> None:
    backend = 'terraform {\n  backend "local" { path = "elsewhere.tfstate" }\n}\n'
    refused = replace(module, with_={"files": {"main.tf": backend + RUNS}})
    for _ in range(2):
        with pytest.raises(StepFailed, match="the module names a backend"):
            await Terraform(settings).apply(refused)
    assert not list(settings.workspaces.rglob("*.tfstate"))
    plain = replace(module, with_={"files": {"main.tf": RUNS}})
    await Terraform(settings).apply(plain)
    assert (await Terraform(settings).destroy(plain)).message == "1 destroyed"


@installed
async def test_what_a_module_leaves_running_does_not_hold_its_workspace(settings: Settings, module: StepWork) -> None:
    command = "setsid sleep 60 > /dev/null 2>&1 & echo $! > left.pid"
    left = f'resource "terraform_data" "a" {{\n  provisioner "local-exec" {{ command = "{command}" }}\n}}\n'
    work = replace(module, with_={"files": {"main.tf": left}})
    await Terraform(settings).apply(work)
    pid = int(next(settings.workspaces.rglob("left.pid")).read_text())
    try:
        async with asyncio.timeout(30):
            again = replace(work, idempotency_key="run-2/only", previous={})
            assert (await Terraform(settings).destroy(again)).message == "1 destroyed"
        os.kill(pid, 0)
    finally:
        os.kill(pid, signal.SIGKILL)
