"""Rules and quotas judge what the steps of a request will see, and nothing else begins."""

from typing import Any

import pytest
from entresol_contracts.events import (
    ApprovalClosed,
    ApprovalRequested,
    ManifestRemoved,
    RequestAllowed,
    RequestDenied,
    Snapshot,
)
from entresol_manifests.digest import digest

from services.policy.tests.conftest import World, kinds

BIG = {
    "deny": 'request.inputs.size == "large" && request.inputs.replicas > 3',
    "because": "too much for one",
}
ASK = {"approve": {"from": ["group:sre"]}}


def update(world: World, request_id: str = "r1", **inputs: Any) -> list[Any]:
    return world.ask(request_id, action="update", inputs=inputs)


def test_two_updates_do_not_walk_around_a_rule_about_both_fields(world: World) -> None:
    world.policy("sizes", BIG)
    world.exists("orders", size="small", replicas=2)
    (first,) = update(world, "r1", size="large")
    assert isinstance(first, RequestAllowed)
    world.becomes("r1", size="large", replicas=2)
    (second,) = update(world, "r2", replicas=4)
    assert isinstance(second, RequestDenied)
    assert second.because == ["too much for one"]


@pytest.mark.parametrize("action", ["extend", "delete", "reconcile", "pause", "unpause", "rotate"])
def test_a_rule_about_inputs_sees_those_of_the_resource_where_none_are_asked_for(world: World, action: str) -> None:
    world.policy("sizes", BIG)
    world.exists("orders", size="large", replicas=4)
    (denied,) = world.ask(action=action, inputs={})
    assert denied.because == ["too much for one"]


def test_a_rollback_is_judged_by_all_that_it_goes_back_to(world: World) -> None:
    world.policy("sizes", BIG)
    world.exists("orders", size="small", replicas=9)
    (denied,) = world.ask(action="rollback", snapshot=Snapshot(revision=1), inputs={"size": "large", "replicas": 4})
    assert isinstance(denied, RequestDenied)


def test_an_upgrade_is_judged_with_the_defaults_of_the_version_and_without_what_it_does_not_know(world: World) -> None:
    world.policy("sizes", BIG, {"deny": "has(request.inputs.old)", "because": "it is still there"})
    world.offer("2.0.0", closed=True, size={}, replicas={"default": 4})
    world.hear(ManifestRemoved(kind="Offering", name="database", version="2.0.0"))
    world.exists("orders", size="large", old=1)
    (denied,) = world.ask(action="update", offering_version="2.0.0", inputs={})
    assert denied.because == ["too much for one"]


def test_a_rule_can_tell_what_was_asked_for(world: World) -> None:
    world.policy(
        "fixed", {"deny": "has(request.asked.size)", "because": "the size stays"}, when='request.action == "update"'
    )
    world.exists("orders", size="small")
    assert kinds(update(world, "r1", replicas=2)) == [RequestAllowed]
    assert kinds(update(world, "r2", size="small")) == [RequestDenied]


def test_the_decision_names_the_inputs_where_they_may_become_others(world: World) -> None:
    world.exists("orders", size="small")
    (free,) = update(world, "r0", replicas=2)
    assert free.inputs_digest is None, "nothing was judged"
    world.policy("sizes", BIG)
    (created,) = world.ask("r1", inputs={"size": "small"})
    assert created.inputs_digest is None
    (updated,) = update(world, "r2", replicas=2)
    assert updated.inputs_digest == digest({"size": "small", "replicas": 2})


def test_what_was_allowed_with_other_inputs_is_judged_anew_by_those_of_its_plan(world: World) -> None:
    world.policy("sizes", BIG)
    world.exists("orders", size="small", replicas=2)
    (allowed,) = update(world, replicas=4)
    world.becomes(size="large", replicas=2)
    said = world.plan(replaces=allowed.inputs_digest, inputs={"size": "large", "replicas": 4})
    assert kinds(said) == [RequestDenied]


def test_what_is_still_right_then_is_allowed_with_the_plan(world: World) -> None:
    world.policy("sizes", BIG)
    world.exists("orders", size="small", replicas=2)
    (allowed,) = update(world, replicas=3)
    (again,) = world.plan(replaces=allowed.inputs_digest, inputs={"size": "large", "replicas": 3})
    assert (type(again), again.plan_digest, again.inputs_digest) == (RequestAllowed, "p1", None)


def test_a_grant_is_for_the_inputs_that_were_asked_about(world: World) -> None:
    world.policy("eyes", ASK)
    world.exists("orders", size="small")
    (asked,) = update(world, replicas=4)
    world.becomes(size="large")
    said = world.answer(asked)
    assert kinds(said)[1:] == [ApprovalRequested]
    assert kinds(world.answer(said[1], "user:cyd"))[1:] == [RequestAllowed]


def test_an_open_question_about_other_inputs_is_closed_with_that_reason(world: World) -> None:
    world.policy("eyes", ASK, {"approve": {"from": ["group:data"]}})
    world.exists("orders", size="small")
    asked, _ = update(world, replicas=4)
    world.becomes(size="large")
    said = world.answer(asked)
    assert [one.because for one in said if isinstance(one, ApprovalClosed)] == [
        "the resource has other inputs than before"
    ]


def test_a_quota_sums_up_the_same_inputs_as_the_rules_see(world: World) -> None:
    world.apply(
        "Quota",
        "storage",
        sum="resource.inputs.gb * (has(resource.inputs.replicas) ? resource.inputs.replicas : 1)",
        limit=10,
    )
    world.offer("2.0.0", gb={}, replicas={"default": 3})
    world.exists("orders", gb=4)
    (denied,) = world.ask(action="update", offering_version="2.0.0", inputs={})
    assert denied.because == ["quota storage: 4 of 10 used, 8 asked"]
    world.becomes(gb=3, replicas=1)
    assert kinds(world.ask("r2", action="update", inputs={"replicas": 3})) == [RequestAllowed]
    said = world.ask("r3", action="rollback", snapshot=Snapshot(revision=1), inputs={"gb": 11, "replicas": 1})
    assert kinds(said) == [RequestDenied]
