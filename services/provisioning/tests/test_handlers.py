"""The life of a request as the handlers tell it, with steps that are done by hand."""

from datetime import timedelta
from typing import Any

import pytest
from entresol_contracts.events import ManifestRemoved
from entresol_eventing import envelope
from entresol_provisioning import resources
from entresol_provisioning.verdicts import Verdict

TWO = {
    "create": {
        "steps": [
            {"name": "second", "driver": "noop", "needs": ["first"]},
            {"name": "first", "driver": "noop"},
        ]
    },
    "rotate": {"steps": [{"name": "turn", "driver": "noop"}]},
}


@pytest.fixture
def desk(desk: Any, offering: Any) -> Any:
    desk.apply(offering(inputs={"type": "object"}, outputs={"host": "${steps.only.outputs.host}"}))
    return desk


def provision(desk: Any, **attributes: Any) -> str:
    request_id: str = desk.ask(**attributes)
    desk.done("only", outputs={"host": "db1"})
    return request_id


def test_a_create_is_started_progressed_and_provisioned(desk: Any) -> None:
    request_id = desk.ask(inputs={"size": "small"})
    assert desk.facts() == ["RunStarted"]
    assert desk.last().running == ["only"]
    desk.later(seconds=2)
    desk.done("only", outputs={"host": "db1"}, message="made")
    assert desk.facts(request_id) == ["RunStarted", "RunProgressed", "ResourceProvisioned", "RunSucceeded"]
    progressed, provisioned, succeeded = (one.data for one in desk.emits()[1:])
    assert (progressed.state, progressed.outputs, progressed.running) == ("succeeded", {"host": "db1"}, [])
    assert (provisioned.inputs, provisioned.outputs, provisioned.owner) == (
        {"size": "small"},
        {"host": "db1"},
        "user:ada",
    )
    assert (succeeded.outputs, succeeded.duration_ms, succeeded.dry_run) == ({"host": "db1"}, 2000, False)


def test_every_fact_names_its_cause_and_keeps_the_resources_order(desk: Any) -> None:
    provision(desk)
    assert all(one.cause is not None and one.cause.id for one in desk.emits())
    assert {one.partitionkey or one.subject for one in desk.emits()} == {"shop/dev/database/orders"}


def test_an_action_without_steps_succeeds_in_the_same_transaction(desk: Any, offering: Any) -> None:
    desk.apply(offering("empty", actions={"create": {"steps": []}}))
    desk.ask(offering="empty")
    assert desk.facts() == ["RunStarted", "ResourceProvisioned", "RunSucceeded"]


@pytest.mark.parametrize(
    ("action", "attributes", "reason"),
    [
        ("update", {}, "there is no shop/dev/database/orders"),
        ("extend", {"lifetime_seconds": 60}, "there is no"),
        ("create", {"offering_version": "9.9.9"}, "database 9.9.9 is not known here"),
    ],
)
def test_what_is_impossible_fails_with_the_reason(
    desk: Any, action: str, attributes: dict[str, Any], reason: str
) -> None:
    desk.ask(action, **attributes)
    assert desk.facts() == ["RunFailed"]
    assert reason in desk.last().reason


def test_a_second_create_is_pointed_to_update(desk: Any) -> None:
    provision(desk)
    desk.ask()
    assert desk.last().reason == "shop/dev/database/orders already exists; use update"


def test_a_driver_that_is_not_installed_fails_before_anything_happens(desk: Any, offering: Any) -> None:
    steps = [{"name": "a", "driver": "noop"}, {"name": "b", "driver": "abacus"}]
    desk.apply(offering("odd", actions={"create": {"steps": steps}}))
    desk.ask(offering="odd")
    assert desk.facts() == ["RunFailed"]
    assert "needs the driver abacus" in desk.last().reason


def test_the_offering_is_frozen_when_it_is_asked_for(desk: Any, offering: Any) -> None:
    request_id = desk.submit()
    desk.apply(offering(actions={"create": {"steps": [{"name": "other", "driver": "noop"}]}}))
    desk.allow(request_id)
    assert desk.last().steps == ["only"]


def test_an_update_merges_its_inputs_over_the_resources(desk: Any) -> None:
    provision(desk, inputs={"size": "small", "backup": True})
    desk.ask("update", inputs={"size": "large"})
    assert desk.ready()[0].variables({})["inputs"] == {"size": "large", "backup": True}
    desk.done("only", outputs={"host": "db2"})
    changed = desk.emits()[-2].data
    assert (changed.inputs, changed.outputs, changed.action) == (
        {"size": "large", "backup": True},
        {"host": "db2"},
        "update",
    )


def test_revisions_rise_also_across_a_deletion(desk: Any) -> None:
    provision(desk)
    desk.ask("delete")
    desk.done("only")
    provision(desk)
    sequences = [one.sequence for one in desk.emits() if one.sequence is not None]
    assert sequences == [1, 2, 3]


def test_work_on_one_resource_is_serial(desk: Any) -> None:
    first = desk.ask()
    second = desk.ask("update", inputs={"size": "large"})
    third = desk.ask("delete")
    assert desk.facts(second) == []
    desk.done("only", outputs={"host": "db1"})
    assert desk.facts(first)[-1] == "RunSucceeded"
    assert desk.facts(second) == ["RunStarted"]
    desk.done("only", outputs={"host": "db1"})
    assert desk.facts(third) == ["RunStarted"]
    desk.done("only")
    assert desk.facts(third)[-2:] == ["ResourceDeleted", "RunSucceeded"]


def test_other_resources_do_not_wait(desk: Any) -> None:
    desk.ask()
    desk.ask(name="carts")
    assert desk.facts() == ["RunStarted", "RunStarted"]


def test_many_waiting_requests_that_cannot_begin_all_fail_at_once(desk: Any) -> None:
    desk.ask()
    for _ in range(1500):
        desk.ask()
    desk.done("only", outputs={"host": "db1"})
    assert desk.facts().count("RunFailed") == 1500


def test_delete_destroys_in_reverse_order_and_says_deleted_last(desk: Any, offering: Any) -> None:
    desk.apply(offering("pair", actions=TWO))
    desk.ask(offering="pair")
    desk.done("first")
    desk.done("second")
    desk.ask("delete", offering="pair")
    assert desk.last().steps == ["second", "first"]
    desk.done("second")
    assert "ResourceDeleted" not in desk.facts()
    desk.done("first")
    assert desk.facts()[-2:] == ["ResourceDeleted", "RunSucceeded"]


def test_deleting_what_is_not_there_succeeds(desk: Any) -> None:
    desk.ask("delete")
    assert desk.facts() == ["RunStarted", "RunSucceeded"]


def test_a_failed_create_can_be_tried_again_and_its_remains_deleted(desk: Any, offering: Any) -> None:
    desk.apply(offering("pair", actions=TWO))
    desk.ask(offering="pair")
    desk.done("first")
    desk.done("second", "failed", message="no space")
    assert desk.facts()[-1] == "RunFailed"
    assert desk.last().step == "second"
    assert desk.last().reason.startswith("no space (left behind")
    desk.ask("delete", offering="pair")
    assert desk.last().steps == ["second", "first"]
    desk.done("second")
    desk.done("first")
    desk.ask(offering="pair")
    assert desk.facts()[-1] == "RunStarted"


def test_a_failing_step_waits_for_those_that_run_beside_it(desk: Any, offering: Any) -> None:
    steps = [{"name": "left", "driver": "noop"}, {"name": "right", "driver": "noop"}]
    steps.append({"name": "top", "driver": "noop", "needs": ["right"]})  # type: ignore[dict-item]
    desk.apply(offering("wide", actions={"create": {"steps": steps}}))
    desk.ask(offering="wide")
    desk.done("left", "failed", message="broken")
    assert "RunFailed" not in desk.facts()
    desk.done("right")
    assert desk.facts()[-1] == "RunFailed"
    assert desk.ready() == []


def test_a_retried_step_waits_for_its_deadline(desk: Any) -> None:
    request_id = desk.ask()
    desk.done("only", "retrying", message="busy", retry_after_seconds=3)
    assert (desk.last().state, desk.last().attempt, desk.last().message) == ("retrying", 1, "busy")
    assert desk.ready() == []
    (key,) = desk.deadlines
    assert desk.deadlines[key].due_at == desk.at + timedelta(seconds=3)
    desk.due(key)
    assert desk.ready()[0].attempt == 2
    desk.done("only", outputs={"host": "db1"})
    assert desk.facts(request_id)[-1] == "RunSucceeded"


def test_a_second_verdict_on_one_attempt_changes_nothing(desk: Any) -> None:
    desk.ask()
    intent = desk.ready()[0]
    desk.done("only", outputs={"host": "db1"})
    said = len(desk.outcomes)
    run_id, step = intent.key
    desk.take(desk.runs.record(desk.session, Verdict(run_id, step, 1, "failed"), desk.at))
    assert len(desk.outcomes) == said


@pytest.mark.parametrize("end", ["deny", "expire"])
def test_what_policy_has_ended_stays_ended(desk: Any, end: str) -> None:
    request_id = desk.submit()
    getattr(desk, end)(request_id)
    desk.allow(request_id)
    desk.cancel(request_id)
    assert desk.facts() == []


def test_a_request_cancelled_before_policy_ignores_a_later_allowed(desk: Any) -> None:
    request_id = desk.submit()
    desk.cancel(request_id)
    desk.allow(request_id)
    assert desk.facts() == ["RunCancelled"]
    assert desk.last().reason == "cancelled by user:bo: a mistake"


def test_a_queued_request_is_cancelled_at_once_and_never_begins(desk: Any) -> None:
    desk.ask()
    second = desk.ask("update")
    desk.cancel(second)
    assert desk.facts(second) == ["RunCancelled"]
    desk.done("only", outputs={"host": "db1"})
    assert desk.facts(second) == ["RunCancelled"]


def test_a_running_request_is_cancelled_after_its_step_and_the_next_begins(desk: Any, offering: Any) -> None:
    desk.apply(offering("pair", actions=TWO))
    first = desk.ask(offering="pair")
    second = desk.ask(offering="pair")
    desk.cancel(first)
    assert desk.facts(first) == ["RunStarted"]
    desk.done("first")
    assert desk.facts(first) == ["RunStarted", "RunProgressed", "RunCancelled"]
    assert desk.facts(second) == ["RunStarted"]
    assert next(one.data for one in desk.emits(first) if hasattr(one.data, "steps_done")).steps_done == ["first"]


def test_a_cancelled_create_never_becomes_a_resource(desk: Any) -> None:
    request_id = desk.ask()
    desk.cancel(request_id)
    desk.done("only", outputs={"host": "db1"})
    assert desk.facts()[-1] == "RunCancelled"
    desk.ask("update")
    assert "there is no" in desk.last().reason


def test_a_step_that_had_not_begun_is_dropped_by_a_cancellation(desk: Any) -> None:
    request_id = desk.ask()
    desk.cancel(request_id)
    desk.done("only", "dropped", undo=None)
    assert desk.facts() == ["RunStarted", "RunCancelled"]
    assert desk.last().steps_done == []


def test_a_cancelled_retry_is_not_waited_for(desk: Any) -> None:
    request_id = desk.ask()
    desk.done("only", "retrying", message="busy", retry_after_seconds=60)
    desk.cancel(request_id)
    assert desk.facts()[-1] == "RunCancelled"
    assert desk.deadlines == {}


def test_a_delete_that_is_wholly_done_is_not_called_cancelled(desk: Any) -> None:
    provision(desk)
    request_id = desk.ask("delete")
    desk.cancel(request_id)
    desk.done("only")
    assert desk.facts(request_id)[-2:] == ["ResourceDeleted", "RunSucceeded"]


def test_a_finished_request_cannot_be_cancelled(desk: Any) -> None:
    request_id = provision(desk)
    said = len(desk.outcomes)
    desk.cancel(request_id)
    assert len(desk.outcomes) == said


def test_a_custom_action_changes_outputs_but_not_inputs(desk: Any, offering: Any) -> None:
    outputs = {"host": "${steps.first.outputs.host}", "key": "${has(steps.turn) ? steps.turn.outputs.key : 'none'}"}
    desk.apply(offering("pair", actions=TWO, outputs=outputs))
    desk.ask(offering="pair", inputs={"size": "small"})
    desk.done("first", outputs={"host": "db1"})
    desk.done("second")
    desk.ask("rotate", offering="pair", inputs={"hard": True})
    desk.done("turn", outputs={"key": "k2"})
    changed = desk.emits()[-2].data
    assert (changed.action, changed.outputs, changed.inputs) == (
        "rotate",
        {"host": "db1", "key": "k2"},
        {"size": "small"},
    )


def test_outputs_that_cannot_be_told_fail_the_run_with_the_place(desk: Any) -> None:
    desk.ask()
    desk.done("only", outputs={"wrong": 1})
    assert desk.facts()[-1] == "RunFailed"
    assert "/host" in desk.last().reason


def test_the_entity_is_the_offerings_template_filled_in(desk: Any, offering: Any) -> None:
    entity = {"blueprint": "Resource", "properties": {"size": "${inputs.size}", "host": "${resource.outputs.host}"}}
    desk.apply(offering(version="2.0.0", outputs={"host": "db1"}, entity=entity))
    desk.ask(offering_version="2.0.0", inputs={"size": 3})
    desk.done("only")
    found = desk.emits()[-2].data.entity
    assert (found.blueprint, found.identifier, found.properties) == ("Resource", "orders", {"size": 3, "host": "db1"})


def test_a_dry_run_plans_and_changes_nothing(desk: Any) -> None:
    desk.ask(dry_run=True)
    plan = {"name": "only", "driver": "noop", "adds": 1, "changes": 0, "destroys": 0, "summary": ["+ x"]}
    desk.done("only", plan=plan)
    assert desk.facts() == ["RunStarted", "RunProgressed", "RunPlanned", "RunSucceeded"]
    planned, succeeded = desk.emits()[-2].data, desk.last()
    assert (planned.adds, planned.digest[:7], succeeded.dry_run) == (1, "sha256:", True)
    desk.ask("update")
    assert "there is no" in desk.last().reason


def test_a_delete_still_works_when_the_offering_was_removed(desk: Any) -> None:
    provision(desk)
    desk.say(ManifestRemoved(kind="Offering", name="database"))
    desk.ask("delete")
    desk.done("only")
    assert desk.facts()[-2:] == ["ResourceDeleted", "RunSucceeded"]


class Clock:
    """Tells handlers of deadlines the desk's time."""

    def __init__(self, desk: Any) -> None:
        self.desk = desk

    def __call__(self) -> Any:
        return self.desk.at


@pytest.fixture
def mortal(desk: Any, offering: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(resources, "now", Clock(desk))
    desk.apply(offering("mortal", lifetime={"default": "2d", "max": "5d"}))
    desk.ask(offering="mortal")
    desk.done("only")
    return desk


LIFE = "lifetime:shop/dev/mortal/orders"


def pass_time(desk: Any) -> None:
    desk.at = desk.deadlines[LIFE].due_at
    desk.due(LIFE)


def test_a_resource_is_announced_expires_and_is_reminded_of(mortal: Any) -> None:
    born = mortal.at
    for _ in range(4):
        pass_time(mortal)
    assert mortal.facts()[-4:] == ["ResourceExpiring", "ResourceExpiring", "ResourceExpired", "ResourceExpired"]
    assert [one.data.remaining_seconds for one in mortal.emits()[-4:-2]] == [86400, 3600]
    assert mortal.at == born + timedelta(days=2, hours=1)
    assert mortal.emits()[-1].actor == "system:expiry"


def test_an_extension_moves_the_end_and_revives_the_expired(mortal: Any) -> None:
    for _ in range(3):
        pass_time(mortal)
    mortal.ask("extend", offering="mortal", lifetime_seconds=86400)
    assert mortal.facts()[-3:] == ["RunStarted", "ResourceExtended", "RunSucceeded"]
    assert mortal.emits()[-2].data.expires_at == mortal.at + timedelta(days=1)
    pass_time(mortal)
    assert mortal.facts()[-1] == "ResourceExpiring"
    pass_time(mortal)
    assert mortal.facts()[-1] == "ResourceExpired"


def test_an_extension_beyond_the_maximum_fails(mortal: Any) -> None:
    mortal.ask("extend", offering="mortal", lifetime_seconds=6 * 86400)
    assert "at the longest" in mortal.last().reason
    assert LIFE in mortal.deadlines


def test_a_deleted_resource_does_not_expire(mortal: Any) -> None:
    mortal.ask("delete", offering="mortal")
    mortal.done("only")
    assert LIFE not in mortal.deadlines


def test_an_unknown_request_is_parked_and_not_passed_over(desk: Any) -> None:
    with pytest.raises(LookupError, match="never submitted"):
        desk.allow(envelope.new_id())
