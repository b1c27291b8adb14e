"""Requests that policy wants to see planned, as the handlers tell it, with steps that are planned and done by hand."""

from collections.abc import Callable
from typing import Any

import pytest
from entresol_contracts.events import RunPlanned, RunStarted
from entresol_provisioning import store
from entresol_provisioning.domain.requests import MOST_OUTDATED
from entresol_provisioning.drivers import Touched
from entresol_provisioning.plans import after_apply

from services.provisioning.tests.conftest import Desk

PAIR = {
    "create": {
        "steps": [
            {"name": "first", "driver": "noop"},
            {"name": "second", "driver": "noop", "needs": ["first"]},
        ]
    }
}
WIDE = {"create": {"steps": [{"name": "left", "driver": "noop"}, {"name": "right", "driver": "noop"}]}}


@pytest.fixture
def desk(desk: Any, offering: Any) -> Any:
    desk.apply(offering())
    desk.apply(offering("pair", actions=PAIR))
    desk.apply(offering("wide", actions=WIDE))
    return desk


def plan(desk: Any, action: str = "create", **attributes: Any) -> str:
    """Ask, and let policy want a plan."""
    request_id: str = desk.submit(action, **attributes)
    desk.want_plan(request_id)
    return request_id


def approve(desk: Any, request_id: str) -> str:
    """Allow the plan that was told last; return its digest."""
    digest: str = told(desk, request_id).digest
    desk.allow(request_id, digest)
    return digest


def told(desk: Desk, request_id: str) -> RunPlanned:
    """The newest plan of the request."""
    return desk.said(RunPlanned, request_id)[-1]


def started(desk: Desk, request_id: str) -> list[str]:
    return [one.run_id for one in desk.said(RunStarted, request_id)]


def provision(desk: Any, **attributes: Any) -> None:
    desk.ask(**attributes)
    desk.done("only", outputs={"host": "db1"})


def test_a_plan_is_told_and_waits_for_policy_without_blocking_anybody(desk: Any) -> None:
    request_id = plan(desk)
    assert desk.facts() == []
    (intent,) = desk.ready()
    assert intent.request.plans
    desk.planned(summary=("+ it",), resources=(Touched("it", "add", "thing"),))
    planned = told(desk, request_id)
    assert desk.facts() == ["RunPlanned"]
    assert (planned.adds, planned.changes, planned.destroys, planned.cost, planned.unknown) == (1, 0, 0, None, [])
    assert [(one.name, one.digest, one.summary) for one in planned.steps] == [("only", "sha256:only", ["+ it"])]
    assert [(one.step, one.address, one.type, one.change) for one in planned.resources or ()] == [
        ("only", "it", "thing", "add")
    ]
    assert planned.replaces is None
    assert desk.ready() == []
    other = desk.ask()
    assert desk.facts(other) == ["RunStarted"]


def test_what_was_approved_is_planned_again_and_applied_in_the_same_turn(desk: Any) -> None:
    request_id = plan(desk)
    desk.planned()
    approve(desk, request_id)
    assert desk.facts() == ["RunPlanned"]
    verifying = desk.ready()[0]
    assert verifying.request.plans
    second = desk.ask("update")
    desk.planned()
    assert desk.facts(request_id) == ["RunPlanned", "RunStarted"]
    applying = desk.ready()[0]
    assert (applying.request.plans, applying.held) == (False, "sha256:only")
    assert len({told(desk, request_id).run_id, verifying.key[0], applying.key[0]}) == 3
    assert desk.facts(second) == []
    desk.done("only")
    assert desk.facts(request_id)[-2:] == ["ResourceProvisioned", "RunSucceeded"]
    assert desk.facts(second) == ["RunStarted"]


def test_a_plan_that_does_not_hold_any_more_is_told_and_decided_anew(desk: Any) -> None:
    request_id = plan(desk)
    desk.planned()
    first = approve(desk, request_id)
    desk.planned(digest="sha256:changed", adds=2)
    assert desk.facts() == ["RunPlanned", "RunPlanned"]
    anew = told(desk, request_id)
    assert (anew.replaces, anew.adds, anew.digest != first) == (first, 2, True)
    assert desk.ready() == []
    desk.allow(request_id, first)  # it comes late, about the plan before
    desk.planned(digest="sha256:changed", adds=2)
    assert (told(desk, request_id).digest, told(desk, request_id).replaces) == (anew.digest, first)
    approve(desk, request_id)
    desk.planned(digest="sha256:changed", adds=2)
    assert desk.facts()[-1] == "RunStarted"
    assert desk.ready()[0].held == "sha256:changed"


def test_every_fact_names_what_it_answers(desk: Any) -> None:
    request_id = plan(desk)
    desk.planned()
    approve(desk, request_id)
    desk.planned(digest="sha256:changed")
    approve(desk, request_id)
    desk.planned(digest="sha256:changed")
    desk.done("only")
    causes = [one.cause.id for one in desk.emits()]
    assert all(causes)
    assert len(set(causes)) == 3
    assert len(set(causes[2:])) == 1


def test_a_step_that_has_nothing_to_be_held_to_does_what_is_needed(desk: Any) -> None:
    request_id = plan(desk, offering="pair")
    for _ in range(2):
        desk.planned("first")
        desk.done("second", plan=after_apply("second", "noop", "first", there=False))
        if not started(desk, request_id):
            approve(desk, request_id)
    planned = told(desk, request_id)
    assert (planned.unknown, planned.adds) == (["second"], 2)
    assert [(one.digest, one.unknown) for one in planned.steps] == [("sha256:first", None), (None, True)]
    assert desk.ready()[0].held == "sha256:first"
    desk.done("first")
    assert desk.ready()[0].held is None


def test_a_step_that_was_not_to_be_taken_is_held_to_that(desk: Any) -> None:
    request_id = plan(desk, offering="wide")
    desk.planned("left")
    desk.done("right", "skipped")
    digest = approve(desk, request_id)
    desk.planned("left")
    desk.planned("right")
    assert told(desk, request_id).replaces == digest
    desk.allow(request_id, digest)
    desk.planned("left")
    desk.done("right", "skipped")
    assert {one.key[1]: one.held for one in desk.ready()} == {"left": "sha256:left", "right": "skipped"}


def test_inputs_that_another_request_has_changed_are_another_plan(desk: Any) -> None:
    provision(desk, inputs={"size": "small", "backup": False})
    request_id = plan(desk, "update", inputs={"size": "large"})
    desk.planned()
    digest = approve(desk, request_id)
    desk.cancel(request_id)
    desk.planned()
    other = plan(desk, "update", inputs={"size": "large"})
    desk.planned()
    assert told(desk, other).digest == digest
    provision_update = desk.ask("update", inputs={"backup": True})
    desk.done("only")
    assert desk.facts(provision_update)[-1] == "RunSucceeded"
    approve(desk, other)
    desk.planned()
    assert told(desk, other).replaces == digest


def test_planning_waits_for_a_run_and_a_run_for_planning(desk: Any) -> None:
    running = desk.ask()
    planning = plan(desk, "update")
    waiting = desk.ask("update")
    assert desk.facts(planning) == desk.facts(waiting) == []
    desk.done("only")
    assert desk.facts(running)[-1] == "RunSucceeded"
    assert [one.request.id for one in desk.ready()] == [planning]
    desk.planned()
    assert desk.facts(planning) == ["RunPlanned"]
    assert desk.facts(waiting) == ["RunStarted"]
    approve(desk, planning)
    assert [one.request.id for one in desk.ready()] == [waiting]
    desk.done("only")
    assert [(one.request.id, one.request.plans) for one in desk.ready()] == [(planning, True)]


def test_without_a_digest_whatever_is_needed_is_applied(desk: Any) -> None:
    request_id = plan(desk)
    desk.planned()
    desk.allow(request_id)
    assert desk.facts() == ["RunPlanned", "RunStarted"]
    assert desk.ready()[0].held is None


@pytest.mark.parametrize("queued", [False, True])
def test_a_plan_that_policy_does_not_wait_for_any_more_is_not_told(desk: Any, queued: bool) -> None:
    if queued:
        desk.ask()
    request_id = plan(desk, "update" if queued else "create")
    desk.allow(request_id)
    if queued:
        desk.done("only")
    else:
        assert desk.facts() == []
        desk.done("only", "failed", message="of no interest")
    assert desk.facts(request_id) == ["RunStarted"]
    desk.done("only")
    assert desk.facts(request_id)[-1] == "RunSucceeded"


STAGES: dict[str, Callable[[Any], str]] = {}


def stage(make: Callable[[Any], str]) -> Callable[[Any], str]:
    STAGES[make.__name__] = make
    return make


@stage
def submitted(desk: Any) -> str:
    request_id: str = desk.submit()
    return request_id


@stage
def queued_to_plan(desk: Any) -> str:
    desk.ask()
    return plan(desk)


@stage
def planning(desk: Any) -> str:
    return plan(desk)


@stage
def planned(desk: Any) -> str:
    request_id = plan(desk)
    desk.planned()
    return request_id


@stage
def queued_to_verify(desk: Any) -> str:
    request_id = planned(desk)
    desk.ask()
    approve(desk, request_id)
    return request_id


@stage
def verifying(desk: Any) -> str:
    request_id = planned(desk)
    approve(desk, request_id)
    return request_id


@pytest.mark.parametrize("end", ["deny", "reject", "expire", "cancel"])
@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_a_request_ends_once_wherever_it_is(desk: Any, stage: Callable[[Any], str], end: str) -> None:
    request_id = stage(desk)
    said = desk.facts(request_id)
    getattr(desk, end)(request_id)
    next_one = desk.ask()
    for _ in range(3):
        for intent in desk.ready():
            if intent.request.plans:
                desk.planned()
            else:
                desk.done("only")
    desk.allow(request_id, "sha256:whatever")
    desk.allow(request_id)
    desk.want_plan(request_id)
    desk.cancel(request_id)
    assert desk.ready() == []
    assert desk.facts(request_id) == [*said, *(["RunCancelled"] if end == "cancel" else [])]
    assert desk.facts(next_one)[-1] in ("RunSucceeded", "RunFailed")


def test_what_policy_has_ended_is_not_cancelled_too(desk: Any) -> None:
    request_id = plan(desk)
    desk.cancel(request_id)
    desk.deny(request_id)
    desk.cancel(request_id)
    desk.planned()
    assert desk.facts() == []


def test_an_objection_in_a_review_ends_nothing(desk: Any) -> None:
    request_id = plan(desk)
    desk.planned()
    desk.reject(request_id, review=True)
    approve(desk, request_id)
    desk.planned()
    assert desk.facts()[-1] == "RunStarted"


def test_a_step_that_would_not_do_what_was_approved_sends_the_request_back(desk: Any) -> None:
    request_id = plan(desk, offering="pair")
    desk.planned("first")
    desk.planned("second")
    digest = approve(desk, request_id)
    desk.planned("first")
    desk.planned("second")
    desk.done("first", outputs={"host": "db1"})
    waiting = desk.ask(offering="pair")
    desk.done("second", "outdated", undo=None)
    assert desk.facts(request_id) == ["RunPlanned", "RunStarted", "RunProgressed"]
    desk.planned("first", digest="sha256:done", adds=0)
    desk.planned("second", digest="sha256:other")
    anew = told(desk, request_id)
    assert (anew.replaces, anew.adds) == (digest, 1)
    assert desk.facts(waiting) == ["RunStarted"]
    desk.cancel(waiting)
    desk.done("first", "dropped")
    approve(desk, request_id)
    desk.planned("first", digest="sha256:done", adds=0)
    desk.planned("second", digest="sha256:other")
    assert len(set(started(desk, request_id))) == 2
    desk.done("first", outputs={"host": "db1"})
    desk.done("second")
    assert desk.facts(request_id)[-2:] == ["ResourceProvisioned", "RunSucceeded"]


def test_what_was_applied_before_is_remembered_by_whoever_cancels(desk: Any) -> None:
    request_id = plan(desk, offering="pair")
    for _ in range(2):
        desk.planned("first")
        desk.planned("second")
        if not started(desk, request_id):
            approve(desk, request_id)
    desk.done("first")
    desk.done("second", "outdated", undo=None)
    desk.planned("first", digest="sha256:done", adds=0)
    desk.planned("second")
    desk.cancel(request_id)
    assert desk.last().steps_done == ["first"]


def test_the_same_plan_after_all_is_applied_without_asking_again(desk: Any) -> None:
    request_id = verifying(desk)
    desk.planned()
    desk.done("only", "outdated", undo=None)
    desk.planned()
    assert desk.facts(request_id) == ["RunPlanned", "RunStarted", "RunStarted"]


def test_a_plan_that_changes_by_itself_fails_in_the_end(desk: Any) -> None:
    request_id = planned(desk)
    for number in range(MOST_OUTDATED + 1):
        approve(desk, request_id)
        desk.planned(digest=f"sha256:{number}")
    assert desk.facts(request_id) == [*["RunPlanned"] * (MOST_OUTDATED + 1), "RunFailed"]
    assert "change by itself" in desk.last().reason


def test_a_driver_whose_plans_and_deeds_disagree_fails_in_the_end(desk: Any) -> None:
    request_id = verifying(desk)
    for _ in range(MOST_OUTDATED + 1):
        desk.planned()
        desk.done("only", "outdated", undo=None)
    assert desk.facts(request_id)[-1] == "RunFailed"


@pytest.mark.parametrize(
    ("other", "cancelled", "end"),
    [
        ("succeeded", False, "RunPlanned"),
        ("failed", False, "RunFailed"),
        ("retrying", False, "RunPlanned"),
        ("succeeded", True, "RunCancelled"),
        ("outdated", False, "RunPlanned"),
    ],
)
def test_a_request_goes_back_when_nothing_of_it_runs_any_more(desk: Any, other: str, cancelled: bool, end: str) -> None:
    request_id = plan(desk, offering="wide")
    for _ in range(2):
        desk.planned("left")
        desk.planned("right")
        if not started(desk, request_id):
            approve(desk, request_id)
    desk.done("left", "outdated", undo=None)
    if cancelled:
        desk.cancel(request_id)
    assert [one.key[1] for one in desk.ready()] == ["right"]
    desk.done("right", other, message="it said")
    while desk.ready():
        desk.planned(desk.ready()[0].key[1], digest="sha256:anew")
    assert desk.facts(request_id)[-1] == end


def test_a_step_is_planned_again_after_a_passing_failure_and_nothing_is_said(desk: Any) -> None:
    request_id = plan(desk)
    desk.done("only", "retrying", message="busy", retry_after_seconds=3)
    assert desk.facts() == []
    (key,) = desk.deadlines
    desk.due(key)
    assert desk.ready()[0].attempt == 2
    desk.done("only", "failed", message="broken")
    assert desk.facts(request_id) == ["RunFailed"]
    assert (desk.last().step, desk.last().reason) == ("only", "broken")


def test_a_request_that_cannot_be_begun_fails_when_it_is_planned(desk: Any) -> None:
    plan(desk, "update")
    assert desk.facts() == ["RunFailed"]
    assert "there is no" in desk.last().reason


def test_a_create_whose_resource_was_made_meanwhile_fails_when_it_is_allowed(desk: Any) -> None:
    request_id = planned(desk)
    provision(desk)
    approve(desk, request_id)
    assert desk.facts(request_id) == ["RunPlanned", "RunFailed"]


def test_a_delete_is_planned_backwards_and_held_to_its_plan(desk: Any) -> None:
    desk.ask(offering="pair")
    desk.done("first")
    desk.done("second")
    request_id = plan(desk, "delete", offering="pair")
    for _ in range(2):
        for step in ("second", "first"):
            desk.planned(step, adds=0, destroys=1)
        if not started(desk, request_id):
            assert told(desk, request_id).destroys == 2
            approve(desk, request_id)
    assert desk.ready()[0].held == "sha256:second"
    desk.done("second")
    desk.done("first")
    assert desk.facts(request_id)[-2:] == ["ResourceDeleted", "RunSucceeded"]


def test_an_extension_is_planned_although_it_has_no_steps(desk: Any, offering: Any) -> None:
    desk.apply(offering("mortal", lifetime={"default": "2d", "max": "5d"}))
    provision(desk, offering="mortal")
    request_id = plan(desk, "extend", offering="mortal", lifetime_seconds=3 * 86400)
    assert (told(desk, request_id).steps, told(desk, request_id).adds) == ([], 0)
    approve(desk, request_id)
    assert desk.facts(request_id) == ["RunPlanned", "RunStarted", "ResourceExtended", "RunSucceeded"]
    plan(desk, "extend", offering="mortal", lifetime_seconds=60)
    assert desk.facts()[-1] == "RunFailed"


def test_a_dry_run_that_policy_wants_to_see_ends_when_its_plan_still_holds(desk: Any) -> None:
    request_id = plan(desk, dry_run=True)
    desk.planned()
    digest = approve(desk, request_id)
    desk.planned(digest="sha256:changed")
    assert told(desk, request_id).replaces == digest
    approve(desk, request_id)
    desk.planned(digest="sha256:changed")
    assert desk.facts() == ["RunPlanned", "RunPlanned", "RunSucceeded"]
    assert desk.last().dry_run
    plan(desk, "update")
    assert "there is no" in desk.last().reason


def test_what_is_done_stays_known_to_whoever_deletes(desk: Any) -> None:
    request_id = verifying(desk)
    desk.planned()
    desk.done("only", "outdated")  # an earlier attempt was interrupted, so something may be there
    desk.planned(digest="sha256:changed")
    desk.deny(request_id)
    assert [one.step for one in store.footprints_of(desk.session.connection(), "shop/dev/database/orders")] == ["only"]
