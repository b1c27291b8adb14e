"""The life of a resource beyond its creation, by the handlers alone: what follows from which verdict of a step."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, ClassVar

import pytest
import time_machine
from entresol_contracts.events import (
    CompensationFailed,
    RequirementRefused,
    RequirementRequested,
    ResourceChanged,
    ResourceDeleted,
    ResourceDrifted,
    ResourcePaused,
    ResourceProvisioned,
    ResumeRequested,
)
from entresol_eventing.envelope import now
from entresol_provisioning import store
from entresol_provisioning.drifts import Sight, record
from entresol_provisioning.drivers import Difference
from entresol_provisioning.verdicts import Wait

from services.provisioning.tests.conftest import NOON, Desk, make_offering

ID = "shop/dev/database/orders"
THREE: list[dict[str, Any]] = [
    {"name": "one", "driver": "noop"},
    {"name": "two", "driver": "noop", "needs": ["one"]},
    {"name": "three", "driver": "noop", "needs": ["two"]},
]


def wait(desk: Desk, **changes: Any) -> Wait:
    sane: dict[str, Any] = {
        "reason": "the job runs",
        "look_at": desk.at + timedelta(seconds=10),
        "until": desk.at + timedelta(hours=1),
    }
    return Wait(**(sane | changes))


def names(desk: Desk) -> list[str]:
    return [one.key[1] for one in desk.ready()]


class TestSuspended:
    def test_a_step_that_waits_is_told_of_once_and_looked_at_again(self, desk: Desk) -> None:
        desk.apply(make_offering())
        request = desk.ask()
        for memory in ({"job": 1}, {"job": 1}):
            desk.done("only", "suspended", wait=wait(desk, memory=memory))
            assert desk.ready() == []
            (key,) = desk.deadlines
            desk.due(key)
            (intent,) = desk.ready()
            assert intent.memory["memory"] == {"job": 1}
            assert intent.attempt == 1
        desk.done("only")
        facts = ["RunStarted", "RunSuspended", "RunProgressed", "ResourceProvisioned", "RunSucceeded"]
        assert desk.facts(request) == facts

    def test_what_it_waits_for_now_is_told_anew(self, desk: Desk) -> None:
        desk.apply(make_offering())
        desk.ask()
        for reason in ("the job waits", "the job runs"):
            desk.done("only", "suspended", wait=wait(desk, reason=reason))
            desk.due(*desk.deadlines)
        assert desk.facts().count("RunSuspended") == 2

    def test_a_person_lets_it_go_on_and_tells_it_something(self, desk: Desk) -> None:
        desk.apply(make_offering())
        request = desk.ask()
        desk.done("only", "suspended", wait=wait(desk, look_at=None, resumable=True))
        resume(desk, request, answer={"rows": 12})
        (intent,) = desk.ready()
        assert intent.memory["answer"] == {"rows": 12}
        assert not desk.deadlines

    def test_what_waits_for_no_person_only_looks_at_once(self, desk: Desk) -> None:
        desk.apply(make_offering())
        request = desk.ask()
        desk.done("only", "suspended", wait=wait(desk))
        resume(desk, request, answer={"rows": 12})
        (intent,) = desk.ready()
        assert "answer" not in intent.memory

    def test_only_the_step_that_is_named_goes_on(self, desk: Desk) -> None:
        steps = [{"name": "left", "driver": "noop"}, {"name": "right", "driver": "noop"}]
        desk.apply(make_offering(actions={"create": {"steps": steps}}))
        request = desk.ask()
        for step in ("left", "right"):
            desk.done(step, "suspended", wait=wait(desk, look_at=None, resumable=True))
        resume(desk, request, step="right")
        assert names(desk) == ["right"]

    def test_a_cancelled_request_does_not_wait_any_more(self, desk: Desk) -> None:
        desk.apply(make_offering())
        request = desk.ask()
        desk.done("only", "suspended", wait=wait(desk))
        desk.cancel(request)
        assert desk.facts(request)[-1] == "RunCancelled"
        assert not desk.deadlines

    def test_what_would_wait_in_a_run_that_was_cancelled_meanwhile_ends_it(self, desk: Desk) -> None:
        desk.apply(make_offering())
        request = desk.ask()
        desk.cancel(request)
        desk.done("only", "suspended", wait=wait(desk))
        assert desk.facts(request) == ["RunStarted", "RunCancelled"]
        assert desk.last().steps_done == ["only"]
        assert not desk.deadlines

    def test_it_is_given_up_at_its_time_at_the_latest(self, desk: Desk) -> None:
        desk.apply(make_offering())
        desk.ask()
        until = desk.at + timedelta(hours=1)
        desk.done("only", "suspended", wait=wait(desk, look_at=None, until=until))
        (deadline,) = desk.deadlines.values()
        assert deadline.due_at == until


def resume(desk: Desk, request_id: str, **fields: Any) -> None:
    names = {"request_id": request_id, "resource_id": ID, "project": "shop"}
    desk.say(ResumeRequested(**names, by="user:bo", **fields))


class TestCompensation:
    @pytest.fixture(autouse=True)
    def offered(self, desk: Desk) -> None:
        desk.apply(make_offering(actions={"create": {"steps": THREE, "onFailure": "compensate"}}))

    def test_what_was_made_is_taken_down_in_reverse(self, desk: Desk) -> None:
        request = desk.ask()
        desk.done("one")
        desk.done("two")
        desk.done("three", "failed", message="no room", undo=None)
        undone = []
        while desk.ready():
            (intent,) = desk.ready()
            assert intent.act == "destroy"
            undone.append(intent.key[1])
            desk.done(intent.key[1])
        assert undone == ["undo/two", "undo/one"]
        end = desk.last()
        assert (end.reason, end.step) == ("no room", "three")
        assert end.compensated == ["two", "one"]
        assert end.left is None
        assert desk.facts(request).count("CompensationSucceeded") == 2
        assert store.footprints_of(desk.session.connection(), ID) == []

    def test_a_failed_step_may_have_left_something_and_is_undone_too(self, desk: Desk) -> None:
        desk.ask()
        desk.done("one")
        desk.done("two", "failed", message="half way")
        assert names(desk) == ["undo/two"]

    def test_what_stands_below_a_step_that_can_t_be_undone_stays_and_is_told(self, desk: Desk) -> None:
        request = desk.ask()
        desk.done("one")
        desk.done("two")
        desk.done("three", "failed", message="no room", undo=None)
        desk.done("undo/two", "failed", message="the wire is cut")
        assert desk.ready() == []
        end = desk.last()
        assert (end.compensated, end.left) == (None, ["one", "two"])
        assert desk.facts(request)[-2:] == ["CompensationFailed", "RunFailed"]

    def test_a_dry_run_that_fails_has_nothing_to_undo(self, desk: Desk) -> None:
        steps = [{**one, "compensate": {"with": {}}} for one in THREE]
        desk.apply(make_offering(actions={"create": {"steps": steps, "onFailure": "compensate"}}))
        request = desk.ask(dry_run=True)
        desk.done("one", plan={"step": "one", "driver": "noop"}, undo=None)
        desk.done("two", "failed", message="no room", undo=None)
        assert desk.ready() == []
        assert desk.last().compensated is None
        assert "CompensationSucceeded" not in desk.facts(request)

    def test_undoing_is_tried_again(self, desk: Desk) -> None:
        desk.ask()
        desk.done("one")
        desk.done("two", "failed", message="no room", undo=None)
        desk.done("undo/one", "retrying", retry_after_seconds=1.0)
        desk.due(*desk.deadlines)
        desk.done("undo/one")
        assert desk.last().compensated == ["one"]

    def test_a_cancelled_request_is_undone_too(self, desk: Desk) -> None:
        request = desk.ask()
        desk.done("one")
        desk.cancel(request)
        desk.done("two")
        desk.done("undo/two")
        desk.cancel(request)
        desk.done("undo/one")
        end = desk.last()
        assert (end.steps_done, end.compensated) == ([], ["two", "one"])

    def test_what_was_changed_is_put_back(self, desk: Desk) -> None:
        desk.ask(inputs={"size": "small"})
        for step in ("one", "two", "three"):
            desk.done(step, outputs={"of": "first"})
        desk.ask("update", inputs={"size": "large"})
        desk.done("one", outputs={"of": "second"})
        desk.done("two", "failed", message="no room", undo=None)
        (intent,) = desk.ready()
        assert (intent.act, intent.key[1]) == ("restore", "undo/one")
        assert intent.variables({})["inputs"] == {"size": "small"}
        desk.done("undo/one", outputs={"of": "first"}, act="restore")
        left = {one.step: one for one in store.footprints_of(desk.session.connection(), ID)}
        assert left["one"].outputs == {"of": "first"}
        assert left["one"].former is None
        assert desk.last().left is None

    def test_what_an_earlier_create_has_left_is_taken_down_too(self, desk: Desk) -> None:
        desk.apply(make_offering(version="0.9.0", actions={"create": {"steps": THREE}}))
        desk.ask(offering_version="0.9.0")
        desk.done("one")
        desk.done("two", "failed", message="no room")
        desk.ask()
        desk.done("one")
        desk.done("two", "failed", message="no room")
        for step in ("undo/two", "undo/one"):
            (intent,) = desk.ready()
            assert (intent.key[1], intent.act) == (step, "destroy")
            desk.done(step, act="destroy")
        assert store.footprints_of(desk.session.connection(), ID) == []

    def test_what_could_not_be_adopted_wholly_is_left_as_it_is(self, desk: Desk) -> None:
        desk.ask("adopt")
        desk.done("one", act="adopt")
        desk.done("two", "failed", message="there is nothing to adopt", act="adopt")
        assert desk.ready() == []
        end = desk.last()
        assert (end.reason, end.left, end.compensated) == ("there is nothing to adopt", None, None)
        assert store.footprints_of(desk.session.connection(), ID) == []

    def test_a_step_may_say_how_it_is_undone(self, desk: Desk) -> None:
        own = {"driver": "noop", "with": {"outputs": {"undo": "${steps.one.outputs.id}"}}}
        steps = [{**THREE[0], "compensate": own}, THREE[1]]
        desk.apply(make_offering(actions={"create": {"steps": steps, "onFailure": "compensate"}}, version="2.0.0"))
        desk.ask(offering_version="2.0.0")
        desk.done("one", outputs={"id": 7})
        desk.done("two", "failed", message="no", undo=None)
        (intent,) = desk.ready()
        assert (intent.act, dict(intent.step.with_)) == ("apply", own["with"])
        assert intent.variables({})["steps"]["one"]["outputs"] == {"id": 7}
        desk.done("undo/one")
        assert store.footprints_of(desk.session.connection(), ID) == []


class TestStoppedUndoing:
    HALTED = "undoing was stopped: cancelled by user:bo: a mistake"

    @pytest.fixture(autouse=True)
    def offered(self, desk: Desk) -> None:
        desk.apply(make_offering(actions={"create": {"steps": THREE, "onFailure": "compensate"}}))

    def undoing(self, desk: Desk) -> str:
        """A failed create, of which two steps are to be undone."""
        request = desk.ask()
        desk.done("one")
        desk.done("two")
        desk.done("three", "failed", message="no room", undo=None)
        desk.later(seconds=1)
        return request

    @pytest.mark.parametrize("state", ["suspended", "retrying"])
    def test_what_waits_is_given_up_at_once_and_what_is_left_is_told(self, desk: Desk, state: str) -> None:
        request = self.undoing(desk)
        how = {"wait": wait(desk)} if state == "suspended" else {"retry_after_seconds": 60.0}
        desk.done("undo/two", state, **how)
        desk.cancel(request)
        assert desk.ready() == []
        assert not desk.deadlines
        assert desk.facts(request)[-2:] == ["CompensationFailed", "RunFailed"]
        kept = desk.emits(request)[-2].data
        assert isinstance(kept, CompensationFailed)
        assert (kept.step, kept.reason) == ("two", self.HALTED)
        end = desk.last()
        assert end.reason.startswith(f"no room; {self.HALTED}")
        assert (end.step, end.left, end.compensated) == ("three", ["one", "two"], None)

    def test_what_runs_is_finished_and_nothing_more_begins(self, desk: Desk) -> None:
        request = self.undoing(desk)
        desk.cancel(request)
        assert "RunFailed" not in desk.facts(request)
        desk.done("undo/two")
        assert desk.ready() == []
        end = desk.last()
        assert (end.left, end.compensated) == (["one"], ["two"])

    @pytest.mark.parametrize("state", ["suspended", "retrying"])
    def test_what_runs_does_not_wait_any_more(self, desk: Desk, state: str) -> None:
        request = self.undoing(desk)
        desk.cancel(request)
        how = {"wait": wait(desk)} if state == "suspended" else {"message": "cut"}
        desk.done("undo/two", state, **how)
        assert desk.facts(request)[-2:] == ["CompensationFailed", "RunFailed"]
        assert desk.last().left == ["one", "two"]
        assert not desk.deadlines

    def test_of_a_cancelled_request_it_ends_as_cancelled(self, desk: Desk) -> None:
        request = desk.ask()
        desk.done("one")
        desk.cancel(request)
        desk.done("two", "failed", message="half way")
        desk.later(seconds=1)
        desk.cancel(request)
        desk.done("undo/two", "suspended", wait=wait(desk))
        end = desk.last()
        assert desk.facts(request)[-1] == "RunCancelled"
        assert (end.steps_done, end.compensated) == (["one", "two"], None)
        assert end.reason.endswith(self.HALTED)

    def test_the_next_request_on_the_resource_begins(self, desk: Desk) -> None:
        request = self.undoing(desk)
        after = desk.ask("delete")
        desk.done("undo/two", "suspended", wait=wait(desk))
        desk.cancel(request)
        assert desk.facts(after) == ["RunStarted"]
        assert names(desk) == ["two"]

    def test_a_delete_that_waits_for_what_it_takes_down_can_be_cancelled(self, desk: Desk) -> None:
        desk.ask()
        for step in ("one", "two", "three"):
            desk.done(step)
        request = desk.ask("delete")
        desk.done("three", act="destroy")
        desk.done("two", "suspended", act="destroy", wait=wait(desk))
        desk.cancel(request)
        assert desk.facts(request)[-1] == "RunCancelled"
        assert [one.step for one in store.footprints_of(desk.session.connection(), ID)] == ["one", "two"]


class TestGivenUp:
    """What a step has begun, and must not leave behind when nobody waits for it any more."""

    def suspended(self, desk: Desk, step: str = "only", **fields: Any) -> None:
        desk.done(step, "suspended", wait=wait(desk, withdraws=True, memory={"branch": "b"}), **fields)

    def left(self, desk: Desk) -> list[str]:
        return [one.step for one in store.footprints_of(desk.session.connection(), ID)]

    @pytest.fixture(autouse=True)
    def offered(self, desk: Desk) -> None:
        desk.apply(make_offering())

    def test_it_is_withdrawn_before_the_run_ends(self, desk: Desk) -> None:
        request = desk.ask()
        self.suspended(desk)
        desk.cancel(request)
        assert "RunCancelled" not in desk.facts(request)
        assert not desk.deadlines
        (intent,) = desk.ready()
        assert (intent.given_up, intent.memory["memory"]) == ({"state": "dropped"}, {"branch": "b"})
        desk.done("only", "dropped", undo=None, withdrawn=True, message="what it had begun was taken back")
        end = desk.last()
        assert (end.reason, end.steps_done) == (
            "cancelled by user:bo: a mistake; what it had begun was taken back",
            [],
        )
        assert self.left(desk) == []

    def test_what_can_t_be_withdrawn_is_left_and_told(self, desk: Desk) -> None:
        request = desk.ask()
        self.suspended(desk)
        desk.cancel(request)
        desk.done("only", "dropped", undo=None, message="it could not be taken back: no answer")
        assert desk.last().reason.endswith("; it could not be taken back: no answer")
        assert desk.last().steps_done == self.left(desk) == ["only"]

    def test_what_was_done_in_the_meantime_is_told_as_done(self, desk: Desk) -> None:
        request = desk.ask()
        self.suspended(desk)
        desk.cancel(request)
        desk.done("only", outputs={"commit": "c"}, message="merged")
        assert desk.facts(request)[-2:] == ["RunProgressed", "RunCancelled"]
        assert desk.last().steps_done == self.left(desk) == ["only"]

    def test_an_update_that_was_done_in_the_meantime_has_happened(self, desk: Desk) -> None:
        desk.ask()
        desk.done("only")
        request = desk.ask("update", inputs={"size": "large"})
        self.suspended(desk)
        desk.cancel(request)
        desk.done("only", message="merged")
        assert desk.facts(request)[-2:] == ["ResourceChanged", "RunSucceeded"]

    def test_an_update_that_was_withdrawn_leaves_what_was_before(self, desk: Desk) -> None:
        desk.ask()
        desk.done("only", outputs={"of": "first"})
        (before,) = store.footprints_of(desk.session.connection(), ID)
        request = desk.ask("update", inputs={"size": "large"})
        self.suspended(desk)
        desk.cancel(request)
        desk.done("only", "dropped", undo=None, withdrawn=True)
        assert store.footprints_of(desk.session.connection(), ID) == [before]

    def test_it_is_withdrawn_too_when_its_run_was_cancelled_during_a_look(self, desk: Desk) -> None:
        request = desk.ask()
        desk.cancel(request)
        self.suspended(desk)
        (intent,) = desk.ready()
        assert intent.given_up == {"state": "dropped"}
        desk.done("only", "dropped", undo=None, withdrawn=True)
        assert desk.facts(request)[-1] == "RunCancelled"
        assert self.left(desk) == []

    def test_it_is_withdrawn_too_when_its_time_is_over(self, desk: Desk) -> None:
        request = desk.ask()
        self.suspended(desk)
        desk.due(*desk.deadlines)
        (intent,) = desk.ready()
        desk.done("only", "failed", message="not done within 1 s", begun=intent.memory)
        assert "RunFailed" not in desk.facts(request)
        (intent,) = desk.ready()
        assert intent.given_up == {"state": "failed", "reason": "not done within 1 s"}
        desk.done("only", "failed", message="not done within 1 s; taken back", undo=None, withdrawn=True)
        assert (desk.last().reason, desk.last().left) == ("not done within 1 s; taken back", None)

    def test_what_was_done_when_its_time_was_over_lets_the_run_go_on(self, desk: Desk) -> None:
        request = desk.ask()
        self.suspended(desk)
        desk.due(*desk.deadlines)
        (intent,) = desk.ready()
        desk.done("only", "failed", message="not done within 1 s", begun=intent.memory)
        desk.done("only", message="merged")
        assert desk.facts(request)[-1] == "RunSucceeded"

    def test_it_is_withdrawn_when_another_step_fails(self, desk: Desk) -> None:
        steps = [{"name": "left", "driver": "noop"}, {"name": "right", "driver": "noop"}]
        desk.apply(make_offering(actions={"create": {"steps": steps}}))
        request = desk.ask()
        self.suspended(desk, "left")
        desk.done("right", "failed", message="no room", undo=None)
        assert "RunFailed" not in desk.facts(request)
        desk.done("left", "dropped", undo=None, withdrawn=True)
        assert (desk.last().reason, desk.last().left) == ("no room", None)

    def test_an_undo_that_is_stopped_is_withdrawn_and_leaves_what_it_was_to_undo(self, desk: Desk) -> None:
        desk.apply(make_offering(actions={"create": {"steps": THREE[:2], "onFailure": "compensate"}}))
        request = desk.ask()
        desk.done("one")
        desk.done("two", "failed", message="no room", undo=None)
        self.suspended(desk, "undo/one")
        desk.later(seconds=1)
        desk.cancel(request)
        assert "RunFailed" not in desk.facts(request)
        desk.done("undo/one", "dropped", act="destroy", undo=None, withdrawn=True)
        assert desk.facts(request)[-2:] == ["CompensationFailed", "RunFailed"]
        assert desk.last().left == self.left(desk) == ["one"]


class TestChanges:
    def test_a_step_that_the_next_version_does_not_have_is_taken_down_last(self, desk: Desk) -> None:
        desk.apply(make_offering(actions={"create": {"steps": THREE}}))
        desk.apply(make_offering(version="2.0.0", actions={"create": {"steps": THREE[:1]}}))
        desk.ask()
        for step in ("one", "two", "three"):
            desk.done(step)
        desk.ask("update", offering_version="2.0.0")
        order = []
        while desk.ready():
            (intent,) = desk.ready()
            order.append((intent.key[1], intent.act))
            desk.done(intent.key[1], act=intent.act)
        assert order == [("one", "apply"), ("three", "destroy"), ("two", "destroy")]
        assert [one.step for one in store.footprints_of(desk.session.connection(), ID)] == ["one"]

    @pytest.mark.parametrize(
        ("now", "asked", "becomes"),
        [
            ({"size": {"maximum": 9}, "colour": {"default": "red"}}, {}, {"size": 3, "colour": "red"}),
            ({"size": {"maximum": 9}, "colour": {"default": "red"}}, {"colour": "blue"}, {"size": 3, "colour": "blue"}),
            ({"colour": {"default": "red"}}, {}, {"colour": "red"}),
            ({"size": {"maximum": 2}}, {"size": 1}, {"size": 1}),
        ],
    )
    def test_an_update_brings_the_inputs_to_what_the_next_version_takes(
        self, desk: Desk, now: dict[str, Any], asked: dict[str, Any], becomes: dict[str, Any]
    ) -> None:
        self.grow(desk, now)
        desk.ask("update", offering_version="2.0.0", inputs=asked)
        (intent,) = desk.ready()
        assert intent.variables({})["inputs"] == becomes
        desk.done("only")
        changed = next(one.data for one in reversed(desk.emits()) if isinstance(one.data, ResourceChanged))
        assert changed.inputs == becomes

    @pytest.mark.parametrize(
        ("now", "named"),
        [
            ({"size": {"maximum": 2}}, "/size must be at most 2"),
            ({"size": {"type": "string"}}, "/size must be text; put it in quotes"),
            ({"must": {}}, "must is missing"),
        ],
    )
    def test_an_update_to_a_version_that_does_not_take_the_inputs_is_refused(
        self, desk: Desk, now: dict[str, Any], named: str
    ) -> None:
        self.grow(desk, now, required=[name for name in now if name == "must"])
        request = desk.ask("update", offering_version="2.0.0")
        assert desk.facts(request) == ["RunFailed"]
        reason = desk.last().reason
        assert f"its inputs are not what database 2.0.0 takes: {named}; give them with the update" in reason

    def test_an_update_with_inputs_of_its_own_is_not_held_to_those_of_the_offering(self, desk: Desk) -> None:
        update = {"inputs": {"type": "object"}, "steps": [{"name": "only", "driver": "noop"}]}
        create = {"steps": [{"name": "only", "driver": "noop"}]}
        desk.apply(make_offering(inputs={"additionalProperties": False}, actions={"create": create, "update": update}))
        desk.ask()
        desk.done("only")
        desk.ask("update", inputs={"why": "so"})
        assert [intent.variables({})["inputs"] for intent in desk.ready()] == [{"why": "so"}]

    def grow(self, desk: Desk, properties: dict[str, Any], **more: Any) -> None:
        """A resource of the size 3, and another version with these inputs."""
        desk.apply(make_offering(inputs={"additionalProperties": False, "properties": {"size": {}}}))
        inputs = {"additionalProperties": False, "properties": properties, **more}
        desk.apply(make_offering(version="2.0.0", inputs=inputs))
        desk.ask(inputs={"size": 3})
        desk.done("only")

    def test_a_rollback_replaces_the_inputs(self, desk: Desk) -> None:
        desk.apply(make_offering())
        desk.ask(inputs={"size": "small"})
        desk.done("only")
        desk.ask("update", inputs={"size": "large", "spare": True})
        desk.done("only")
        desk.ask("rollback", inputs={"size": "small"}, snapshot={"revision": 1})
        (intent,) = desk.ready()
        assert intent.variables({})["inputs"] == {"size": "small"}
        desk.done("only")
        changed = desk.said(ResourceChanged)[-1]
        assert (changed.inputs, changed.revision) == ({"size": "small"}, 3)

    @pytest.mark.parametrize(
        ("revision", "inputs"), [(1, {"size": "huge"}), (1, {}), (1, {"size": "tiny"}), (3, {"size": "small"})]
    )
    def test_nobody_goes_back_to_what_never_was(self, desk: Desk, revision: int, inputs: dict[str, Any]) -> None:
        desk.apply(make_offering())
        desk.ask(inputs={"size": "small"})
        desk.done("only")
        desk.ask("update", inputs={"size": "large"})
        desk.done("only")
        desk.ask("update", inputs={"size": "tiny"}, dry_run=True)
        desk.planned()
        desk.ask("rollback", inputs=inputs, snapshot={"revision": revision})
        assert f"{ID} never was what the rollback calls revision {revision}" in desk.last().reason

    def test_an_implementation_is_chosen_once_and_kept(self, desk: Desk) -> None:
        ways = [{"name": "cheap", "match": {"environment": ["dev"]}, "actions": {"create": {"steps": THREE[:1]}}}]
        desk.apply(make_offering(implementations=ways))
        desk.ask()
        assert names(desk) == ["one"]
        desk.done("one")
        provisioned = desk.said(ResourceProvisioned)[0]
        assert provisioned.implementation == "cheap"
        desk.ask("update")
        assert names(desk) == ["one"]

    def test_steps_read_the_class_of_the_resource_whatever_a_later_request_says(self, desk: Desk) -> None:
        desk.apply(make_offering())
        for action, said in (("create", "big"), ("update", None), ("update", "small"), ("reconcile", None)):
            desk.ask(action, class_=said)
            (intent,) = desk.ready()
            assert intent.variables({})["request"]["class"] == "big"
            desk.done("only")

    def test_what_is_adopted_is_owned_and_its_differences_are_drift(self, desk: Desk) -> None:
        desk.apply(make_offering(drift={"every": "10m"}))
        request = desk.ask("adopt")
        assert [one.act for one in desk.ready()] == ["adopt"]
        desk.done("only", act="adopt", differences=(Difference("a.yaml#/size", "changed"),))
        facts = ["RunStarted", "RunProgressed", "ResourceProvisioned", "RunSucceeded"]
        assert desk.facts(request) == facts
        drifted = desk.said(ResourceDrifted)[0]
        assert [one.path for one in drifted.differences] == ["a.yaml#/size"]
        assert "drift:" + ID in desk.deadlines

    def test_what_a_delete_leaves_is_listed(self, desk: Desk) -> None:
        desk.apply(make_offering())
        desk.ask()
        desk.done("only")
        desk.ask("delete", orphan=True)
        desk.done("only", act="destroy", kept="the cloud is gone")
        deleted = desk.said(ResourceDeleted)[0]
        assert [(one.step, one.driver, one.reason) for one in deleted.orphaned or ()] == [
            ("only", "noop", "the cloud is gone")
        ]


class TestPauses:
    @pytest.fixture
    def clock(self, provided: None) -> Iterator[time_machine.Traveller]:
        with time_machine.travel(NOON, tick=False) as traveller:
            yield traveller

    @pytest.fixture(autouse=True)
    def provided(self, desk: Desk) -> None:
        desk.apply(make_offering(lifetime={"default": "1h"}, drift={"every": "10m"}))
        desk.ask()
        desk.done("only")

    def test_a_pause_ends_by_itself(self, desk: Desk) -> None:
        desk.ask("pause", lifetime_seconds=600, reason="by hand")
        paused = desk.said(ResourcePaused)[0]
        assert (paused.by, paused.reason, paused.until) == ("user:ada", "by hand", desk.at + timedelta(minutes=10))
        refused = desk.ask("update")
        assert "is paused by user:ada until 2026-05-01 12:10 UTC: by hand" in desk.last().reason
        assert desk.facts(refused) == ["RunFailed"]
        desk.due("pause:" + ID)
        assert desk.facts()[-1] == "ResourceUnpaused"
        desk.ask("update")
        assert names(desk) == ["only"]

    def test_a_pause_wants_a_reason_and_an_end(self, desk: Desk) -> None:
        desk.ask("pause", reason="by hand")
        assert "for how long" in desk.last().reason

    def test_a_paused_resource_does_not_expire(self, desk: Desk) -> None:
        desk.ask("pause", lifetime_seconds=3 * 86400 * 365, reason="by hand")
        before = desk.facts()
        desk.due("lifetime:" + ID)
        assert desk.facts() == before
        assert "lifetime:" + ID in desk.deadlines

    def test_it_is_warned_about_its_end_all_the_same(self, desk: Desk, clock: time_machine.Traveller) -> None:
        desk.ask("pause", lifetime_seconds=9 * 86400, reason="by hand")
        clock.move_to(desk.at + timedelta(minutes=30))
        desk.due("lifetime:" + ID)
        assert desk.facts()[-1] == "ResourceExpiring"

    def test_its_end_waits_no_longer_than_the_pause(self, desk: Desk, clock: time_machine.Traveller) -> None:
        def look() -> None:
            assert desk.deadlines["lifetime:" + ID].due_at <= desk.at
            desk.due("lifetime:" + ID)

        desk.ask("pause", lifetime_seconds=9 * 86400, reason="by hand")
        desk.later(hours=2)
        clock.move_to(desk.at)
        look()
        assert desk.deadlines["lifetime:" + ID].due_at == NOON + timedelta(days=9)
        desk.ask("pause", lifetime_seconds=600, reason="nearly done")
        look()
        assert desk.deadlines["lifetime:" + ID].due_at == desk.at + timedelta(minutes=10)
        desk.ask("unpause")
        look()
        assert desk.facts()[-1] == "ResourceExpired"

    def test_nobody_looks_at_a_paused_resource(self, desk: Desk) -> None:
        desk.ask("pause", lifetime_seconds=600, reason="by hand")
        see(desk, "a.yaml")
        assert "ResourceDrifted" not in desk.facts()


def see(desk: Desk, *paths: str, gone: tuple[str, ...] = (), begun_at: datetime | None = None) -> None:
    connection = desk.session.connection()
    resource = store.find_resource(connection, ID)
    assert resource is not None
    offering = desk.offerings.get(connection, resource.offering_digest)
    differences = tuple({"step": "only", "path": path, "change": "changed"} for path in paths)
    desk.take(record(connection, Sight(ID, resource.revision, begun_at or now(), differences, gone), offering, desk.at))


def looks(desk: Desk) -> list[str]:
    """Resources that are to be looked at now."""
    return list(desk.session.connection().execute(store.looks(9)).scalars())


class TestDrift:
    def provide(self, desk: Desk, **drift: Any) -> None:
        desk.apply(make_offering(drift={"every": "10m", **drift}))
        desk.ask()
        desk.done("only")

    def drifted(self, desk: Desk) -> list[ResourceDrifted]:
        return desk.said(ResourceDrifted)

    def test_what_was_made_together_is_not_looked_at_together(self, desk: Desk) -> None:
        desk.apply(make_offering(drift={"every": "10m"}))
        for number in range(100):
            desk.ask(name=f"n{number}")
            desk.done("only")
        waits = [(one.due_at - desk.at).total_seconds() for one in desk.deadlines.values() if one.kind == "drift"]
        assert len(waits) == 100
        assert {int(wait // 30) for wait in waits} == {18, 19, 20, 21}

    def test_it_is_told_when_it_changes_and_when_it_is_over(self, desk: Desk) -> None:
        self.provide(desk)
        for paths in (("a",), ("a",), ("a", "b"), (), ()):
            see(desk, *paths)
        assert [len(one.differences) for one in self.drifted(desk)] == [1, 2]
        assert desk.facts().count("ResourceConverged") == 1

    @pytest.mark.parametrize("mode", ["correct", "ask"])
    def test_what_is_to_be_put_right_is_told_again_less_and_less_often(self, desk: Desk, mode: str) -> None:
        self.provide(desk, mode=mode, every="4h")
        hours = []
        for hour in range(100):
            before = len(self.drifted(desk))
            see(desk, "a")
            see(desk, "a")
            hours += [hour] * (len(self.drifted(desk)) - before)
            desk.later(hours=1)
        assert hours == [0, 4, 12, 27, 49, 71, 93]
        told = self.drifted(desk)
        assert all(one.mode == mode and one.again_at and one.again_at > one.checked_at for one in told)

    def test_drift_that_changes_or_comes_back_is_told_at_once(self, desk: Desk) -> None:
        self.provide(desk, mode="ask")
        waits = []
        for paths in (("a",), ("b",), (), ("b",)):
            before = len(self.drifted(desk))
            see(desk, *paths)
            waits += [one.again_at and one.again_at - one.checked_at for one in self.drifted(desk)[before:]]
        assert waits == [timedelta(minutes=9)] * 3

    def test_what_is_only_reported_is_never_asked_about(self, desk: Desk) -> None:
        self.provide(desk)
        see(desk, "a")
        desk.later(days=9)
        see(desk, "a")
        assert [one.again_at for one in self.drifted(desk)] == [None]

    def test_what_a_correction_does_not_put_right_is_not_corrected_again_at_once(self, desk: Desk) -> None:
        self.provide(desk, mode="correct")
        see(desk, "a")
        for _ in range(3):
            desk.ask("reconcile")
            desk.done("only")
            see(desk, "a")
        assert len(self.drifted(desk)) == 1

    def test_what_is_tolerated_is_no_drift(self, desk: Desk) -> None:
        self.provide(desk, tolerate=["*#/status"])
        see(desk, "a.yaml#/status")
        assert self.drifted(desk) == []

    def test_what_is_gone_is_drift(self, desk: Desk) -> None:
        self.provide(desk)
        see(desk, gone=("only",))
        assert self.drifted(desk)[0].gone == ["only"]

    def test_many_differences_are_counted(self, desk: Desk) -> None:
        self.provide(desk)
        see(desk, *(f"file-{number}" for number in range(250)))
        (told,) = self.drifted(desk)
        assert (len(told.differences), told.more) == (200, 50)

    def test_what_was_seen_of_an_older_state_says_nothing(self, desk: Desk) -> None:
        self.provide(desk)
        connection = desk.session.connection()
        offering = desk.offerings.get(connection, desk.offerings.digest(connection, "database", "1.0.0"))
        desk.take(record(connection, Sight(ID, 0, now(), gone=("only",)), offering, desk.at))
        assert self.drifted(desk) == []

    def test_what_is_worked_on_is_looked_at_afterwards(self, desk: Desk) -> None:
        self.provide(desk)
        desk.ask("reconcile")
        desk.due("drift:" + ID)
        assert looks(desk) == []
        see(desk, "a")
        assert self.drifted(desk) == []
        desk.done("only")
        assert looks(desk) == [ID]
        see(desk, "a")
        assert len(self.drifted(desk)) == 1
        assert looks(desk) == []

    def test_what_is_asked_for_during_a_look_is_looked_at_again(self, desk: Desk) -> None:
        self.provide(desk)
        begun_at = now()
        store.ask_to_look(desk.session.connection(), [ID])
        store.ask_to_look(desk.session.connection(), [ID])
        see(desk, begun_at=begun_at)
        assert looks(desk) == [ID]
        see(desk)
        assert looks(desk) == []

    def test_a_look_that_could_not_be_finished_says_nothing(self, desk: Desk) -> None:
        self.provide(desk)
        see(desk, "a")
        connection = desk.session.connection()
        resource = store.find_resource(connection, ID)
        assert resource is not None
        offering = desk.offerings.get(connection, resource.offering_digest)
        desk.take(record(connection, Sight(ID, resource.revision, now(), unknown="no answer"), offering, desk.at))
        assert "ResourceConverged" not in desk.facts()
        assert "drift:" + ID in desk.deadlines


class TestRequirements:
    WANTED: ClassVar = {"resource_id": "shop/dev/postgres/orders-db", "project": "shop", "environment": "dev"}

    @pytest.fixture(autouse=True)
    def offered(self, desk: Desk) -> None:
        desk.apply(make_offering(requires=[{"name": "db", "offering": "postgres"}]))
        desk.apply(make_offering("postgres"))

    def require(self, desk: Desk, action: str = "create") -> str:
        wanted = {**self.WANTED, "offering": "postgres", "name": "orders-db", "inputs": {}}
        asked = f"asked-to-{action}"
        memory = {"request_id": asked, "action": action, "wanted": wanted}
        fields: dict[str, Any] = {}
        if action == "create":
            (intent,) = desk.ready()
            fields["undo"] = {**intent.undo({}, None), "needs_resource": wanted["resource_id"]}
        desk.done("requires/db", "suspended", wait=wait(desk, memory=memory), **fields)
        return asked

    def serve(self, desk: Desk, request_id: str, action: str = "create") -> None:
        needed_by = {"request_id": self.parent, "resource_id": ID, "name": "db"}
        attributes = {"offering": "postgres", "name": "orders-db", "requirement": needed_by}
        desk.submit(action, request_id=request_id, **attributes)

    def test_another_resource_is_asked_for_and_its_end_wakes_the_step(self, desk: Desk) -> None:
        self.parent = desk.ask()
        assert names(desk) == ["requires/db"]
        asked = self.require(desk)
        (wants,) = desk.said(RequirementRequested)
        assert (wants.name, wants.action, wants.for_request_id) == ("db", "create", asked)
        assert desk.last().requires == asked
        self.serve(desk, asked)
        desk.allow(asked)
        assert names(desk) == ["only"]
        desk.done("only")
        assert names(desk) == ["requires/db"]
        desk.done("requires/db", outputs={"host": "db"})
        (intent,) = desk.ready()
        assert intent.variables({})["requires"] == {"db": {"outputs": {"host": "db"}}}
        desk.done("only")
        provisioned = desk.said(ResourceProvisioned)
        assert provisioned[1].requires == {"db": self.WANTED["resource_id"]}

    def test_what_is_needed_is_not_deleted(self, desk: Desk) -> None:
        self.test_another_resource_is_asked_for_and_its_end_wakes_the_step(desk)
        desk.ask("delete", offering="postgres", name="orders-db")
        assert f"it is needed by {ID}" in desk.last().reason

    def test_a_refused_requirement_wakes_the_step_too(self, desk: Desk) -> None:
        self.parent = desk.ask()
        asked = self.require(desk)
        fact = {"request_id": self.parent, "resource_id": ID, "project": "shop", "name": "db"}
        desk.say(RequirementRefused(**fact, for_request_id=asked, reason="no such offering"))
        assert names(desk) == ["requires/db"]
        refused = store.find_request(desk.session.connection(), asked)
        assert refused is not None
        assert refused.stop == {"outcome": "refused", "reason": "no such offering"}

    def test_a_denied_requirement_wakes_the_step_too(self, desk: Desk) -> None:
        self.parent = desk.ask()
        asked = self.require(desk)
        self.serve(desk, asked)
        desk.deny(asked)
        assert names(desk) == ["requires/db"]
        denied = store.find_request(desk.session.connection(), asked)
        assert denied is not None
        assert denied.stop == {"outcome": "refused", "reason": "it was denied: no"}

    def test_what_two_need_at_once_is_made_once(self, desk: Desk) -> None:
        desk.ask(offering="postgres", name="orders-db")
        desk.done("only")
        self.parent = desk.ask()
        self.serve(desk, "late")
        desk.allow("late")
        assert desk.facts("late") == ["RunStarted", "RunSucceeded"]

    def test_what_nobody_needs_any_more_is_not_begun(self, desk: Desk) -> None:
        self.parent = desk.ask()
        asked = self.require(desk)
        self.serve(desk, asked)
        desk.cancel(self.parent)
        assert desk.facts(asked) == ["RunCancelled"]
        self.serve(desk, "late")
        desk.allow("late")
        assert f"{ID} needs it no more" in desk.last().reason
