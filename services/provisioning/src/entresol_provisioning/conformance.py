"""What every driver has to hold, as tests. Third parties run them against their own drivers, with pytest and
pytest-asyncio:

    class TestAbacus(Conformance):
        @pytest.fixture
        def case(self, tmp_path: Path) -> Case:
            return Case(driver=Abacus(…), work=make_work(), good=lambda size: {"beads": size}, bad={"beads": []})

A driver that takes long is called again and again until it is done, as the service does.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from entresol_manifests.schemas import differences, validator

from entresol_provisioning.drivers import (
    Driver,
    Observation,
    PlanOutdated,
    StepFailed,
    StepResult,
    StepSuspended,
    StepWork,
    contract_of,
)

PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A driver, and what it can be tried with."""

    driver: Driver
    work: StepWork
    """Its `with_` is replaced by what `good` gives."""
    good: Callable[[str], Mapping[str, Any]]
    """`with` for a size, "small" or "large"; another size is something to change, with other outputs."""
    bad: Mapping[str, Any]
    """`with` that is refused."""
    meddle: Callable[[StepWork], Awaitable[None]] | None = None
    """Changes behind the driver's back what the work has made, so that it differs; None: nothing can be changed so."""
    keeps: bool = False
    """Whether `destroy` leaves it in place on purpose, as `StepResult.kept` says."""
    leaves: bool = True
    """Whether it leaves anything in the world that can be found again."""

    @property
    def wanted(self) -> StepWork:
        return replace(self.work, with_=self.good("small"))


def make_work(**changes: Any) -> StepWork:
    """The first attempt at a step that creates something; `changes` are fields of StepWork."""
    fields: dict[str, Any] = {
        "request_id": "request-1",
        "run_id": "run-1",
        "step": "only",
        "idempotency_key": "run-1/only",
        "action": "create",
        "resource_id": "shop/dev/thing/one",
        "project": "shop",
        "environment": "dev",
        "offering": "thing",
        "name": "one",
        "actor": "user:ada",
        "with_": {},
    }
    return StepWork(**{**fields, **changes})


def later(work: StepWork, number: int, **changes: Any) -> StepWork:
    """The step in another run."""
    return replace(work, run_id=f"run-{number}", idempotency_key=f"run-{number}/{work.step}", **changes)


async def finished(act: Callable[[StepWork], Awaitable[StepResult]], work: StepWork) -> StepResult:
    """What `apply` or `destroy` gives in the end; what it waits for is given time, and a person who says yes."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return await act(work)
        except StepSuspended as suspended:
            waits = suspended
        assert time.monotonic() < until, f"it still waits: {waits.reason}"
        assert json.loads(json.dumps(waits.memory)) == waits.memory, "what it remembers is JSON"
        await asyncio.sleep(min(LOOK_SECONDS, waits.look_after_seconds or 0))
        answer: dict[str, Any] | None = {} if waits.look_after_seconds is None else None
        work = replace(work, memory=waits.memory, attempted=True, answer=answer)


async def refused(act: Callable[[StepWork], Awaitable[Any]], work: StepWork) -> StepFailed:
    """The failure of it."""
    try:
        await act(work)
    except StepFailed as failure:
        return failure
    raise AssertionError("it was not refused")


class Conformance:
    """Subclass it and give it the fixture `case`. Each test gets a case of its own, with nothing there yet."""

    async def test_it_can_work_here(self, case: Case) -> None:
        assert case.driver.available()
        assert case.driver.name

    async def test_what_it_says_of_itself_is_so(self, case: Case) -> None:
        if (contract := contract_of(case.driver)) is None:
            return
        assert contract.summary
        takes = validator(contract.settings)
        for size in ("small", "large"):
            assert differences(dict(case.good(size)), contract.settings, takes) == []
        if contract.outputs is not None:
            given = (await finished(case.driver.apply, case.wanted)).outputs
            assert differences(given, contract.outputs, validator(contract.outputs)) == []

    async def test_a_plan_tells_of_additions_and_changes_nothing(self, case: Case) -> None:
        first = await case.driver.plan(case.wanted)
        assert first == await case.driver.plan(case.wanted)
        assert first.adds > 0
        assert (first.changes, first.destroys) == (0, 0)
        assert first.summary
        assert {one.change for one in first.resources} == {"add"}
        assert not (await case.driver.observe(case.wanted)).exists

    async def test_what_is_applied_needs_no_further_change(self, case: Case) -> None:
        result = await finished(case.driver.apply, case.wanted)
        plan = await case.driver.plan(later(case.wanted, 2, previous=result.outputs))
        assert (plan.adds, plan.changes, plan.destroys) == (0, 0, 0)
        assert plan.resources == ()

    async def test_outputs_are_json(self, case: Case) -> None:
        outputs = (await finished(case.driver.apply, case.wanted)).outputs
        assert json.loads(json.dumps(outputs)) == outputs

    async def test_applying_the_same_work_again_leads_to_the_same_end(self, case: Case) -> None:
        first = await finished(case.driver.apply, case.wanted)
        again = await finished(case.driver.apply, replace(case.wanted, attempted=True))
        assert again.outputs == first.outputs

    async def test_other_inputs_are_a_change(self, case: Case) -> None:
        first = await finished(case.driver.apply, case.wanted)
        other = later(case.wanted, 2, with_=case.good("large"), previous=first.outputs, action="update")
        plan = await case.driver.plan(other)
        assert plan.changes + plan.adds + plan.destroys > 0
        second = await finished(case.driver.apply, other)
        assert second.outputs != first.outputs
        plan = await case.driver.plan(later(other, 3, previous=second.outputs))
        assert (plan.adds, plan.changes, plan.destroys) == (0, 0, 0)

    async def test_destroying_takes_it_down_and_can_be_repeated(self, case: Case) -> None:
        result = await finished(case.driver.apply, case.wanted)
        gone = later(case.wanted, 2, previous=result.outputs, destroys=True, action="delete")
        if not case.keeps:
            assert (await case.driver.plan(gone)).destroys > 0
        first = await finished(case.driver.destroy, gone)
        await finished(case.driver.destroy, replace(gone, attempted=True))
        assert bool(first.kept) == case.keeps
        if not case.keeps:
            assert not (await case.driver.observe(gone)).exists
            assert (await case.driver.plan(later(case.wanted, 3))).adds > 0

    async def test_destroying_what_never_was_is_a_success(self, case: Case) -> None:
        result = await finished(case.driver.destroy, replace(case.wanted, destroys=True, action="delete"))
        assert not result.kept

    async def test_an_approved_plan_is_carried_out(self, case: Case) -> None:
        plan = await case.driver.plan(case.wanted)
        result = await finished(case.driver.apply, replace(case.wanted, approved=plan.digest))
        changed = later(case.wanted, 2, with_=case.good("large"), previous=result.outputs, action="update")
        plan = await case.driver.plan(changed)
        result = await finished(case.driver.apply, replace(changed, approved=plan.digest))
        gone = later(changed, 3, previous=result.outputs, destroys=True, action="delete")
        plan = await case.driver.plan(gone)
        await finished(case.driver.destroy, replace(gone, approved=plan.digest))
        if not case.keeps:
            assert (await case.driver.plan(later(case.wanted, 4))).adds > 0

    async def test_another_plan_than_the_approved_one_touches_nothing(self, case: Case) -> None:
        other = "sha256:other"
        assert isinstance(await refused(case.driver.apply, replace(case.wanted, approved=other)), PlanOutdated)
        assert not (await case.driver.observe(case.wanted)).exists
        result = await finished(case.driver.apply, case.wanted)
        gone = later(case.wanted, 2, previous=result.outputs, destroys=True, action="delete")
        assert isinstance(await refused(case.driver.destroy, replace(gone, approved=other)), PlanOutdated)
        assert (await case.driver.observe(gone)).exists == case.leaves

    async def test_what_happened_meanwhile_is_another_plan(self, case: Case) -> None:
        large = case.good("large")
        plan = await case.driver.plan(later(case.wanted, 2, with_=large))
        result = await finished(case.driver.apply, case.wanted)
        now = later(case.wanted, 2, with_=large, previous=result.outputs, action="update")
        assert (await case.driver.plan(now)).digest != plan.digest
        assert isinstance(await refused(case.driver.apply, replace(now, approved=plan.digest)), PlanOutdated)

    async def test_an_own_effect_that_was_not_recorded_is_no_other_plan(self, case: Case) -> None:
        approved = replace(case.wanted, approved=(await case.driver.plan(case.wanted)).digest)
        first = await finished(case.driver.apply, approved)
        assert (await finished(case.driver.apply, replace(approved, attempted=True))).outputs == first.outputs
        gone = later(case.wanted, 2, previous=first.outputs, destroys=True, action="delete")
        approved = replace(gone, approved=(await case.driver.plan(gone)).digest)
        await finished(case.driver.destroy, approved)
        await finished(case.driver.destroy, replace(approved, attempted=True))

    async def test_what_was_applied_is_observed_without_a_difference(self, case: Case) -> None:
        result = await finished(case.driver.apply, case.wanted)
        seen = await case.driver.observe(later(case.wanted, 2, previous=result.outputs))
        assert seen.exists
        assert seen.differences == ()

    async def test_what_somebody_else_changed_is_observed_and_put_right(self, case: Case) -> None:
        if case.meddle is None:
            return
        result = await finished(case.driver.apply, case.wanted)
        again = later(case.wanted, 2, previous=result.outputs, action="update")
        await case.meddle(again)
        seen = await case.driver.observe(again)
        assert seen.differences
        assert seen == await case.driver.observe(again)
        await finished(case.driver.apply, again)
        assert (await case.driver.observe(later(again, 3))).differences == ()

    async def test_what_is_there_already_can_be_adopted(self, case: Case) -> None:
        if not case.leaves:
            return
        result = await finished(case.driver.apply, case.wanted)
        seen = await case.driver.observe(later(case.wanted, 2, adopts=True, action="adopt"))
        assert seen.exists
        assert seen.outputs is not None
        owned = later(case.wanted, 3, previous=seen.outputs, destroys=True, action="delete")
        await finished(case.driver.destroy, owned)
        if not case.keeps:
            gone: Observation = await case.driver.observe(owned)
            assert not gone.exists
        assert result.outputs.keys() == seen.outputs.keys()

    async def test_what_is_not_there_can_t_be_adopted(self, case: Case) -> None:
        if not case.leaves:
            return
        assert not (await case.driver.observe(replace(case.wanted, adopts=True, action="adopt"))).exists

    async def test_nonsense_is_refused_with_a_reason(self, case: Case) -> None:
        failure = await refused(case.driver.apply, replace(case.wanted, with_=case.bad))
        assert failure.reason
        assert not isinstance(failure, PlanOutdated)
