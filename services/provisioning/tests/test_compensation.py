"""What is undone after a run that failed or was cancelled, and what stays when the undoing is stopped."""

import pytest
from entresol_contracts.events import (
    CompensationFailed,
)
from entresol_provisioning import store

from services.provisioning.tests.conftest import Desk, make_offering
from services.provisioning.tests.lives import ID, THREE, names, wait


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
