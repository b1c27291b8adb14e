"""The life of a request, folded from facts: plain values in, plain values out."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from entresol_catalog.domain.approvals import Answer, Approval, Said
from entresol_catalog.domain.holds import Hold
from entresol_catalog.domain.patience import look_again_at
from entresol_catalog.domain.requests import TERMINAL, Request
from entresol_catalog.domain.runs import Need
from entresol_catalog.domain.steps import Compensation, Suspension
from entresol_catalog.settings import Settings
from hypothesis import given
from hypothesis import strategies as st

BEGAN = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
Fold = Callable[[Request, datetime], bool]


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def submitted() -> Request:
    return Request(
        id="r1",
        resource="shop/staging/database/orders",
        project="shop",
        environment="staging",
        offering="database",
        offering_version="1.0.0",
        action="create",
        name="orders",
        inputs={},
        actor="user:ada",
        dry_run=False,
        reason=None,
        trigger=None,
        correlationid="r1",
        submitted_at=BEGAN,
        updated_at=BEGAN,
        since=BEGAN,
    )


def approval(approval_id: str = "a1") -> Approval:
    return Approval(
        id=approval_id,
        request="r1",
        resource="shop/staging/database/orders",
        project="shop",
        policy="production",
        approvers=["group:sre"],
        count=1,
        not_self=True,
        because=None,
        requested_by="user:ada",
        requested_at=BEGAN,
        expires_at=at(3600),
    )


def holds(*until: datetime | None) -> list[Hold]:
    return [Hold("lock", f"l{number}", "the ledger moves", "user:ada", one) for number, one in enumerate(until)]


def saying(
    said: Any, seconds: float, *, by: str = "user:bob", reason: str | None = None, to: str | None = None
) -> Said:
    return Said(by, said, reason, at(seconds), f"e{seconds}", to)


def accepted(one: Approval, said: Said, missing: int = 0) -> bool:
    """Policy says that it counts."""
    given = None
    if said.said in ("granted", "rejected"):
        given = Answer(said.by, said.said, said.reason, said.at, said.event)
    return one.accept(said, missing, ["group:sre"] if missing else [], given)


def progressed(request: Request, step: str, state: Any, attempt: int, running: list[str], when: datetime) -> bool:
    message = "busy" if state == "retrying" else None
    return request.advance(lambda run: run.progress(step, state, attempt, message, running), when)


def suspended(
    request: Request,
    step: str,
    when: datetime,
    reason: str = "the job runs",
    until: datetime | None = None,
    resumable: bool = False,
    requires: str | None = None,
    run_id: str = "run",
) -> bool:
    waits = Suspension(step, reason, when, until, resumable, requires)
    return request.advance(lambda run: run.suspend(run_id, waits), when)


def undone(request: Request, step: str, state: Any, when: datetime) -> bool:
    return request.advance(lambda run: run.compensate(step, Compensation(state, None, when)), when)


FACTS: dict[str, Fold] = {
    "ask": lambda request, when: request.ask(approval(), when),
    "grant": lambda request, when: request.follow("a1", lambda one: one.end("granted"), when),
    "reject": lambda request, when: request.reject("a1", ["not today"], when),
    "expire": lambda request, when: request.expire("a1", "production", when),
    "allow": lambda request, when: request.allow(None, when),
    "deny": lambda request, when: request.deny(["too large"], when),
    "cancel": lambda request, when: request.cancel("user:ada", "wrong size", when),
    "plan": lambda request, when: request.show({"digest": "sha256:aa"}, when),
    "want plan": lambda request, when: request.await_plan(when),
    "plan anew": lambda request, when: request.show({"digest": "sha256:bb", "replaces": "sha256:aa"}, when),
    "allow plan": lambda request, when: request.allow("sha256:aa", when),
    "allow new plan": lambda request, when: request.allow("sha256:bb", when),
    "ask again": lambda request, when: request.ask(approval("a2"), when),
    "hold": lambda request, when: request.hold(holds(at(7200)), when),
    "hold by a lock": lambda request, when: request.hold(holds(None), when),
    "start": lambda request, when: request.advance(lambda run: run.begin("run", ["one", "two"], ["one"]), when),
    "one": lambda request, when: progressed(request, "one", "succeeded", 1, ["two"], when),
    "two again": lambda request, when: progressed(request, "two", "retrying", 1, [], when),
    "two": lambda request, when: progressed(request, "two", "succeeded", 2, [], when),
    "suspend one": lambda request, when: suspended(request, "one", when, until=at(7200)),
    "suspend two": lambda request, when: suspended(request, "two", when, reason="look at it", resumable=True),
    "resume": lambda request, when: request.advance(lambda run: run.resume(None, "user:bob", when), when),
    "require": lambda request, when: request.advance(lambda run: run.require(Need("queue", "create", "q", "r2")), when),
    "wait for it": lambda request, when: suspended(request, "queue", when, reason="it is made", requires="r2"),
    "it is there": lambda request, when: request.settle("r2", "succeeded", None, when),
    "undo one": lambda request, when: undone(request, "one", "succeeded", when),
    "fail to undo one": lambda request, when: undone(request, "one", "failed", when),
    "succeed": lambda request, when: request.succeed({"host": "db"}, when),
    "fail": lambda request, when: request.fail("no space", "two", when),
    "stop": lambda request, when: request.stop("cancelled by user:ada", when),
}


def folded(*names: str) -> Request:
    request = submitted()
    for second, name in enumerate(names, start=1):
        FACTS[name](request, at(second))
    return request


@pytest.mark.parametrize(
    ("names", "state", "waiting_for"),
    [
        ("", "submitted", "policy"),
        ("ask", "waiting-for-approval", "approval by group:sre until 2026-11-21 11:00:00 UTC"),
        ("ask, grant", "waiting-for-approval", "policy"),
        ("ask, grant, allow", "allowed", "provisioning"),
        ("ask, cancel", "waiting-for-approval", "provisioning"),
        ("allow", "allowed", "provisioning"),
        ("allow, plan", "planned", "provisioning"),
        ("allow, plan, ask", "waiting-for-approval", "approval by group:sre until 2026-11-21 11:00:00 UTC"),
        ("allow, start", "running", "provisioning"),
        ("allow, start, plan", "running", "provisioning"),
        ("allow, start, one, two, succeed", "succeeded", None),
        ("allow, plan, succeed", "succeeded", None),
        ("start, allow", "running", "provisioning"),
        ("start, ask", "running", "provisioning"),
        ("deny", "denied", None),
        ("ask, reject", "rejected", None),
        ("ask, expire", "expired", None),
        ("allow, start, fail", "failed", None),
        ("ask, cancel, stop", "cancelled", None),
        ("deny, stop", "denied", None),
        ("want plan", "planning", "plan"),
        ("want plan, cancel", "planning", "provisioning"),
        ("want plan, plan", "planned", "policy"),
        ("want plan, plan, deny", "denied", None),
        ("want plan, plan, want plan", "planned", "policy"),
        ("want plan, plan, ask", "waiting-for-approval", "approval by group:sre until 2026-11-21 11:00:00 UTC"),
        ("want plan, plan, ask, grant, allow plan", "allowed", "provisioning"),
        ("want plan, plan, allow plan, plan anew", "planned", "policy"),
        ("want plan, plan, allow plan, plan anew, allow plan", "planned", "policy"),
        ("want plan, plan, allow plan, plan anew, plan anew", "planned", "policy"),
        ("want plan, plan, allow plan, plan anew, allow new plan, start", "running", "provisioning"),
        ("want plan, plan, allow plan, start, plan anew", "planned", "policy"),
        ("want plan, stop", "cancelled", None),
        ("want plan, fail", "failed", None),
        ("hold", "held", "lock l0 by user:ada until 2026-11-21 12:00 UTC: the ledger moves"),
        ("hold, hold by a lock", "held", "lock l0 by user:ada: the ledger moves"),
        ("ask, grant, hold", "held", "lock l0 by user:ada until 2026-11-21 12:00 UTC: the ledger moves"),
        ("hold, cancel", "held", "provisioning"),
        ("hold, allow", "allowed", "provisioning"),
        ("hold, deny", "denied", None),
        ("hold, ask", "waiting-for-approval", "approval by group:sre until 2026-11-21 11:00:00 UTC"),
        ("allow, hold", "allowed", "provisioning"),
        ("stop, succeed", "cancelled", None),
        ("start, suspend one", "running", "step one until 2026-11-21 12:00:00 UTC: the job runs"),
        ("start, suspend one, cancel", "running", "provisioning"),
        ("start, suspend one, one", "running", "provisioning"),
        ("start, suspend two", "running", "step two, unless somebody resumes it: look at it"),
        ("start, suspend two, resume", "running", "step two, resumed by user:bob: look at it"),
        ("start, suspend two, resume, two again", "running", "provisioning"),
        ("start, one, suspend one", "running", "provisioning"),
        ("start, suspend one, fail", "failed", None),
        ("start, require, wait for it", "running", "step queue: it is made"),
        ("start, require, wait for it, it is there", "running", "provisioning"),
        ("start, require, it is there, wait for it", "running", "provisioning"),
        ("allow, it is there", "allowed", "provisioning"),
        ("stop, suspend one", "cancelled", None),
    ],
)
def test_a_request_is_where_its_facts_have_brought_it(names: str, state: str, waiting_for: str | None) -> None:
    request = folded(*filter(None, names.split(", ")))
    assert (request.state, request.waiting_for) == (state, waiting_for)


@pytest.mark.parametrize(
    ("names", "because"),
    [
        ("deny", ["too large"]),
        ("ask, reject", ["not today"]),
        ("ask, expire", ["the approval that production asks for was not given in time"]),
        ("start, fail", ["step two: no space"]),
        ("stop", ["cancelled by user:ada"]),
        ("start, succeed", []),
    ],
)
def test_an_end_says_why(names: str, because: list[str]) -> None:
    assert folded(*names.split(", ")).because == because


def test_waits_add_up_to_the_duration() -> None:
    request = submitted()
    request.ask(approval(), at(2))
    request.allow(None, at(10))
    request.advance(lambda run: run.begin("run", ["one"], ["one"]), at(13))
    request.succeed({}, at(20.5))
    assert request.waits == {"policy": 2000, "approval": 8000, "queue": 3000, "run": 7500}
    assert request.duration_ms == 20_500 == sum(request.waits.values())


def test_waiting_for_a_plan_and_for_the_end_of_a_hold_is_told_apart() -> None:
    request = folded("want plan", "plan", "ask", "hold", "allow plan", "start", "succeed")
    one = 1000
    assert request.waits == {"policy": 2 * one, "plan": one, "approval": one, "hold": one, "queue": one, "run": one}
    assert request.duration_ms == sum(request.waits.values())
    stale = folded("want plan", "plan", "allow plan", "plan anew", "allow new plan", "start", "succeed")
    assert stale.waits == {"policy": 3 * one, "plan": one, "queue": 2 * one, "run": one}


def test_what_was_asked_of_an_older_plan_stays_as_it_ended() -> None:
    request = folded("want plan", "plan", "ask", "grant", "allow plan", "plan anew", "ask again")
    assert [(one.id, one.state) for one in request.approvals] == [("a1", "granted"), ("a2", "pending")]
    assert request.state == "waiting-for-approval"
    assert request.plan == {"digest": "sha256:bb", "replaces": "sha256:aa"}


def test_a_run_that_met_another_plan_begins_again_when_that_is_allowed() -> None:
    request = folded("want plan", "plan", "allow plan", "start", "plan anew")
    assert (request.state, request.run_id, request.steps) == ("planned", None, [])
    assert request.allow("sha256:bb", at(20))
    assert request.advance(lambda run: run.begin("another run", ["one"], ["one"]), at(21))
    assert (request.state, request.run_id) == ("running", "another run")
    assert folded("want plan", "plan", "allow plan", "start", "plan anew", "deny").state == "denied"


def test_holds_are_shown_while_they_hold() -> None:
    request = folded("hold")
    assert request.hold([*holds(at(7200)), *holds(None)], at(2))
    assert [one.until for one in request.holds] == [at(7200), None]
    assert not request.hold([*holds(at(7200)), *holds(None)], at(3))
    request.allow("sha256:aa", at(4))
    assert request.holds == []


@pytest.mark.parametrize(
    ("names", "seconds"),
    [
        ("want plan", 1 + 300),
        ("want plan, cancel", 2 + 300),
        ("want plan, plan", 2 + 60),
        ("want plan, plan, allow plan, plan anew", 4 + 60),
        ("hold", 7200 + 60),
        ("hold, cancel", 2 + 60),
        ("hold by a lock", 1 + 60),
        ("start, suspend one", 7200 + 3600),
        ("start, suspend one, one", 3 + 3600),
        ("start, suspend one, cancel", 3 + 3600),
        ("start, suspend two", 2 + 3600),
        ("start, suspend one, suspend two", 7200 + 3600),
    ],
)
def test_somebody_is_expected_by_a_time(names: str, seconds: float) -> None:
    assert look_again_at(folded(*names.split(", ")), Settings().patience_seconds) == at(seconds)


def test_what_was_said_waits_for_policy_to_rule_on_it() -> None:
    one, given, taken = approval(), saying("granted", 1), saying("withdrawn", 2, reason="not sure")
    assert one.hear(given)
    assert one.hear(taken)
    assert not one.hear(given)
    assert (one.unruled, one.answers, one.withdrawn) == ([given, taken], [], [])
    assert accepted(one, given)
    assert not accepted(one, given)
    assert not one.hear(given)
    assert (one.unruled, [each.by for each in one.answers], one.missing) == ([taken], ["user:bob"], 0)
    assert accepted(one, taken, missing=1)
    assert (one.unruled, one.answers, [each.reason for each in one.withdrawn]) == ([], [], ["not sure"])
    assert not one.hear(given)
    assert not accepted(one, given)
    assert (one.missing, one.missing_from) == (1, ["group:sre"])


def test_what_is_refused_takes_nothing_else_away_that_the_same_person_said() -> None:
    one, handed, taken = approval(), saying("delegated", 1, to="user:eve"), saying("withdrawn", 2)
    given = saying("granted", 3)
    assert all(map(one.hear, (handed, taken, given)))
    assert accepted(one, handed, missing=1)
    assert one.refuse("user:bob", "nothing to take back", at(5), taken.event)
    assert not one.refuse("user:bob", "nothing to take back", at(5), taken.event)
    assert ([each.to for each in one.delegations], one.unruled) == (["user:eve"], [given])
    assert [(each.reason, each.at) for each in one.refused] == [("nothing to take back", at(2))]


def test_an_answer_that_came_too_late_is_ruled_on_though_the_request_has_ended() -> None:
    request, late = folded("ask", "expire"), saying("granted", 9)
    assert request.follow("a1", lambda one: one.hear(late), at(9))
    assert request.approvals[0].unruled == [late]
    assert request.follow("a1", lambda one: one.refuse("user:bob", "too late", at(10), late.event), at(10))
    shown = request.approvals[0]
    assert (shown.unruled, [each.at for each in shown.refused], shown.state) == ([], [at(9)], "expired")


def test_what_a_request_waits_for_is_what_is_missing() -> None:
    request = folded("ask")
    said = saying("granted", 2)
    assert request.follow("a1", lambda one: one.accept(said, 2, ["user:eve", "group:sre"]), at(2))
    assert request.waiting_for == "approval by 2 of user:eve or group:sre until 2026-11-21 11:00:00 UTC"


def test_an_escalation_adds_approvers_and_a_reminder_moves_nothing() -> None:
    request = folded("ask")
    assert request.remind("a1", at(5))
    assert not request.remind("a1", at(5))
    assert (request.updated_at, request.approvals[0].reminded_at, request.revision) == (at(1), at(5), 3)
    escalate = ["group:sre", "user:ada", "group:leads"]
    assert request.follow("a1", lambda one: one.escalate(escalate, at(7200), at(6)), at(6))
    request.approvals[0].ask(["group:sre"])
    assert request.approvals[0].missing_from == ["group:sre", "group:leads"], "ada asked for it"
    assert (request.approvals[0].escalated_at, request.updated_at) == (at(6), at(6))


def test_each_of_several_who_have_to_grant_is_named() -> None:
    asked = approval()
    asked.all, asked.approvers = True, ["group:sre", "group:data"]
    request = submitted()
    request.ask(asked, at(1))
    assert request.waiting_for == "approval by group:sre and group:data until 2026-11-21 11:00:00 UTC"


def test_a_question_that_is_closed_leaves_the_request_to_policy() -> None:
    request = folded("ask")
    assert request.follow("a1", lambda one: one.end("closed", because="the policies have changed"), at(2))
    assert (request.state, request.waiting_for) == ("waiting-for-approval", "policy")
    assert request.approvals[0].closed_because == "the policies have changed"
    assert look_again_at(request, Settings().patience_seconds) == at(2 + 60)


def review() -> Approval:
    asked = approval("review")
    asked.review = True
    return asked


def test_a_review_neither_moves_its_request_nor_ends_with_it() -> None:
    request = folded("allow", "start")
    assert request.ask(review(), at(3))
    assert (request.state, request.waiting_for, request.updated_at) == ("running", "provisioning", at(2))
    request.succeed({}, at(4))
    assert [one.state for one in request.approvals] == ["pending"]
    shown = (request.state, request.completed_at, request.duration_ms, dict(request.waits))
    heard = saying("rejected", 5, reason="it was not needed")
    assert request.follow("review", lambda one: one.hear(heard), at(5))
    assert request.remind("review", at(6))
    assert request.follow("review", lambda one: one.end("rejected"), at(7))
    assert [one.state for one in request.approvals] == ["rejected"]
    assert shown == (request.state, request.completed_at, request.duration_ms, dict(request.waits))
    assert request.updated_at == at(4)


def test_a_review_may_be_asked_for_when_its_request_has_ended() -> None:
    request = folded("stop")
    assert not request.ask(approval(), at(2))
    assert request.ask(review(), at(3))
    assert [one.state for one in request.approvals] == ["pending"]


def test_a_request_that_waits_does_not_wait_for_a_review() -> None:
    request = folded("ask")
    request.ask(review(), at(2))
    request.follow("a1", lambda one: one.end("granted"), at(3))
    assert request.waiting_for == "policy"
    assert look_again_at(request, Settings().patience_seconds) == at(3 + 60)
    request.allow("sha256:aa", at(4))
    assert [one.state for one in request.approvals] == ["granted", "pending"]


def test_steps_show_how_far_a_run_has_come() -> None:
    def steps(request: Request) -> list[tuple[str, str, int]]:
        return [(step.name, step.state, step.attempt) for step in request.steps]

    assert steps(folded("start")) == [("one", "running", 1), ("two", "pending", 0)]
    assert steps(folded("start", "one")) == [("one", "succeeded", 1), ("two", "running", 1)]
    assert steps(folded("start", "one", "two again")) == [("one", "succeeded", 1), ("two", "retrying", 1)]
    assert steps(folded("start", "one", "two")) == [("one", "succeeded", 1), ("two", "succeeded", 2)]
    assert steps(folded("start", "one", "fail")) == [("one", "succeeded", 1), ("two", "failed", 1)]
    assert steps(folded("start", "stop")) == [("one", "cancelled", 1), ("two", "cancelled", 0)]
    assert steps(folded("start", "succeed")) == [("one", "succeeded", 1), ("two", "succeeded", 1)]


def test_a_suspended_step_is_shown_until_it_is_told_of_again() -> None:
    request = folded("start", "suspend one")
    (waits,) = request.suspended
    assert (waits.step, waits.reason, waits.since, waits.until, waits.resumable) == (
        *("one", "the job runs", at(2), at(7200), False),
    )
    assert [(step.name, step.state) for step in request.steps] == [("one", "suspended"), ("two", "pending")]
    assert progressed(request, "two", "retrying", 1, ["one"], at(3))
    assert request.steps[0].state == "suspended", "it waits still, whatever else runs"
    assert suspended(request, "one", at(4), reason="the job is checked")
    assert [(one.reason, one.since) for one in request.suspended] == [("the job is checked", at(4))]
    assert progressed(request, "one", "retrying", 1, [], at(5))
    assert (request.suspended, request.steps[0].state) == ([], "retrying")
    assert suspended(request, "one", at(6), reason="the job is checked"), "the next attempt waits for the same"
    assert request.succeed({}, at(7))
    assert (request.suspended, {step.state for step in request.steps}) == ([], {"succeeded"})


def test_what_is_told_again_of_a_wait_is_not_another_wait() -> None:
    request = folded("start", "suspend two", "resume")
    assert not suspended(request, "two", at(2), reason="look at it", resumable=True), "the same fact"
    assert request.suspended[0].resumed_by == "user:bob"
    assert suspended(request, "two", at(9), reason="look at it", resumable=True), "it was resumed in vain"
    assert request.suspended[0].resumed_by is None
    assert not suspended(request, "two", at(10), reason="look at it", resumable=True)
    assert request.suspended[0].since == at(9)
    assert FACTS["two again"](request, at(11))
    assert not suspended(request, "two", at(9), reason="look at it", resumable=True), "that wait is over"


def test_only_what_may_be_resumed_is_and_only_once() -> None:
    request = folded("start", "suspend one", "suspend two")
    resume: Callable[[str | None], bool] = lambda name: request.advance(  # noqa: E731
        lambda run: run.resume(name, "user:bob", at(5)), at(5)
    )
    assert not resume("one")
    assert not resume("nothing")
    assert resume(None)
    assert not resume("two")
    assert [one.resumed_at for one in request.suspended] == [None, at(5)]


def test_a_run_that_was_given_up_suspends_nothing() -> None:
    request = folded("want plan", "plan", "allow plan", "start", "suspend one", "plan anew")
    assert (request.state, request.suspended, request.steps) == ("planned", [], [])
    request.advance(lambda run: run.begin("another run", ["one"], ["one"]), at(21))
    assert not suspended(request, "one", at(22), run_id="run")
    assert suspended(request, "one", at(23), run_id="another run")


def test_what_a_run_needs_is_shown_with_what_became_of_it() -> None:
    request = folded("start", "require", "wait for it")
    assert request.settle("r2", "refused", "nobody offers it", at(5))
    assert [(one.name, one.request, one.outcome, one.because) for one in request.requires] == [
        ("queue", "r2", "refused", "nobody offers it")
    ]
    assert not request.settle("r2", "succeeded", None, at(6))
    assert not request.settle("r3", "succeeded", None, at(6))
    assert [step.name for step in request.steps] == ["one", "two"], "what it needs is no step"


def test_what_was_undone_and_what_was_left_is_shown() -> None:
    request = folded("start", "one", "fail to undo one", "undo one")
    assert not FACTS["fail to undo one"](request, at(9)), "it is undone already"
    assert request.fail("no space", "two", at(10), left=["two"], undone=["one"])
    assert (request.left, request.compensated) == (["two"], ["one"])
    (one, two) = request.steps
    assert (one.state, one.compensation) == ("succeeded", Compensation("succeeded", None, at(4)))
    assert (two.state, two.compensation) == ("failed", None)
    cancelled = folded("start", "one", "cancel")
    assert cancelled.stop("cancelled by user:ada", at(5), left=["one"])
    assert (cancelled.left, cancelled.compensated) == (["one"], [])


def test_an_approval_ends_with_its_request() -> None:
    assert [one.state for one in folded("ask", "stop").approvals] == ["closed"]
    assert [one.state for one in folded("ask", "expire").approvals] == ["expired"]
    assert [one.state for one in folded("ask", "allow").approvals] == ["granted"]


def test_a_stall_is_told_once_and_forgotten_when_somebody_moves() -> None:
    request = folded("allow")
    patience = Settings().patience_seconds
    assert look_again_at(request, patience) == at(1 + 300)
    assert request.stall("allowed", at(1))
    assert not request.stall("allowed", at(1))
    assert look_again_at(request, patience) is None
    request.advance(lambda run: run.begin("run", [], []), at(400))
    assert request.stalled_since is None
    assert look_again_at(request, patience) == at(400 + 3600)


def test_a_stall_that_comes_too_late_is_not_shown() -> None:
    request = folded("allow", "start")
    assert not request.stall("allowed", at(1))
    assert request.stalled_since is None


def test_an_approval_is_not_late_before_it_ends() -> None:
    assert look_again_at(folded("ask"), Settings().patience_seconds) == at(3600 + 60)


PLANNED = [
    "want plan",
    "plan",
    "ask",
    "hold",
    "allow plan",
    "plan anew",
    "ask again",
    "allow new plan",
    "start",
    "stop",
]
USUAL = [
    *("ask", "grant", "allow", "start", "require", "wait for it", "it is there", "suspend one", "one"),
    *("suspend two", "resume", "two again", "two", "undo one", "succeed"),
]


@given(st.lists(st.sampled_from(sorted(FACTS)), max_size=30), st.lists(st.sampled_from(sorted(FACTS)), max_size=30))
def test_the_first_end_is_final(before: list[str], after: list[str]) -> None:
    request = folded(*before, "stop")
    ended = (request.state, request.because, request.completed_at, request.outputs, list(request.steps))
    for name in after:
        assert not FACTS[name](request, at(99))
    assert ended == (request.state, request.because, request.completed_at, request.outputs, list(request.steps))
    assert request.state in TERMINAL


@given(st.permutations(USUAL), st.lists(st.sampled_from(USUAL)))
def test_no_order_and_no_repetition_changes_how_it_ends(shuffled: list[str], repeated: list[str]) -> None:
    request = folded(*shuffled, *repeated, "succeed")
    assert (request.state, request.outputs, request.waiting_for) == ("succeeded", {"host": "db"}, None)


@given(st.data())
def test_a_fact_that_comes_again_changes_nothing(data: st.DataObject) -> None:
    names: list[Any] = []
    for name in USUAL:
        names.append(name)
        names += data.draw(st.lists(st.sampled_from(list(dict.fromkeys(names)))))
    once, often = submitted(), submitted()
    for second, name in enumerate(USUAL, start=1):
        FACTS[name](once, at(second))
    for name in names:
        FACTS[name](often, at(USUAL.index(name) + 1))
    assert once == often
    assert once.revision == 1 + len(USUAL)


def test_a_request_that_is_planned_asked_about_held_and_planned_again_goes_all_its_way() -> None:
    states = []
    request = submitted()
    for second, name in enumerate(PLANNED, start=1):
        assert FACTS[name](request, at(second)), name
        states.append(request.state)
    waiting = "waiting-for-approval"
    assert states == [
        *("planning", "planned", waiting, "held", "allowed"),
        *("planned", waiting, "allowed", "running", "cancelled"),
    ]
    assert request.revision == 1 + len(PLANNED)
