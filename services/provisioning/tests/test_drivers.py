"""What every driver has to hold, run against each of them."""

import json
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from entresol_provisioning.drivers import Driver, PlanOutdated, StepFailed, StepWork
from entresol_provisioning.drivers.gitops import GitOps
from entresol_provisioning.drivers.noop import Noop
from entresol_provisioning.drivers.registry import assemble
from entresol_provisioning.drivers.terraform import Terraform
from entresol_provisioning.settings import Settings

MODULE = """
variable "size" { type = string }
resource "terraform_data" "disk" { input = var.size }
output "size" { value = terraform_data.disk.output }
"""
GOOD: dict[str, Callable[[Any], dict[str, Any]]] = {
    "noop": lambda size: {"outputs": {"size": size}},
    "gitops": lambda size: {"repository": "infra", "create": True, "files": {"size.yaml": f"size: {size}\n"}},
    "terraform": lambda size: {"files": {"main.tf": MODULE}, "variables": {"size": size}},
}
BAD: dict[str, dict[str, Any]] = {
    "noop": {"outputs": "none"},
    "gitops": {"repository": "infra", "files": {}},
    "terraform": {"files": {"main.tf": 'resource "nonsense" {'}},
}
MAKE: dict[str, Callable[[Settings], Driver]] = {
    "noop": lambda _: Noop(),
    "gitops": GitOps,
    "terraform": Terraform,
}
needs_terraform = pytest.mark.skipif(
    not (shutil.which("tofu") or shutil.which("terraform")), reason="neither tofu nor terraform is installed"
)
EACH = [pytest.param(name, marks=needs_terraform if name == "terraform" else ()) for name in MAKE]


def later(work: StepWork, number: int, **changes: Any) -> StepWork:
    """The step in another run."""
    return replace(work, run_id=f"run-{number}", idempotency_key=f"run-{number}/only", **changes)


@pytest.fixture
async def driver(request: pytest.FixtureRequest, settings: Settings) -> AsyncIterator[Driver]:
    made = MAKE[request.param](settings)
    yield made
    await made.close()


@pytest.fixture
def wanted(driver: Driver, work: Callable[..., StepWork]) -> StepWork:
    return work(with_=GOOD[driver.name]("small"))


@pytest.mark.parametrize("driver", EACH, indirect=True)
class TestEveryDriver:
    async def test_is_what_it_says(self, driver: Driver, settings: Settings) -> None:
        assert driver.available()
        assert assemble(settings)[driver.name].name == driver.name

    async def test_a_plan_tells_of_additions_and_changes_nothing(self, driver: Driver, wanted: StepWork) -> None:
        first = await driver.plan(wanted)
        assert first == await driver.plan(wanted)
        assert (first.adds, first.changes, first.destroys) == (1, 0, 0)
        assert first.summary

    async def test_what_is_applied_needs_no_further_change(self, driver: Driver, wanted: StepWork) -> None:
        result = await driver.apply(wanted)
        plan = await driver.plan(replace(wanted, previous=result.outputs))
        assert (plan.adds, plan.changes, plan.destroys) == (0, 0, 0)

    async def test_outputs_are_json(self, driver: Driver, wanted: StepWork) -> None:
        assert json.loads(json.dumps((await driver.apply(wanted)).outputs))

    async def test_applying_the_same_work_again_leads_to_the_same_end(self, driver: Driver, wanted: StepWork) -> None:
        first = await driver.apply(wanted)
        again = await driver.apply(replace(wanted, attempted=True))
        assert again.outputs == first.outputs

    async def test_other_inputs_are_a_change(self, driver: Driver, wanted: StepWork) -> None:
        result = await driver.apply(wanted)
        other = replace(
            wanted,
            run_id="run-2",
            idempotency_key="run-2/only",
            with_=GOOD[driver.name]("large"),
            previous=result.outputs,
        )
        plan = await driver.plan(other)
        assert (plan.adds, plan.changes, plan.destroys) == (0, 1, 0)
        assert (await driver.apply(other)).outputs != result.outputs

    async def test_destroying_takes_it_down_and_can_be_repeated(self, driver: Driver, wanted: StepWork) -> None:
        result = await driver.apply(wanted)
        gone = replace(wanted, run_id="run-2", idempotency_key="run-2/only", previous=result.outputs, destroys=True)
        assert (await driver.plan(gone)).destroys == 1
        await driver.destroy(gone)
        await driver.destroy(replace(gone, attempted=True))
        assert (await driver.plan(replace(wanted, previous=None))).adds == 1

    async def test_destroying_what_never_was_is_a_success(self, driver: Driver, wanted: StepWork) -> None:
        await driver.destroy(replace(wanted, destroys=True))

    async def test_a_plan_names_what_it_would_touch(self, driver: Driver, wanted: StepWork) -> None:
        (touched,) = (await driver.plan(wanted)).resources
        assert touched.change == "add"
        result = await driver.apply(wanted)
        after = later(wanted, 2, previous=result.outputs)
        assert (await driver.plan(after)).resources == ()
        gone = replace(after, destroys=True)
        assert [(one.address, one.change) for one in (await driver.plan(gone)).resources] == [
            (touched.address, "destroy")
        ]

    async def test_an_approved_plan_is_carried_out(self, driver: Driver, wanted: StepWork) -> None:
        plan = await driver.plan(wanted)
        result = await driver.apply(replace(wanted, approved=plan.digest))
        changed = later(wanted, 2, with_=GOOD[driver.name]("large"), previous=result.outputs)
        plan = await driver.plan(changed)
        result = await driver.apply(replace(changed, approved=plan.digest))
        gone = later(changed, 3, previous=result.outputs, destroys=True)
        plan = await driver.plan(gone)
        await driver.destroy(replace(gone, approved=plan.digest))
        assert (await driver.plan(later(wanted, 4))).adds == 1

    async def test_another_plan_than_the_approved_one_touches_nothing(self, driver: Driver, wanted: StepWork) -> None:
        with pytest.raises(PlanOutdated):
            await driver.apply(replace(wanted, approved="sha256:other"))
        assert (await driver.plan(wanted)).adds == 1
        result = await driver.apply(wanted)
        gone = later(wanted, 2, previous=result.outputs, destroys=True)
        with pytest.raises(PlanOutdated):
            await driver.destroy(replace(gone, approved="sha256:other"))
        assert (await driver.plan(gone)).destroys == 1

    async def test_what_somebody_else_did_meanwhile_is_another_plan(self, driver: Driver, wanted: StepWork) -> None:
        large = GOOD[driver.name]("large")
        plan = await driver.plan(later(wanted, 2, with_=large))
        result = await driver.apply(wanted)
        now = later(wanted, 2, with_=large, previous=result.outputs)
        assert (await driver.plan(now)).digest != plan.digest
        with pytest.raises(PlanOutdated):
            await driver.apply(replace(now, approved=plan.digest))

    async def test_an_own_effect_that_was_not_recorded_is_no_other_plan(self, driver: Driver, wanted: StepWork) -> None:
        approved = replace(wanted, approved=(await driver.plan(wanted)).digest)
        first = await driver.apply(approved)
        assert (await driver.apply(replace(approved, attempted=True))).outputs == first.outputs
        gone = later(wanted, 2, previous=first.outputs, destroys=True)
        approved = replace(gone, approved=(await driver.plan(gone)).digest)
        await driver.destroy(approved)
        await driver.destroy(replace(approved, attempted=True))

    async def test_nonsense_is_refused_with_a_reason(self, driver: Driver, wanted: StepWork) -> None:
        with pytest.raises(StepFailed) as failure:
            await driver.apply(replace(wanted, with_=BAD[driver.name]))
        assert failure.value.reason


def test_a_third_partys_driver_is_found_by_its_entry_point(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    class Abacus(Noop):
        name = "abacus"

    class Found:
        def __init__(self, make: Callable[[Settings], Driver]) -> None:
            self.name, self._make = "found", make

        def load(self) -> Callable[[Settings], Driver]:
            return self._make

    def broken(_: Settings) -> Driver:
        raise RuntimeError("no beads")

    found = [Found(lambda _: Abacus()), Found(lambda _: Noop()), Found(broken)]
    monkeypatch.setattr("entresol_provisioning.drivers.registry.entry_points", lambda group: found)
    assert list(assemble(settings)) == ["noop", "gitops", "terraform", "abacus"]


def test_the_data_directory_holds_repositories_and_workspaces(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    assert settings.repositories == tmp_path / "repositories"
    assert Settings(data=tmp_path, workspaces_root=tmp_path / "w").workspaces == tmp_path / "w"
