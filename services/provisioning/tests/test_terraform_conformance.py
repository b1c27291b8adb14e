"""What every driver has to hold, run against terraform; and what it observes and adopts."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from entresol_provisioning.conformance import Case, Conformance, make_work
from entresol_provisioning.drivers import Difference, StepFailed, StepWork
from entresol_provisioning.drivers.terraform import Terraform, sightings
from entresol_provisioning.settings import Settings

installed = pytest.mark.skipif(
    not (shutil.which("tofu") or shutil.which("terraform")), reason="neither tofu nor terraform is installed"
)
MODULE = """
variable "size" { type = string }
variable "password" {
  type      = map(string)
  default   = { canary = "4711" }
  sensitive = true
}
resource "terraform_data" "disk" { input = { size = var.size, tags = ["a", "b"] } }
resource "terraform_data" "login" { input = { user = "ada", password = var.password } }
output "size" { value = var.size }
output "password" {
  value     = var.password
  sensitive = true
}
"""
FOREIGN = """
import {
  to = terraform_data.disk
  id = "made-by-hand"
}
resource "terraform_data" "disk" {}
output "id" { value = terraform_data.disk.id }
"""


def state_of(settings: Settings, work: StepWork) -> Path:
    parts = (work.project, work.environment, work.offering, work.name, work.step)
    return settings.workspaces.joinpath(*parts, "terraform.tfstate")


def meddle_with(state: Path, name: str, change: Callable[[dict[str, Any]], None]) -> None:
    """As if the world were another: what is built in has no world but the state."""
    document = json.loads(state.read_text())
    for one in document["resources"]:
        if one["name"] == name:
            change(one["instances"][0]["attributes"])
    document["serial"] += 1
    state.write_text(json.dumps(document))


def forget(state: Path, name: str) -> None:
    document = json.loads(state.read_text())
    document["resources"] = [one for one in document["resources"] if one["name"] != name]
    document["serial"] += 1
    state.write_text(json.dumps(document))


@installed
class TestTerraform(Conformance):
    @pytest.fixture
    def case(self, settings: Settings) -> Case:
        async def meddle(work: StepWork) -> None:
            meddle_with(state_of(settings, work), "disk", lambda one: one["input"]["value"].update(size="huge"))

        return Case(
            driver=Terraform(settings),
            work=make_work(),
            good=lambda size: {"files": {"main.tf": MODULE}, "variables": {"size": size}},
            bad={"files": {"main.tf": "resource {"}},
            meddle=meddle,
        )


@pytest.fixture
def module(work: Callable[..., StepWork]) -> StepWork:
    return work(with_={"files": {"main.tf": MODULE}, "variables": {"size": "small"}})


@installed
async def test_differences_are_told_by_field_and_never_beneath_what_is_sensitive(
    settings: Settings, module: StepWork
) -> None:
    driver = Terraform(settings)
    await driver.apply(module)
    state = state_of(settings, module)

    def other(attributes: dict[str, Any]) -> None:
        attributes["input"]["value"] |= {"size": "huge", "tags": ["a", "c"]}

    meddle_with(state, "disk", other)
    meddle_with(state, "login", lambda one: one["input"]["value"].update(password={"canary": "4712"}))
    before = state.read_bytes()
    seen = await driver.observe(module)
    assert seen.differences == (
        Difference("terraform_data.disk#/input/size", "changed"),
        Difference("terraform_data.disk#/input/tags/1", "changed"),
        Difference("terraform_data.login#/input/password", "changed"),
    )
    assert "canary" not in repr(seen)
    assert seen.outputs == {
        "size": "small",
        "password": {"secretRef": "terraform:shop/dev/database/orders/only#password"},
    }
    assert state.read_bytes() == before
    forget(state, "disk")
    assert Difference("terraform_data.disk", "removed") in (await driver.observe(module)).differences


@installed
async def test_what_is_no_longer_in_the_module_was_added_by_somebody(settings: Settings, module: StepWork) -> None:
    driver = Terraform(settings)
    await driver.apply(module)
    less = MODULE.replace('resource "terraform_data" "disk" { input = { size = var.size, tags = ["a", "b"] } }', "")
    seen = await driver.observe(replace(module, with_={**module.with_, "files": {"main.tf": less}}))
    assert seen.differences == (Difference("terraform_data.disk", "added"),)


@installed
async def test_what_is_there_by_hand_is_imported_and_then_owned(
    settings: Settings, work: Callable[..., StepWork]
) -> None:
    driver = Terraform(settings)
    step = work(with_={"files": {"main.tf": FOREIGN}}, adopts=True, action="adopt")
    seen = await driver.observe(step)
    assert (seen.exists, seen.differences, seen.outputs) == (True, (), {"id": "made-by-hand"})
    assert await driver.observe(step) == seen
    assert await driver.observe(replace(step, adopts=False)) == seen
    result = await driver.destroy(replace(step, adopts=False, destroys=True))
    assert result.message == "1 destroyed"


@installed
@pytest.mark.parametrize(
    ("module", "named"),
    [
        (FOREIGN + 'resource "terraform_data" "more" {}', "create terraform_data.more"),
        (FOREIGN.replace('"disk" {}', '"disk" { input = "x" }'), "update terraform_data.disk"),
        (FOREIGN.replace('"disk" {}', '"disk" { triggers_replace = "x" }'), "terraform_data.disk"),
    ],
)
async def test_a_module_that_would_do_more_than_import_adopts_nothing(
    settings: Settings, work: Callable[..., StepWork], module: str, named: str
) -> None:
    driver = Terraform(settings)
    step = work(with_={"files": {"main.tf": module}}, adopts=True, action="adopt")
    with pytest.raises(StepFailed, match="would do more than import") as failure:
        await driver.observe(step)
    assert named in failure.value.reason
    assert not state_of(settings, step).parent.exists()


def test_a_drift_counts_where_the_module_would_put_it_right() -> None:
    """Recorded: no provider that drifts is built in."""

    def changed(address: str, before: Any, after: Any, **more: Any) -> dict[str, Any]:
        actions = more.pop("actions", ["update"])
        return {
            "address": address,
            "mode": "managed",
            "type": "cloud_disk",
            "change": {"actions": actions, "before": before, "after": after, **more},
        }

    wanted = {"id": "1", "size": 10, "tags": {"team": "data"}, "etag": "a"}
    there = {"id": "1", "size": 20, "tags": {"by": "hand"}, "etag": "b"}
    document = {
        "prior_state": {
            "values": {
                "root_module": {
                    "child_modules": [{"resources": [{"address": "module.m.cloud_disk.a", "mode": "managed"}]}]
                }
            }
        },
        "resource_drift": [
            changed("module.m.cloud_disk.a", wanted, there),
            changed("cloud_disk.left_alone", {"etag": "a"}, {"etag": "b"}),
            changed("cloud_disk.gone", wanted, None, actions=["delete"]),
        ],
        "resource_changes": [
            changed(
                "module.m.cloud_disk.a",
                there,
                {"size": 10, "tags": {"team": "data"}},
                after_unknown={"id": True, "etag": True},
                actions=["delete", "create"],
            ),
            changed("cloud_disk.left_alone", {"etag": "b"}, {"etag": "b"}, actions=["no-op"]),
            changed("cloud_disk.gone", None, wanted, actions=["create"]),
        ],
    }
    seen = sightings.observation(document, lambda _: {})
    assert [(one.path, one.change) for one in seen.differences] == [
        ("cloud_disk.gone", "removed"),
        ("module.m.cloud_disk.a#/etag", "changed"),
        ("module.m.cloud_disk.a#/size", "changed"),
        ("module.m.cloud_disk.a#/tags/by", "added"),
        ("module.m.cloud_disk.a#/tags/team", "removed"),
    ]
