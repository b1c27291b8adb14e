"""What follows from what was seen of a resource, and when it is looked at."""

from datetime import timedelta
from typing import Any

import pytest
from entresol_contracts.events import ResourceDrifted, ResourceObserved, ResourceUnobserved
from entresol_eventing.envelope import now
from entresol_provisioning import store
from entresol_provisioning.drifts import Sight, record

from services.provisioning.tests.conftest import Desk, make_offering
from services.provisioning.tests.lives import ID, looks, miss, see


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

    def test_a_look_that_could_not_be_finished_says_nothing_of_drift(self, desk: Desk) -> None:
        self.provide(desk)
        see(desk, "a")
        miss(desk)
        assert "ResourceConverged" not in desk.facts()
        see(desk, "a")
        assert len(self.drifted(desk)) == 1

    def test_that_nobody_can_look_is_told_once_and_so_is_its_end(self, desk: Desk) -> None:
        self.provide(desk)
        for _ in range(2):
            see(desk, begun_at=desk.at)
            seen_at = desk.at
            since = desk.later(minutes=10)
            for _ in range(5):
                miss(desk, "step only: the token has expired")
                desk.later(minutes=10)
            see(desk, begun_at=desk.at)
            see(desk, begun_at=desk.at)
            begun, ended = desk.said(ResourceUnobserved)[-1], desk.said(ResourceObserved)[-1]
            assert (begun.seen_at, begun.since, begun.checked_at) == (seen_at, since, since)
            assert begun.reason == "step only: the token has expired"
            assert (ended.since, ended.checked_at) == (since, desk.at)
        told = [one for one in desk.facts() if one in ("ResourceUnobserved", "ResourceObserved")]
        assert told == ["ResourceUnobserved", "ResourceObserved"] * 2

    def test_what_may_pass_by_itself_is_told_when_it_does_not(self, desk: Desk) -> None:
        self.provide(desk)
        for misses in (2, 3):
            see(desk)
            since = desk.later(minutes=1)
            for _ in range(misses):
                miss(desk, passing=True)
                desk.later(minutes=1)
            assert desk.facts().count("ResourceUnobserved") == misses - 2
        (told,) = desk.said(ResourceUnobserved)
        assert (told.since, told.checked_at - told.since) == (since, timedelta(minutes=2))

    @pytest.mark.parametrize("drift", [{"every": "30d"}, {"hints": [{"on": "dev.entresol.change.pushed.v1"}]}])
    def test_looks_that_fail_come_again_less_and_less_often(self, desk: Desk, drift: dict[str, Any]) -> None:
        desk.apply(make_offering(drift=drift))
        desk.ask()
        desk.done("only")
        waits = []
        for _ in range(30):
            miss(desk, passing=True)
            waits.append((desk.deadlines["drift:" + ID].due_at - desk.at).total_seconds())
        for wait, most in zip(waits, [60, 120, 240, 480] + [900] * 26, strict=True):
            assert most / 2 <= wait <= most

    def test_what_nobody_can_look_at_is_looked_at_after_a_run_and_forgotten_with_it(self, desk: Desk) -> None:
        self.provide(desk)
        miss(desk)
        desk.ask("reconcile")
        desk.done("only")
        assert looks(desk) == [ID]
        miss(desk)
        desk.ask("delete")
        desk.done("only")
        desk.ask()
        desk.done("only")
        see(desk)
        assert desk.facts().count("ResourceUnobserved") == 1
        assert "ResourceObserved" not in desk.facts()

    def test_what_differs_is_told_beside_the_end_of_not_knowing(self, desk: Desk) -> None:
        self.provide(desk)
        miss(desk, "x" * 5000)
        assert len(desk.said(ResourceUnobserved)[0].reason) == 1000
        see(desk, "a")
        assert desk.facts()[-2:] == ["ResourceObserved", "ResourceDrifted"]
