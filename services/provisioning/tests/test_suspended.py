"""Steps that wait: how long, for whom, and what becomes of what they have begun when they are given up."""

from datetime import timedelta
from typing import Any

import pytest
from entresol_contracts.events import (
    ResumeRequested,
)
from entresol_provisioning import store

from services.provisioning.tests.conftest import Desk, make_offering
from services.provisioning.tests.lives import ID, THREE, names, wait


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
